SELECT
    host,
    path,
    {{people "viewed"}},
    countIf(viewed) AS views,
    countIf(entered) AS entries,
    countIf(departed) AS exits,
    sum(visible_ms) / 1000 / views AS visible_seconds
FROM
(
    SELECT
        host, path, day, subject, daily, visible_ms,
        type = 'page_view' AS viewed,
        viewed AND session_id != 0 AND row_number() OVER (PARTITION BY session_id, day, type ORDER BY time, event_id) = 1 AS entered,
        viewed AND session_id != 0 AND row_number() OVER (PARTITION BY session_id, day, type ORDER BY time DESC, event_id DESC) = 1 AS departed
    FROM permitted
    WHERE type IN ('page_view', 'engagement')
)
GROUP BY host, path
HAVING views > 0

-- A view's depth is the deepest that any of its engagements tells. Views that tell none are not in the mean.
SELECT
    host,
    path,
    {{people "viewed"}},
    countIf(viewed) AS views,
    countIf(entered) AS entries,
    countIf(departed) AS exits,
    sum(visible_ms) / 1000 / views AS visible_seconds,
    if(countIf(deepest) = 0, 0, sumIf(scroll_percent, deepest) / countIf(deepest)) AS scroll_depth
FROM
(
    SELECT
        host, path, day, subject, daily, visible_ms, scroll_percent,
        type = 'page_view' AS viewed,
        viewed AND session_id != 0 AND row_number() OVER (PARTITION BY session_id, day, type ORDER BY time, event_id) = 1 AS entered,
        viewed AND session_id != 0 AND row_number() OVER (PARTITION BY session_id, day, type ORDER BY time DESC, event_id DESC) = 1 AS departed,
        NOT viewed AND view_id != 0
            AND row_number() OVER (PARTITION BY view_id, host, path, day, type ORDER BY scroll_percent DESC, event_id) = 1 AS deepest
    FROM permitted
    WHERE type IN ('page_view', 'engagement')
)
GROUP BY host, path
HAVING views > 0

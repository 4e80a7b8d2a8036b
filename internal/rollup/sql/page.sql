-- A view's depth is the deepest that any of its engagements tells. Views that tell none are not in the mean.
SELECT
    day,
    host,
    path,
    {{cell "viewed"}},
    countIf(viewed) AS views,
    countIf(entered) AS entries,
    countIf(departed) AS exits,
    sum(visible) AS visible_ms,
    sumIf(scrolled, deepest) AS depth,
    countIf(deepest) AS deep_views
FROM
(
    SELECT
        host, path, day, subject, daily, number, visible_ms AS visible, scroll_percent AS scrolled,
        type = 'page_view' AS viewed,
        viewed AND session_id != 0 AND row_number() OVER (PARTITION BY session_id, day, type ORDER BY time, event_id) = 1 AS entered,
        viewed AND session_id != 0 AND row_number() OVER (PARTITION BY session_id, day, type ORDER BY time DESC, event_id DESC) = 1 AS departed,
        NOT viewed AND view_id != 0
            AND row_number() OVER (PARTITION BY view_id, host, path, day, type ORDER BY scroll_percent DESC, event_id) = 1 AS deepest
    FROM numbered
    WHERE type IN ('page_view', 'engagement')
)
GROUP BY day, host, path

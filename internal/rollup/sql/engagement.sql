SELECT
    day,
    {{cell "1"}},
    uniqExact(session_id) AS sessions,
    sum(numbered.visible_ms) AS visible_ms
FROM numbered
WHERE type = 'engagement' AND session_id != 0
GROUP BY day

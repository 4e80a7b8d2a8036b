SELECT
    {{people "1"}},
    sum(visible_ms) / 1000 / uniqExact((session_id, day)) AS visible_seconds
FROM permitted
WHERE type = 'engagement' AND session_id != 0
HAVING count() > 0

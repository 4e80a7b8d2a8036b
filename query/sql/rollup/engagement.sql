SELECT
    {{people}},
    sum(visible_ms) / 1000 / sum(sessions) AS visible_seconds
FROM cells
HAVING count() > 0

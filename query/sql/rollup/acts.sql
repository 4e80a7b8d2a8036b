SELECT
    {{people}},
    sum(rows) AS operations
FROM cells
HAVING count() > 0

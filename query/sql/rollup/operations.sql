SELECT
    operation AS name,
    operation_target AS target,
    {{people}},
    sum(rows) AS count
FROM cells
GROUP BY name, target

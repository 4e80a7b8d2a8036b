SELECT
    day,
    if(type = 'custom', custom_name, numbered.operation) AS operation,
    operation_target,
    {{cell "1"}},
    count() AS rows
FROM numbered
WHERE type IN ('operation', 'custom')
GROUP BY day, operation, operation_target

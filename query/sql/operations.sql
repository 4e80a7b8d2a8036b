SELECT
    if(type = 'custom', custom_name, operation) AS name,
    operation_target AS target,
    {{people "1"}},
    count() AS count
FROM permitted
WHERE type IN ('operation', 'custom')
GROUP BY name, target

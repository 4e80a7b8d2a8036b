SELECT
    if(type = 'custom', custom_name, operation) AS name,
    operation_target AS target,
    uniqExactIf(subject, subject != 0) AS subjects,
    count() AS count,
    subjects AS users
FROM permitted
WHERE type IN ('operation', 'custom')
GROUP BY name, target

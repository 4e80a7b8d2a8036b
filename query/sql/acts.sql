SELECT
    {{people "1"}},
    count() AS operations
FROM permitted
WHERE type IN ('operation', 'custom')
HAVING count() > 0

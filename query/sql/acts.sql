SELECT
    uniqExactIf(subject, subject != 0) AS subjects,
    count() AS operations
FROM permitted
WHERE type IN ('operation', 'custom')
HAVING count() > 0

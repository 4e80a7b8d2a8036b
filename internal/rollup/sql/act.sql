SELECT
    day,
    {{cell "1"}},
    count() AS rows
FROM numbered
WHERE type IN ('operation', 'custom')
GROUP BY day

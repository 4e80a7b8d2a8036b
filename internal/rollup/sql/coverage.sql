SELECT
    day,
    left_out,
    {{cell "1"}},
    count() AS rows
FROM numbered
GROUP BY day, left_out

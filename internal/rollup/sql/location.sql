SELECT
    day,
    country,
    region,
    {{cell "1"}},
    uniqExactIf(session_id, session_id != 0) AS sessions,
    countIf(type = 'page_view') AS views
FROM numbered
GROUP BY day, country, region

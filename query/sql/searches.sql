SELECT
    search_query AS query,
    {{people "1"}},
    count() AS count,
    countIf(search_results = 0) AS without_result
FROM permitted
WHERE type = 'search'
GROUP BY query

SELECT
    search_query AS query,
    {{people "search_results = 0"}},
    countIf(search_results = 0) AS without_result,
    count() AS searches,
    without_result / searches AS share
FROM permitted
WHERE type = 'search'
GROUP BY query
HAVING without_result > 0

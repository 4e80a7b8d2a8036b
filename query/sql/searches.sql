SELECT
    search_query AS query,
    uniqExactIf(subject, subject != 0) AS subjects,
    count() AS count,
    subjects AS users,
    countIf(search_results = 0) AS without_result
FROM permitted
WHERE type = 'search'
GROUP BY query

SELECT
    search_query AS query,
    {{people}},
    sum(rows) AS count,
    sum(cells.without_result) AS without_result,
    sum(cells.refined) AS refined,
    sum(cells.followed) AS followed
FROM cells
GROUP BY query

-- What refined and followed mean is told in query/sql/searches.sql.
SELECT
    day,
    asked AS search_query,
    {{cell "1"}},
    count() AS rows,
    countIf(found = 0) AS without_result,
    countIf(changed) AS refined,
    countIf(pages > 1) AS followed
FROM
(
    SELECT
        day, subject, daily, number, asked, found, pages,
        leadInFrame(nth) OVER following != 0
            AND lowerUTF8(leadInFrame(asked) OVER following) != lowerUTF8(asked)
            AND leadInFrame(at) OVER following <= at + INTERVAL 2 MINUTE AS changed
    FROM
    (
        SELECT
            session_id, alone, day, subject, daily, number, nth,
            anyIf(numbered.search_query, type = 'search') AS asked,
            anyIf(search_results, type = 'search') AS found,
            anyIf(time, type = 'search') AS at,
            uniqExact(host, path) AS pages
        FROM
        (
            SELECT
                *, if(session_id = 0, event_id, 0) AS alone,
                countIf(type = 'search') OVER (
                    PARTITION BY session_id, alone, day ORDER BY time, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                ) AS nth
            FROM numbered
            WHERE type = 'search' OR (type = 'page_view' AND session_id != 0)
        ) AS numbered
        GROUP BY session_id, alone, day, subject, daily, number, nth
        HAVING nth > 0
    )
    WINDOW following AS (PARTITION BY session_id, alone, day ORDER BY nth ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)
)
GROUP BY day, search_query

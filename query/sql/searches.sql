-- Refined: the session's next search is another one, not only in upper or lower case, and comes within two minutes.
-- Followed: before the session's next search, another page was viewed than the one on which was searched.
-- A search outside of every session is neither.
SELECT
    asked AS query,
    {{people "1"}},
    count() AS count,
    countIf(found = 0) AS without_result,
    countIf(changed) AS refined,
    countIf(pages > 1) AS followed
FROM
(
    SELECT
        day, subject, daily, asked, found, pages,
        leadInFrame(nth) OVER following != 0
            AND lowerUTF8(leadInFrame(asked) OVER following) != lowerUTF8(asked)
            AND leadInFrame(at) OVER following <= at + INTERVAL 2 MINUTE AS changed
    FROM
    (
        SELECT
            session_id, alone, day, subject, daily, nth,
            anyIf(search_query, type = 'search') AS asked,
            anyIf(search_results, type = 'search') AS found,
            anyIf(time, type = 'search') AS at,
            uniqExact(page) AS pages
        FROM
        (
            SELECT
                session_id, if(session_id = 0, event_id, 0) AS alone, day, subject, daily, type, time,
                search_query, search_results, cityHash64(host, path) AS page,
                countIf(type = 'search') OVER (
                    PARTITION BY session_id, alone, day ORDER BY time, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                ) AS nth
            FROM permitted
            WHERE type = 'search'
                OR (type = 'page_view' AND session_id IN (SELECT session_id FROM permitted WHERE type = 'search' AND session_id != 0))
        )
        GROUP BY session_id, alone, day, subject, daily, nth
        HAVING nth > 0
    )
    WINDOW following AS (PARTITION BY session_id, alone, day ORDER BY nth ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)
)
GROUP BY query

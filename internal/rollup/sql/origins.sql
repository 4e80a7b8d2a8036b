-- A session comes from where its first page view came from, and enters by it. A bounce is a session of one page view in
-- which nothing was done. A session has one subject.
SELECT
    {{kind}} AS kind,
    day,
    {{dimensions}},
    {{cell "1"}},
    count() AS sessions,
    sum(viewed) AS views,
    countIf(viewed = 1 AND acts = 0) AS bounces
FROM
(
    SELECT day, subject, daily, number, viewed, acts, {{elements "origin"}}
    FROM
    (
        SELECT
            session_id, day, subject, daily, number,
            argMinIf(tuple({{dimensions}}), (time, event_id), type = 'page_view') AS origin,
            countIf(type = 'page_view') AS viewed,
            countIf(type IN ('operation', 'purchase', 'search', 'custom')) AS acts
        FROM numbered
        WHERE session_id != 0
        GROUP BY session_id, day, subject, daily, number
        HAVING viewed > 0
    )
)
GROUP BY GROUPING SETS ({{sets}})

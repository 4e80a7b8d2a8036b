-- A bounce is a session of one page view in which nothing was done. A session has one subject.
SELECT
    day,
    {{cell "1"}},
    uniqExactIf(session_id, session_id != 0) AS sessions,
    sum(viewed) AS views,
    countIf(session_id != 0) AS rows,
    countIf(session_id != 0 AND viewed > 0) AS viewing_sessions,
    countIf(session_id != 0 AND viewed = 1 AND acts = 0) AS bounces
FROM
(
    SELECT
        session_id, day, subject, daily, number,
        countIf(type = 'page_view') AS viewed,
        countIf(type IN ('operation', 'purchase', 'search', 'custom')) AS acts
    FROM numbered
    GROUP BY session_id, day, subject, daily, number
)
GROUP BY day

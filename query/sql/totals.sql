-- A bounce is a session of one page view in which nothing was done.
SELECT
    uniqExactIfMerge(people) AS subjects,
    subjects AS visitors,
    countIf(session_id != 0) AS sessions,
    sum(views) AS page_views,
    if(sessions_with_views = 0, 0, countIf(session_id != 0 AND views = 1 AND acts = 0) / sessions_with_views) AS bounce_rate,
    countIf(session_id != 0 AND views > 0) AS sessions_with_views
FROM
(
    SELECT
        session_id,
        uniqExactIfState(subject, subject != 0) AS people,
        countIf(type = 'page_view') AS views,
        countIf(type IN ('operation', 'purchase', 'search', 'custom')) AS acts
    FROM permitted
    GROUP BY session_id
)
HAVING count() > 0

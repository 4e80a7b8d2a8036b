-- A bounce is a session of one page view in which nothing was done. A session has one subject.
SELECT
    {{people "1"}},
    countIf(session_id != 0) AS sessions,
    sum(views) AS page_views,
    countIf(session_id != 0 AND views > 0) AS sessions_with_views,
    if(sessions_with_views = 0, 0, countIf(session_id != 0 AND views = 1 AND acts = 0) / sessions_with_views) AS bounce_rate
FROM
(
    SELECT
        session_id, day, subject, daily,
        countIf(type = 'page_view') AS views,
        countIf(type IN ('operation', 'purchase', 'search', 'custom')) AS acts
    FROM permitted
    GROUP BY session_id, day, subject, daily
)
HAVING count() > 0

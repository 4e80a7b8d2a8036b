-- A session enters by its first page view. A bounce is a session of one page view in which nothing was done. A session
-- has one subject.
SELECT
    tupleElement(landing, 1) AS host,
    tupleElement(landing, 2) AS path,
    {{people "1"}},
    count() AS sessions,
    sum(views) AS page_views,
    countIf(views = 1 AND acts = 0) / sessions AS bounce_rate
FROM
(
    SELECT
        session_id, day, subject, daily,
        argMinIf((host, path), (time, event_id), type = 'page_view') AS landing,
        countIf(type = 'page_view') AS views,
        countIf(type IN ('operation', 'purchase', 'search', 'custom')) AS acts
    FROM permitted
    WHERE session_id != 0
    GROUP BY session_id, day, subject, daily
    HAVING views > 0
)
GROUP BY host, path

-- A session comes from where its first page view came from. A session has one subject.
SELECT
    tupleElement(origin, 1) AS channel,
    tupleElement(origin, 2) AS source_name,
    tupleElement(origin, 3) AS referrer,
    {{people "1"}},
    count() AS sessions,
    sum(views) AS page_views
FROM
(
    SELECT
        session_id, day, subject, daily,
        argMinIf((channel, channel_source, referrer_host), (time, event_id), type = 'page_view') AS origin,
        countIf(type = 'page_view') AS views
    FROM permitted
    WHERE session_id != 0
    GROUP BY session_id, day, subject, daily
    HAVING views > 0
)
GROUP BY channel, source_name, referrer

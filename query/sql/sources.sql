-- A session comes from where its first page view came from.
SELECT
    channel,
    source_name,
    referrer,
    uniqExactIfMerge(people) AS subjects,
    subjects AS visitors,
    count() AS sessions,
    sum(views) AS page_views
FROM
(
    SELECT
        tupleElement(origin, 1) AS channel,
        tupleElement(origin, 2) AS source_name,
        tupleElement(origin, 3) AS referrer,
        people,
        views
    FROM
    (
        SELECT
            argMinIf((channel, channel_source, referrer_host), (time, event_id), type = 'page_view') AS origin,
            uniqExactIfState(subject, subject != 0) AS people,
            countIf(type = 'page_view') AS views
        FROM permitted
        WHERE session_id != 0
        GROUP BY session_id
        HAVING views > 0
    )
)
GROUP BY channel, source_name, referrer

-- A campaign is what the site's owner has tagged; a tag of nothing but a source cannot be told from a referrer.
-- A session comes from where its first page view came from. A bounce is a session of one page view in which nothing was
-- done. A session has one subject.
SELECT
    tupleElement(origin, 1) AS source_name,
    tupleElement(origin, 2) AS medium,
    tupleElement(origin, 3) AS campaign,
    {{people "1"}},
    count() AS sessions,
    sum(views) AS page_views,
    countIf(views = 1 AND acts = 0) / sessions AS bounce_rate
FROM
(
    SELECT
        session_id, day, subject, daily,
        argMinIf((channel_source, utm_medium, utm_campaign), (time, event_id), type = 'page_view') AS origin,
        countIf(type = 'page_view') AS views,
        countIf(type IN ('operation', 'purchase', 'search', 'custom')) AS acts
    FROM permitted
    WHERE session_id != 0
    GROUP BY session_id, day, subject, daily
    HAVING views > 0
)
WHERE medium != '' OR campaign != ''
GROUP BY source_name, medium, campaign

SELECT
    channel,
    channel_source AS source_name,
    referrer_host AS referrer,
    {{people}},
    sum(cells.sessions) AS sessions,
    sum(cells.views) AS page_views
FROM cells
GROUP BY channel, source_name, referrer

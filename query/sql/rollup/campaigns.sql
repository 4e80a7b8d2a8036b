SELECT
    channel_source AS source_name,
    utm_medium AS medium,
    utm_campaign AS campaign,
    {{people}},
    sum(cells.sessions) AS sessions,
    sum(cells.views) AS page_views,
    sum(bounces) / sum(cells.sessions) AS bounce_rate
FROM cells
WHERE medium != '' OR campaign != ''
GROUP BY source_name, medium, campaign

SELECT
    country,
    region,
    {{people}},
    sum(cells.sessions) AS sessions,
    sum(cells.views) AS page_views
FROM cells
GROUP BY country, region

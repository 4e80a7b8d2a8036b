SELECT
    country,
    {{people}},
    sum(cells.sessions) AS sessions,
    sum(cells.views) AS page_views
FROM cells
GROUP BY country

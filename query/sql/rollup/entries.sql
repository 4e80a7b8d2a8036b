SELECT
    host,
    path,
    {{people}},
    sum(cells.sessions) AS sessions,
    sum(cells.views) AS page_views,
    sum(bounces) / sum(cells.sessions) AS bounce_rate
FROM cells
GROUP BY host, path

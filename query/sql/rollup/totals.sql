SELECT
    {{people}},
    sum(cells.rows) AS sessions,
    sum(cells.views) AS page_views,
    if(sum(viewing_sessions) = 0, 0, sum(bounces) / sum(viewing_sessions)) AS bounce_rate
FROM cells
HAVING count() > 0

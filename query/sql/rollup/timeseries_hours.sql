SELECT
    toUnixTimestamp(hour) AS start,
    {{people}},
    sum(cells.sessions) AS sessions,
    sum(cells.views) AS page_views
FROM cells
GROUP BY start

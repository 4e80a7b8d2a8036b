SELECT
    device,
    browser,
    os,
    {{people}},
    sum(cells.sessions) AS sessions,
    sum(cells.views) AS page_views
FROM cells
GROUP BY device, browser, os

SELECT
    browser,
    if(browser_version = 0, '', toString(browser_version)) AS version,
    {{people}},
    sum(cells.sessions) AS sessions,
    sum(cells.views) AS page_views
FROM cells
GROUP BY browser, version

SELECT
    browser,
    if(browser_version = 0, '', toString(browser_version)) AS version,
    {{people "1"}},
    {{sessions}} AS sessions,
    countIf(type = 'page_view') AS page_views
FROM permitted
GROUP BY browser, version

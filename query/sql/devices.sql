SELECT
    device,
    browser,
    os,
    {{people "1"}},
    uniqExactIf((session_id, day), session_id != 0) AS sessions,
    countIf(type = 'page_view') AS page_views
FROM permitted
GROUP BY device, browser, os

SELECT
    path,
    {{people "1"}},
    count() AS page_views
FROM permitted
WHERE type = 'page_view'
GROUP BY path

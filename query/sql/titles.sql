SELECT
    title,
    {{people "1"}},
    {{sessions}} AS sessions,
    count() AS views
FROM permitted
WHERE type = 'page_view'
GROUP BY title

SELECT
    connection,
    save_data,
    {{people "1"}},
    {{sessions}} AS sessions,
    countIf(type = 'page_view') AS page_views
FROM permitted
GROUP BY connection, save_data

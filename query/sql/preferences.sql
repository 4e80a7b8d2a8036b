SELECT
    color_scheme,
    reduced_motion,
    {{people "1"}},
    {{sessions}} AS sessions,
    countIf(type = 'page_view') AS page_views
FROM permitted
GROUP BY color_scheme, reduced_motion

SELECT
    toUnixTimestamp(toStartOfMinute(time)) AS start,
    {{people "1"}},
    countIf(type = 'page_view') AS page_views
FROM permitted
GROUP BY start

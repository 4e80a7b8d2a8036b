SELECT
    toUnixTimestamp(toDateTime(multiIf(
        {interval:String} = 'week', toStartOfWeek(day, 1),
        {interval:String} = 'month', toStartOfMonth(day),
        day), {time_zone:String})) AS start,
    {{people}},
    sum(cells.sessions) AS sessions,
    sum(cells.views) AS page_views
FROM cells
GROUP BY start

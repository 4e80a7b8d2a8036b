SELECT
    toUnixTimestamp(multiIf(
        {interval:String} = 'hour', toStartOfHour(time, {time_zone:String}),
        {interval:String} = 'week', toDateTime(toStartOfWeek(time, 1, {time_zone:String}), {time_zone:String}),
        {interval:String} = 'month', toDateTime(toStartOfMonth(time, {time_zone:String}), {time_zone:String}),
        toStartOfDay(time, {time_zone:String}))) AS start,
    {{people "1"}},
    {{sessions}} AS sessions,
    countIf(type = 'page_view') AS page_views
FROM permitted
GROUP BY start

-- Who did an operation for the first time in the period, by interval. Only of who lasts can it be said what is first.
SELECT
    toUnixTimestamp(multiIf(
        {interval:String} = 'hour', toStartOfHour(first_time, {time_zone:String}),
        {interval:String} = 'week', toDateTime(toStartOfWeek(first_time, 1, {time_zone:String}), {time_zone:String}),
        {interval:String} = 'month', toDateTime(toStartOfMonth(first_time, {time_zone:String}), {time_zone:String}),
        toStartOfDay(first_time, {time_zone:String}))) AS start,
    name,
    {{people "1"}}
FROM
(
    SELECT
        if(type = 'custom', custom_name, operation) AS name, subject, daily,
        min(permitted.day) AS day, min(time) AS first_time
    FROM permitted
    WHERE type IN ('operation', 'custom') AND subject != 0 AND NOT daily
    GROUP BY name, subject, daily
    HAVING {operation:String} = '' OR name = {operation:String}
)
GROUP BY start, name

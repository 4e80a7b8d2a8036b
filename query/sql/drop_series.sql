-- What was left out before it was stored. It is counted by the hour and has no subject, so a row needs as many events as
-- the threshold asks for people; they stand where a day's passing subjects would.
SELECT
    toUnixTimestamp(multiIf(
        {interval:String} = 'hour', toStartOfHour(hour, {time_zone:String}),
        {interval:String} = 'week', toDateTime(toStartOfWeek(hour, 1, {time_zone:String}), {time_zone:String}),
        {interval:String} = 'month', toDateTime(toStartOfMonth(hour, {time_zone:String}), {time_zone:String}),
        toStartOfDay(hour, {time_zone:String}))) AS start,
    reason,
    type AS kind,
    sum(count) AS events,
    toUInt64(0) AS lasting,
    events AS passing,
    toUInt64(1) AS days,
    toUInt64(0) AS low,
    toUInt64(0) AS high,
    events AS people
FROM event_drops
WHERE site = {site:String}
    AND hour >= toStartOfHour(fromUnixTimestamp64Milli({from:Int64}, 'UTC'))
    AND hour < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
GROUP BY start, reason, kind

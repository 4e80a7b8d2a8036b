SELECT toString(reason), toUInt64(sum(count))
FROM event_drops
WHERE site = {site:String}
    AND hour >= toStartOfHour(fromUnixTimestamp64Milli({from:Int64}, 'UTC'))
    AND hour < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
GROUP BY reason
ORDER BY reason

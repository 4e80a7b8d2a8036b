-- The other periods for which a question was answered in the last thirty days, as far as they overlap.
SELECT toUnixTimestamp64Milli(period_from), toUnixTimestamp64Milli(period_to)
FROM releases
WHERE site = {site:String}
    AND shape = unhex({shape:String})
    AND period_from < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
    AND period_to > fromUnixTimestamp64Milli({from:Int64}, 'UTC')
    AND as_of >= now('UTC') - INTERVAL 30 DAY
    AND NOT (period_from = fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND period_to = fromUnixTimestamp64Milli({to:Int64}, 'UTC'))
GROUP BY period_from, period_to
LIMIT 2001

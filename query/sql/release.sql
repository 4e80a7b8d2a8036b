-- The latest answer to a question.
SELECT toString(id), as_of, state, answer
FROM releases
WHERE site = {site:String}
    AND shape = unhex({shape:String})
    AND period_from = fromUnixTimestamp64Milli({from:Int64}, 'UTC')
    AND period_to = fromUnixTimestamp64Milli({to:Int64}, 'UTC')
ORDER BY as_of DESC
LIMIT 1

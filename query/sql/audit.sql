-- Who read what, newest first, from the row on that the cursor names. sites are those whose reads the auditor may see,
-- with commas between them; a record of no site belongs to all.
SELECT
    toString(id),
    time,
    toString(actor),
    toString(site),
    toString(purpose),
    toString(report),
    toString(policy),
    period_from,
    period_to,
    CAST(dimensions, 'Array(String)'),
    CAST(filters, 'Array(String)'),
    CAST(columns, 'Array(String)'),
    row_count,
    suppressed,
    toString(result),
    duration_us
FROM audit
WHERE has(splitByChar(',', {sites:String}), toString(site))
    AND time >= fromUnixTimestamp64Micro({from:Int64}, 'UTC')
    AND time < fromUnixTimestamp64Micro({to:Int64}, 'UTC')
    AND (time, id) < (fromUnixTimestamp64Micro({before:Int64}, 'UTC'), {before_id:UUID})
    AND ({actor:String} = '' OR actor = {actor:String})
    AND ({report:String} = '' OR report = {report:String})
    AND ({result:String} = '' OR result = {result:String})
ORDER BY time DESC, id DESC
LIMIT {limit:UInt32}

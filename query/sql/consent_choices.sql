-- The gate of the consent ledger, as in consent.sql. It holds records of processing and no data of a purpose: a purpose counts them, as it
-- counts what it may not see. Acts count for whom an event would count for; what was said last in the period stands.
-- Their ids are under the consent key, which has no epochs and no days (docs/adr/0007-two-keys.md), so distinct ids are
-- distinct subjects: they stand where one day's passing subjects would.
WITH
    accounts AS
    (
        SELECT visitor_id, max(account_id) AS account
        FROM consent_acts
        WHERE site = {site:String}
            AND startsWith(policy, {policy:String})
            AND time >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
            AND time < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
            AND visitor_id != 0
            AND account_id != 0
        GROUP BY visitor_id
    ),
    said AS
    (
        SELECT
            a.purpose AS purpose,
            multiIf(s.account != 0, s.account, a.account_id != 0, a.account_id, a.visitor_id != 0, a.visitor_id, a.device_key) AS person,
            argMax((a.state, a.language, a.surface), (a.time, a.received_at, a.act_id)) AS last
        FROM consent_acts AS a
        LEFT JOIN accounts AS s ON s.visitor_id = a.visitor_id
        WHERE a.site = {site:String}
            AND startsWith(a.policy, {policy:String})
            AND a.time >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
            AND a.time < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
        GROUP BY purpose, person
        HAVING person != 0
    )
SELECT
    purpose,
    if(tupleElement(last, 1) = 'renewed', 'granted', toString(tupleElement(last, 1))) AS stands,
    tupleElement(last, 2) AS language,
    tupleElement(last, 3) AS surface,
    toUInt64(0) AS lasting,
    count() AS passing,
    toUInt64(1) AS days,
    min(cityHash64(person)) AS low,
    max(cityHash64(person)) AS high,
    count() AS people
FROM said
GROUP BY purpose, stands, language, surface

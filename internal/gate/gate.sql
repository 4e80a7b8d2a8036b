-- The gate: which rows of the site and the period the purpose may see, and why it may not see the others.
-- A withdrawal masks what is at or before it, for every identity of the row. A row whose pseudonym has expired can no
-- longer be held against the withdrawals, so it is not shown.
-- Bits belong to a policy: rows from a time when the site was under another policy mean other purposes.
-- A visitor who is seen signed in at some time of a site's day counts as that account for that day, on every device: one
-- person is not two subjects. A device that several accounts share counts as one.
denied AS
(
    SELECT subject, max(denied_at) AS denied_at
    FROM consent_masks
    WHERE site = {site:String} AND purpose = {bit:UInt8}
    GROUP BY subject
),
signed_in AS
(
    SELECT e.visitor_id AS visitor_id, toDate(e.time, {time_zone:String}) AS day, max(e.account_id) AS account
    FROM events AS e
    LEFT JOIN denied AS v ON v.subject = e.visitor_id
    LEFT JOIN denied AS a ON a.subject = e.account_id
    LEFT JOIN denied AS d ON d.subject = e.device_key
    WHERE e.site = {site:String}
        AND startsWith(e.policy, {policy:String})
        AND e.time >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
        AND e.time < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
        AND e.account_id != 0
        AND e.visitor_id != 0
        AND bitTest(e.purposes, {bit:UInt8})
        AND e.time > v.denied_at
        AND e.time > a.denied_at
        AND (e.device_key = 0 OR e.time > d.denied_at)
    GROUP BY visitor_id, day
),
gate AS
(
    SELECT
        /*columns*/
        toDate(e.time, {time_zone:String}) AS day,
        multiIf(s.account != 0, s.account, e.account_id != 0, e.account_id, e.visitor_id) AS subject,
        e.linkage = 'cookieless' AND s.account = 0 AND e.account_id = 0 AS daily,
        multiIf(
            NOT bitTest(e.purposes, {bit:UInt8}), 'not_permitted',
            e.visitor_id = 0 AND e.linkage != 'none', 'pseudonym_expired',
            (e.visitor_id != 0 AND e.time <= v.denied_at)
                OR (e.account_id != 0 AND e.time <= a.denied_at)
                OR (e.device_key != 0 AND e.time <= d.denied_at), 'withdrawn',
            '') AS left_out
    FROM events AS e
    LEFT JOIN signed_in AS s ON s.visitor_id = e.visitor_id AND s.day = toDate(e.time, {time_zone:String})
    LEFT JOIN denied AS v ON v.subject = e.visitor_id
    LEFT JOIN denied AS a ON a.subject = e.account_id
    LEFT JOIN denied AS d ON d.subject = e.device_key
    WHERE e.site = {site:String}
        AND startsWith(e.policy, {policy:String})
        AND e.time >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
        AND e.time < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
)

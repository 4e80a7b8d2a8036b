-- The row rests on those who bought: with fewer of them than the threshold, it is withheld. Its shares are of all.
SELECT
    * EXCEPT (people),
    lasting + passing AS buyers,
    visitors AS people
FROM
(
    SELECT
        {{people "buying"}},
        uniqExactIf(subject, subject != 0) AS visitors,
        countIf(session_id != 0) AS sessions,
        countIf(session_id != 0 AND buying) AS buying_sessions,
        if(sessions = 0, 0, buying_sessions / sessions) AS conversion_rate
    FROM
    (
        SELECT session_id, day, subject, daily, countIf(type = 'purchase') > 0 AS buying
        FROM permitted
        GROUP BY session_id, day, subject, daily
    )
    HAVING count() > 0
)

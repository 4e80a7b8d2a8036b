-- The row rests on those who bought: with fewer of them than the threshold, it is withheld.
SELECT
    {{people "buying"}},
    countIf(session_id != 0 AND buying) AS buying_sessions,
    countIf(session_id != 0) AS sessions,
    if(sessions = 0, 0, buying_sessions / sessions) AS conversion_rate
FROM
(
    SELECT session_id, day, subject, daily, countIf(type = 'purchase') > 0 AS buying
    FROM permitted
    GROUP BY session_id, day, subject, daily
)
HAVING count() > 0

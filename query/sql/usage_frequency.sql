-- On how many days, and in how many sessions, people came. Only who lasts can be seen to return.
SELECT
    measure,
    multiIf(n = 1, '1', n = 2, '2', n <= 5, '3-5', n <= 10, '6-10', n <= 20, '11-20', '21+') AS times,
    min(n) AS least,
    {{people "1"}}
FROM
(
    SELECT subject, daily, first_day AS day, tupleElement(counted, 1) AS measure, tupleElement(counted, 2) AS n
    FROM
    (
        SELECT
            subject, daily, min(day) AS first_day,
            [('days', uniqExact(day)), ('sessions', {{sessions}})] AS both
        FROM permitted
        WHERE subject != 0 AND NOT daily
        GROUP BY subject, daily
    )
    ARRAY JOIN both AS counted
)
WHERE n > 0
GROUP BY measure, times

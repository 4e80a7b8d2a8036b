-- How many people did an operation how many times. A visitor without a cookie is another one on each day.
SELECT
    name,
    multiIf(n = 1, '1', n = 2, '2', n <= 5, '3-5', n <= 10, '6-10', n <= 20, '11-20', '21+') AS times,
    min(n) AS least,
    {{people "1"}},
    sum(n) AS count
FROM
(
    SELECT if(type = 'custom', custom_name, operation) AS name, subject, daily, min(permitted.day) AS day, count() AS n
    FROM permitted
    WHERE type IN ('operation', 'custom') AND subject != 0
    GROUP BY name, subject, daily
)
GROUP BY name, times

-- Who came in which day, week or month of the period for the first time, and again how many later. Only who lasts can
-- be seen to return.
SELECT
    toUnixTimestamp(toDateTime(first_unit, {time_zone:String})) AS cohort,
    multiIf(
        {unit:String} = 'week', intDiv(day - first_unit, 7),
        {unit:String} = 'month', dateDiff('month', first_unit, day),
        day - first_unit) AS later,
    {{people "1"}}
FROM
(
    SELECT subject, daily, day, min(day) OVER (PARTITION BY subject) AS first_unit
    FROM
    (
        SELECT DISTINCT
            subject, daily,
            multiIf(
                {unit:String} = 'week', toStartOfWeek(permitted.day, 1),
                {unit:String} = 'month', toStartOfMonth(permitted.day),
                permitted.day) AS day
        FROM permitted
        WHERE subject != 0 AND NOT daily
    )
)
GROUP BY cohort, later

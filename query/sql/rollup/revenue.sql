-- An order that was sent more than once counts once, as it was sent last (Art. 7-1).
SELECT
    currency,
    uniqExactIf(person, person != 0 AND NOT daily) AS lasting,
    uniqExactIf(person, person != 0 AND daily) AS passing,
    uniqExactIf(day, person != 0 AND daily) AS days,
    minIf(least, person != 0) AS low,
    maxIf(least, person != 0) AS high,
    lasting + passing AS people,
    count() AS orders,
    sum(amount) AS revenue
FROM
(
    SELECT *
    FROM cells
    ORDER BY order_received DESC, order_event
    LIMIT 1 BY order_id
)
GROUP BY currency

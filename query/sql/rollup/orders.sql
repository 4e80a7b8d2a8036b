-- An order that was sent more than once counts once, as it was sent last (Art. 7-1). The median of an even number of orders
-- is the mean of the two in the middle.
SELECT
    currency,
    uniqExactIf(person, person != 0 AND NOT daily) AS lasting,
    uniqExactIf(person, person != 0 AND daily) AS passing,
    uniqExactIf(day, person != 0 AND daily) AS days,
    minIf(least, person != 0) AS low,
    maxIf(least, person != 0) AS high,
    lasting + passing AS people,
    count() AS orders,
    sum(arraySum(item_quantity)) AS sold,
    sold / orders AS items_per_order,
    sum(amount) AS revenue,
    round(CAST(revenue, 'Decimal(76, 8)') / orders, 4) AS mean_value,
    round((CAST(quantileExactLow(0.5)(amount), 'Decimal(76, 8)') + CAST(quantileExactHigh(0.5)(amount), 'Decimal(76, 8)')) / 2, 4) AS median_value
FROM
(
    SELECT *
    FROM cells
    ORDER BY order_received DESC, order_event
    LIMIT 1 BY order_id
)
GROUP BY currency

-- An order that was sent more than once counts once, as it was sent last (Art. 7-1).
SELECT
    sku,
    name,
    currency,
    uniqExactIf(person, person != 0 AND NOT daily) AS lasting,
    uniqExactIf(person, person != 0 AND daily) AS passing,
    uniqExactIf(day, person != 0 AND daily) AS days,
    minIf(least, person != 0) AS low,
    maxIf(least, person != 0) AS high,
    lasting + passing AS people,
    sum(quantity) AS sold,
    uniqExact(order_id) AS orders,
    sum(price * quantity) AS revenue
FROM
(
    SELECT *
    FROM cells
    ORDER BY order_received DESC, order_event
    LIMIT 1 BY order_id
)
ARRAY JOIN item_sku AS sku, item_name AS name, item_quantity AS quantity, item_price AS price
GROUP BY sku, name, currency

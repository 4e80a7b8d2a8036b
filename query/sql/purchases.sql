-- An order that was sent more than once counts once, as it was sent last (Art. 7-1).
SELECT
    sku,
    name,
    currency,
    {{people "1"}},
    sum(quantity) AS sold,
    uniqExact(order_id) AS orders,
    sum(price * quantity) AS revenue
FROM
(
    SELECT
        day, subject, daily, currency, item_sku, item_name, item_quantity, item_price,
        if(order_key = 0, event_id, order_key) AS order_id
    FROM permitted
    WHERE type = 'purchase'
    ORDER BY received_at DESC, event_id
    LIMIT 1 BY order_id
)
ARRAY JOIN item_sku AS sku, item_name AS name, item_quantity AS quantity, item_price AS price
GROUP BY sku, name, currency

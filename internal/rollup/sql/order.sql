-- An order that is sent more than once counts once, as it was sent last, whichever day that was: so orders are kept one
-- by one, a day's each as it was sent last on that day (Art. 7-1).
SELECT
    day,
    if(order_key = 0, event_id, order_key) AS order_id,
    event_id AS order_event,
    received_at AS order_received,
    if(number = 0, subject, number) AS person,
    daily,
    cityHash64(subject) AS least,
    currency,
    amount,
    item_sku,
    item_name,
    item_quantity,
    item_price
FROM numbered
WHERE type = 'purchase'
ORDER BY received_at DESC, event_id
LIMIT 1 BY day, order_id

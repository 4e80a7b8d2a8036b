-- An order that was sent more than once counts once, as it was sent last (Art. 7-1).
SELECT
    currency,
    {{people "1"}},
    count() AS orders,
    sum(amount) AS revenue
FROM
(
    SELECT day, subject, daily, currency, amount
    FROM permitted
    WHERE type = 'purchase'
    ORDER BY received_at DESC, event_id
    LIMIT 1 BY if(order_key = 0, event_id, order_key)
)
GROUP BY currency

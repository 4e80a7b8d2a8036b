-- An order that was sent more than once counts once, as it was sent last (Art. 7-1). Amounts stay decimals; the median of
-- an even number of orders is the mean of the two in the middle.
SELECT
    currency,
    {{people "1"}},
    count() AS orders,
    sum(arraySum(item_quantity)) AS sold,
    sold / orders AS items_per_order,
    sum(amount) AS revenue,
    round(CAST(revenue, 'Decimal(76, 8)') / orders, 4) AS mean_value,
    round((CAST(quantileExactLow(0.5)(amount), 'Decimal(76, 8)') + CAST(quantileExactHigh(0.5)(amount), 'Decimal(76, 8)')) / 2, 4) AS median_value
FROM
(
    SELECT day, subject, daily, currency, amount, item_quantity
    FROM permitted
    WHERE type = 'purchase'
    ORDER BY received_at DESC, event_id
    LIMIT 1 BY if(order_key = 0, event_id, order_key)
)
GROUP BY currency

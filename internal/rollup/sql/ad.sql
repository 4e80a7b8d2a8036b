-- What viewable means is told in query/sql/ads.sql.
SELECT
    day,
    ad_id,
    ad_slot,
    {{cell "1"}},
    countIf(NOT ad_click) AS impressions,
    countIf(NOT ad_click AND ad_visible_ms >= 1000) AS viewable,
    countIf(ad_click) AS clicks
FROM numbered
WHERE type = 'ad_view'
GROUP BY day, ad_id, ad_slot

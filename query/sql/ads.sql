SELECT
    ad_id AS ad,
    ad_slot AS slot,
    {{people "1"}},
    countIf(NOT ad_click) AS impressions,
    countIf(ad_click) AS clicks,
    if(impressions = 0, 0, clicks / impressions) AS rate
FROM permitted
WHERE type = 'ad_view'
GROUP BY ad, slot

SELECT
    ad_id AS ad,
    ad_slot AS slot,
    uniqExactIf(subject, subject != 0) AS subjects,
    countIf(NOT ad_click) AS impressions,
    countIf(ad_click) AS clicks,
    if(impressions = 0, 0, clicks / impressions) AS rate
FROM permitted
WHERE type = 'ad_view'
GROUP BY ad, slot

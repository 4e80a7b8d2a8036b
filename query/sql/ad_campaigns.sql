-- Viewable as the Media Rating Council has it for display (MRC Viewable Ad Impression Measurement Guidelines 2.0, 2015):
-- half of the area for one second without a break. The tracker measures the half; an impression without a time is not
-- viewable.
SELECT
    ad_campaign,
    {{people "1"}},
    countIf(NOT ad_click) AS impressions,
    countIf(NOT ad_click AND ad_visible_ms >= 1000) AS viewable,
    if(impressions = 0, 0, viewable / impressions) AS viewability,
    countIf(ad_click) AS clicks,
    if(impressions = 0, 0, clicks / impressions) AS rate
FROM permitted
WHERE type = 'ad_view'
GROUP BY ad_campaign

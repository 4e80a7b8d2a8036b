SELECT
    ad_id AS ad,
    ad_slot AS slot,
    {{people}},
    sum(cells.impressions) AS impressions,
    sum(cells.viewable) AS viewable,
    if(impressions = 0, 0, viewable / impressions) AS viewability,
    sum(cells.clicks) AS clicks,
    if(impressions = 0, 0, clicks / impressions) AS rate
FROM cells
GROUP BY ad, slot

-- One day of invented events: {sessions} sessions, about eight events each, of {visitors} visitors over all days.
INSERT INTO events (site, time, received_at, event_id, type, purposes, policy, linkage, reason, jurisdiction, session_id, visitor_id, account_id, device_key, host, path, title, referrer_host, channel, channel_source, utm_campaign, scroll_percent, visible_ms, country, region, device, browser, browser_version, os, language, screen, operation, operation_target, custom_name, view_id, search_query, search_results, ad_id, ad_slot, ad_click, order_key, currency, amount, item_sku, item_name, item_quantity, item_price)
WITH
    toUInt64({day}) AS day,
    cityHash64(day, s, i) AS r,
    cityHash64(day, s) AS h,
    -- A few come often, and a few pages are seen by most.
    toUInt64(floor(pow((h % 1000003) / 1000003, 2) * {visitors})) AS who,
    cityHash64('who', who) AS w,
    multiIf(w % 20 < 5, 'cookieless', w % 20 < 7, 'account', 'visitor') AS link,
    multiIf(i = 0, 'page_view', r % 100 < 40, 'page_view', r % 100 < 70, 'engagement', r % 100 < 79, 'operation', r % 100 < 83, 'search', r % 100 < 94, 'ad_view', r % 100 < 98, 'custom', r % 100 < 99, 'purchase', 'environment') AS kind,
    toUInt64(floor(pow((intDiv(r, 128) % 100003) / 100003, 4) * 2000)) AS page,
    intDiv(r, 1024) AS q
SELECT
    'bench',
    fromUnixTimestamp64Milli(toInt64({midnight}), 'UTC') + toIntervalMillisecond(least(h % 86400000 + i * 40000 + r % 40000, 86399999)) AS time,
    toDateTime(time) + 2,
    r, kind,
    if(link = 'cookieless', if(w % 40 < 5, 34, 1058), 4095), 'default/2022-09-15', link, 'granted', 'jp',
    cityHash64('session', h), if(link = 'cookieless', cityHash64('visitor', who, day), cityHash64('visitor', who)),
    if(link = 'account' AND i > 1, cityHash64('account', intDiv(who, 2)), 0), if(link = 'account' AND i > 1, cityHash64('device', who), 0),
    'shop.example', if(kind IN ('page_view', 'engagement'), concat('/section-', toString(page % 23), '/page-', toString(page)), ''), if(kind = 'page_view', concat('Page ', toString(page)), ''),
    if(kind = 'page_view' AND i = 0 AND w % 7 < 4, concat('site-', toString(w % 300), '.example'), ''),
    if(kind = 'page_view', if(i = 0, ['search', 'direct', 'social', 'referral', 'email'][1 + w % 5], 'internal'), ''), if(kind = 'page_view' AND i = 0, ['Google', '', 'X', 'blog', 'news'][1 + w % 5], ''),
    if(i = 0 AND w % 11 = 0, concat('campaign-', toString(w % 40)), ''), if(kind = 'engagement', q % 100, 0), if(kind = 'engagement', q % 60000, 0),
    ['JP', 'JP', 'JP', 'JP', 'US', 'US', 'FR', 'DE', 'GB', 'KR', 'TW', 'BR'][1 + w % 12], concat('region-', toString(w % 12), '-', toString(toUInt64(floor(pow(intDiv(w, 16) % 1009 / 1009, 3) * 20)))),
    ['mobile', 'desktop', 'tablet'][1 + toUInt64(floor(pow(intDiv(w, 32) % 1013 / 1013, 2) * 3))], ['Chrome', 'Safari', 'Edge', 'Firefox'][1 + toUInt64(floor(pow(intDiv(w, 64) % 1019 / 1019, 2) * 4))], 100 + w % 20, ['Windows', 'iOS', 'Android', 'macOS', 'Linux'][1 + toUInt64(floor(pow(intDiv(w, 128) % 1021 / 1021, 2) * 5))],
    ['ja', 'ja', 'ja', 'en', 'fr'][1 + w % 5], ['1920x1080', '390x844', '1366x768'][1 + w % 3],
    if(kind = 'operation', concat('operation-', toString(toUInt64(floor(pow(q % 1009 / 1009, 3) * 30)))), ''), if(kind = 'operation', concat('target-', toString(q % 5)), ''), if(kind = 'custom', concat('custom-', toString(q % 8)), ''),
    if(kind IN ('page_view', 'engagement'), cityHash64('view', day, s, i), 0),
    if(kind = 'search', concat('words ', toString(toUInt64(floor(pow(q % 10007 / 10007, 4) * 3000)))), ''), if(kind = 'search', q % 20, -1),
    if(kind = 'ad_view', concat('ad-', toString(q % 40)), ''), if(kind = 'ad_view', concat('slot-', toString(q % 4)), ''), kind = 'ad_view' AND q % 50 = 0,
    if(kind = 'purchase', r, 0), if(kind = 'purchase', ['JPY', 'JPY', 'USD'][1 + q % 3], ''), if(kind = 'purchase', toDecimal64(100 + q % 9000, 4), toDecimal64(0, 4)),
    if(kind = 'purchase', [concat('sku-', toString(q % 300))], []), if(kind = 'purchase', [concat('Item ', toString(q % 300))], []), if(kind = 'purchase', [toUInt32(1 + q % 3)], []), if(kind = 'purchase', [toDecimal64(100 + q % 9000, 4)], [])
FROM (SELECT number AS s FROM numbers({sessions}))
ARRAY JOIN range(1 + toUInt32(floor(pow((cityHash64('length', {day}, s) % 10007) / 10007, 2) * 22))) AS i

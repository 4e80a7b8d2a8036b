-- What people use: sections of pages (the first part of the path), operations, searches by their category, purchases
-- and advertisements. An order that was sent more than once counts once.
SELECT
    transform(type, ['page_view', 'operation', 'custom', 'search', 'purchase', 'ad_view'], ['page', 'operation', 'event', 'search', 'purchase', 'ad'], '') AS kind,
    multiIf(
        kind = 'page', '/' || splitByChar('/', path)[2],
        kind = 'operation', operation,
        kind = 'event', custom_name,
        kind = 'search', search_category,
        kind = 'ad', ad_id,
        '') AS subject_matter,
    {{people "1"}},
    if(kind = 'purchase', uniqExact(if(order_key = 0, event_id, order_key)), count()) AS count
FROM permitted
WHERE type IN ('page_view', 'operation', 'custom', 'search', 'purchase', 'ad_view')
GROUP BY kind, subject_matter

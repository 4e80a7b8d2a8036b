-- Widths of the viewport in CSS pixels, cut where layouts commonly change: phone, tablet, small and large desktop.
WITH toUInt32OrZero(splitByChar('x', viewport)[1]) AS width
SELECT
    screen,
    multiIf(width = 0, '', width < 600, '0-599', width < 900, '600-899', width < 1200, '900-1199', width < 1536, '1200-1535', '1536-') AS viewport_width,
    {{people "1"}},
    {{sessions}} AS sessions,
    countIf(type = 'page_view') AS page_views
FROM permitted
GROUP BY screen, viewport_width

SELECT
    host,
    path,
    {{people}},
    sum(cells.views) AS views,
    sum(cells.entries) AS entries,
    sum(cells.exits) AS exits,
    sum(visible_ms) / 1000 / sum(cells.views) AS visible_seconds,
    if(sum(deep_views) = 0, 0, sum(depth) / sum(deep_views)) AS scroll_depth
FROM cells
GROUP BY host, path
HAVING views > 0

SELECT
    {{kind}} AS kind,
    day,
    {{dimensions}},
    {{cell "1"}},
    uniqExactIf(session_id, session_id != 0) AS sessions,
    countIf(type = 'page_view') AS views
FROM
(
    SELECT *{{if hours}}, toStartOfHour(time, {time_zone:String}) AS hour{{end}}
    FROM numbered
)
GROUP BY GROUPING SETS ({{sets}})

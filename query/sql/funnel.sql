-- How far people came. Of a person's ways that come furthest within the window, the one that began last counts, with
-- each step as early as it could be. Events of the same time follow each other by their ids, and one event is one step.
-- In any order, a person came as far as there were different steps within the window. The first such way counts, with
-- each step as late as it was; there, one event may be several steps.
-- A window of more than a day counts nobody who is another one on the next day.
{{define "acts"}}
SELECT
    subject, daily, permitted.day AS act_day, toUnixTimestamp64Milli(time) AS at, event_id{{range $i, $condition := .step}},
    toBool({{$condition}}) AS is{{$i}}{{end}}
FROM permitted
WHERE subject != 0
    AND ({window:Int64} <= 86400000 OR NOT daily)
    AND ({{range $i, $condition := .step}}{{if $i}} OR {{end}}({{$condition}}){{end}})
{{end}}
SELECT
    arrayJoin(range(1, {{len .step}} + 1)) AS step,
    {{if .strict}}''{{else}}[{{range $i, $_ := .step}}{{if $i}}, {{end}}{step{{$i}}_kind:String}{{end}}][step]{{end}} AS kind,
    {{people "length(way) >= step"}},
    if(countIf(step > 1 AND length(way) >= step) = 0, 0,
        quantileExactInclusiveIf(0.5)((way[step] - way[step - 1]) / 1000, step > 1 AND length(way) >= step)) AS seconds
FROM
(
    SELECT subject, daily, min(act_day) AS day, argMax(way, (length(way), {{if .strict}}-at, -position{{else}}at, position{{end}})) AS way
    FROM
    (
{{- if .strict}}
        -- The times of the steps that were done last, up to each act.
        SELECT
            subject, daily, act_day, at, row_number() OVER each AS position,
            arraySort(arrayFilter(last -> last > 0 AND at - last <= {window:Int64}, [{{range $i, $_ := .step}}{{if $i}}, {{end}}maxIf(at, is{{$i}}) OVER each{{end}}])) AS way
        FROM ({{template "acts" .}})
        WINDOW each AS (PARTITION BY subject, daily ORDER BY at, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
{{- else}}
        -- From the last step to the second: the times at which the steps that follow are done first, after each act.
        SELECT subject, daily, act_day, at, position, arrayPushFront(arrayFilter(time -> time - at <= {window:Int64}, following), at) AS way
        FROM
        (
{{- range $i, $_ := .step}}{{if $i}}
            SELECT * REPLACE (anyLastIf(arrayPushFront(following, at), is{{$i}}) OVER (PARTITION BY subject, daily ORDER BY at DESC, event_id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS following)
            FROM
            (
{{- end}}{{end}}
                SELECT *, emptyArrayInt64() AS following, event_id AS position
                FROM ({{template "acts" .}})
{{- range $i, $_ := .step}}{{if $i}}
            )
{{- end}}{{end}}
        )
        WHERE is0
{{- end}}
    )
    GROUP BY subject, daily
)
GROUP BY step

-- How far people came. Of a person's ways that come furthest within the window, the one that began last counts, with
-- each step as early as it could be. Events of the same time follow each other by their ids, and one event is one step.
-- In any order, a person came as far as there were different steps within the window. The first such way counts, with
-- each step as late as it was; there, one event may be several steps.
-- A window of more than a day counts nobody who is another one on the next day.
SELECT
    *,
    if(max(people) OVER () = 0, 0, people / max(people) OVER ()) AS from_first,
    if(step = 1, 1, if(before = 0, 0, people / before)) AS from_previous
FROM
(
    SELECT *, lagInFrame(people, 1, toUInt64(0)) OVER (ORDER BY step ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS before
    FROM
    (
        SELECT
            arrayJoin(range(1, {{len .step}} + 1)) AS step,
            if({strict:String} = 'any', '', [{{range $i, $_ := .step}}{{if $i}}, {{end}}{step{{$i}}_kind:String}{{end}}][step]) AS kind,
            {{people "length(way) >= step"}},
            round(if(countIf(step > 1 AND length(way) >= step) = 0, 0,
                quantileExactInclusiveIf(0.5)((way[step] - way[step - 1]) / 1000, step > 1 AND length(way) >= step))) AS seconds
        FROM
        (
            SELECT
                subject, daily, min(permitted.day) AS day,
                arraySort(groupArray((toUnixTimestamp64Milli(time), event_id, [{{range $i, $condition := .step}}{{if $i}}, {{end}}toBool({{$condition}}){{end}}]))) AS acts,
                if({strict:String} = 'any',
                    tupleElement(arrayFold((state, act) -> (
                        arrayMap((last, is) -> if(is, tupleElement(act, 1), last), tupleElement(state, 1), tupleElement(act, 3)) AS lasts,
                        if(
                            arrayCount(last -> last > 0 AND tupleElement(act, 1) - last <= {window:Int64}, lasts) > length(tupleElement(state, 2)),
                            arraySort(arrayFilter(last -> last > 0 AND tupleElement(act, 1) - last <= {window:Int64}, lasts)),
                            tupleElement(state, 2))
                    ), acts, (arrayWithConstant({{len .step}}, toInt64(0)), emptyArrayInt64())), 2),
                    arrayLast(way -> notEmpty(way), arrayFold((ways, act) -> arrayMap(
                        (i, is) -> if(
                            is
                                AND (i = 1 OR (notEmpty(ways[i - 1]) AND tupleElement(act, 1) - ways[i - 1][1] <= {window:Int64}))
                                AND (empty(ways[i]) OR if(i = 1, tupleElement(act, 1), ways[i - 1][1]) > ways[i][1]),
                            arrayPushBack(if(i = 1, emptyArrayInt64(), ways[i - 1]), tupleElement(act, 1)),
                            ways[i]),
                        range(1, {{len .step}} + 1), tupleElement(act, 3)
                    ), acts, arrayWithConstant({{len .step}}, emptyArrayInt64())))) AS way
            FROM permitted
            WHERE subject != 0
                AND ({window:Int64} <= 86400000 OR NOT daily)
                AND ({{range $i, $condition := .step}}{{if $i}} OR {{end}}({{$condition}}){{end}})
            GROUP BY subject, daily
        )
        GROUP BY step
    )
)

-- Which act followed which in a session, from a start on or up to an end: level 1 is the one next to it. The start is
-- the first such act of the session, the end the last; without either, a session is followed from its first act on.
SELECT
    tupleElement(edge, 1) AS level,
    tupleElement(edge, 2) AS from_kind,
    tupleElement(edge, 3) AS from_name,
    tupleElement(edge, 4) AS to_kind,
    tupleElement(edge, 5) AS to_name,
    {{people "1"}},
    count() AS count
FROM
(
    SELECT
        subject, daily, day,
        arraySort(groupArray((
            time, event_id,
            multiIf(type = 'page_view', 'page', type = 'custom', 'event', 'operation'),
            multiIf(type = 'page_view', path, type = 'custom', custom_name, operation),
            toBool({{range .start}}{{.}}{{else}}{{range .end}}{{.}}{{else}}true{{end}}{{end}})))) AS acts,
        {{if .end}}arrayLastIndex{{else}}arrayFirstIndex{{end}}(a -> tupleElement(a, 5), acts) AS at,
        arrayJoin(arrayMap(
            level -> (
                level,
                tupleElement(acts[{{if .end}}at - level{{else}}at + level - 1{{end}}], 3), tupleElement(acts[{{if .end}}at - level{{else}}at + level - 1{{end}}], 4),
                tupleElement(acts[{{if .end}}at - level + 1{{else}}at + level{{end}}], 3), tupleElement(acts[{{if .end}}at - level + 1{{else}}at + level{{end}}], 4)),
            arrayFilter(
                level -> at > 0 AND {{if .end}}at > level{{else}}at + level <= length(acts){{end}},
                range(1, {steps:UInt8} + 1)))) AS edge
    FROM permitted
    WHERE type IN ('page_view', 'operation', 'custom') AND session_id != 0
    GROUP BY session_id, day, subject, daily
)
GROUP BY edge

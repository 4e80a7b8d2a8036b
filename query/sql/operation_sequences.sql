-- Operations that followed each other in a session, with nothing but views and the like between them: two, and three.
-- The third of a pair is empty.
SELECT
    tupleElement(sequence, 1) AS one,
    tupleElement(sequence, 2) AS two,
    tupleElement(sequence, 3) AS three,
    tupleElement(sequence, 4) AS length,
    {{people "1"}},
    count() AS count
FROM
(
    SELECT
        subject, daily, day,
        arrayMap(o -> tupleElement(o, 3), arraySort(groupArray((time, event_id, if(type = 'custom', custom_name, operation))))) AS done,
        arrayJoin(arrayConcat(
            arrayMap(i -> (done[i], done[i + 1], '', 2), range(1, toUInt64(length(done)))),
            arrayMap(i -> (done[i], done[i + 1], done[i + 2], 3), range(1, toUInt64(greatest(length(done), 1) - 1))))) AS sequence
    FROM permitted
    WHERE type IN ('operation', 'custom') AND session_id != 0
    GROUP BY session_id, day, subject, daily
)
GROUP BY sequence

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
        arrayPopFront(done) AS after_one,
        arrayJoin(arrayConcat(
            arrayZip(arrayPopBack(done), after_one, arrayWithConstant(length(after_one), ''), arrayWithConstant(length(after_one), 2)),
            arrayZip(
                arrayPopBack(arrayPopBack(done)), arrayPopBack(after_one), arrayPopFront(after_one),
                arrayWithConstant(length(arrayPopBack(after_one)), 3)))) AS sequence
    FROM permitted
    WHERE type IN ('operation', 'custom') AND session_id != 0
    GROUP BY session_id, day, subject, daily
)
GROUP BY sequence

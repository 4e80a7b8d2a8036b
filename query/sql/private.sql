-- What a differentially private release is made of, before its noise: of one subject on one day so many cells at most, and
-- so many events in each. Which cells those are depends on nobody else.
SELECT /*names*/, toInt64(count()) AS visitor_days, toInt64(sum(least(n, {events_each:UInt64}))) AS events
FROM
(
    SELECT /*keys*/, day, subject, count() AS n
    FROM permitted
    WHERE subject != 0 AND (/*picked*/)
    GROUP BY /*names*/, day, subject
    ORDER BY cityHash64(day, subject, /*names*/)
    LIMIT {cells_each:UInt32} BY day, subject
)
GROUP BY /*names*/

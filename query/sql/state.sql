-- A number that is another as soon as anything changes that an answer may rest on: the set of the parts of all tables but
-- those that a read itself writes to. Merged parts are another set of the same rows: then an answer is made anew, and is
-- the same. What expires is told by the day.
SELECT cityHash64(groupBitXor(cityHash64(table, name, modification_time)), toDate(now('UTC')))
FROM system.parts
WHERE database = currentDatabase() AND active AND table NOT IN ('audit', 'releases', 'dp_budget', 'segments')

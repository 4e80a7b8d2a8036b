-- For each condition of a request, the subjects with a row that only this condition leaves out. failing has a bit for
-- every condition that a row does not meet; kept are the conditions that are still asked for.
SELECT toUInt64(alone), toUInt64({{subjects}}), toUInt64(low), toUInt64(high)
FROM
(
    SELECT bitAnd(/*failing*/, {kept:UInt32}) AS alone, {{people "1"}}
    FROM permitted
    GROUP BY alone
    HAVING bitCount(alone) = 1
)

SELECT toString(left_out), toUInt64(count), toUInt64({{subjects}}), toUInt64(low), toUInt64(high), toUInt64(people)
FROM
(
    SELECT left_out, count() AS count, {{people "1"}}
    FROM gate
    GROUP BY left_out
)
ORDER BY left_out

SELECT toString(left_out), toUInt64(count()), toUInt64(uniqExactIf(subject, subject != 0))
FROM gate
GROUP BY left_out
ORDER BY left_out

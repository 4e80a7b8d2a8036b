-- Who has a row in a stretch of time, at most so many of them. A visitor without a cookie is another one each day.
SELECT DISTINCT cityHash64(subject), daily, toUnixTimestamp(if(daily, toDateTime(day, 'UTC'), toDateTime(0, 'UTC')))
FROM permitted
WHERE subject != 0
LIMIT {most:UInt32}

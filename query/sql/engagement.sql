SELECT
    uniqExactIf(subject, subject != 0) AS subjects,
    sum(visible_ms) / 1000 / uniqExact(session_id) AS visible_seconds
FROM permitted
WHERE type = 'engagement' AND session_id != 0
HAVING count() > 0

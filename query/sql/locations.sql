SELECT
    country,
    region,
    uniqExactIf(subject, subject != 0) AS subjects,
    subjects AS visitors,
    uniqExactIf(session_id, session_id != 0) AS sessions,
    countIf(type = 'page_view') AS page_views
FROM permitted
GROUP BY country, region

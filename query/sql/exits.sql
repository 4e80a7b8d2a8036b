-- A session ends with its last page view. The rate is of all views of the page.
SELECT
    host,
    path,
    {{people "departed"}},
    countIf(departed) AS exits,
    count() AS views,
    exits / views AS exit_rate
FROM
(
    SELECT
        host, path, day, subject, daily,
        session_id != 0 AND row_number() OVER (PARTITION BY session_id, day ORDER BY time DESC, event_id DESC) = 1 AS departed
    FROM permitted
    WHERE type = 'page_view'
)
GROUP BY host, path
HAVING exits > 0

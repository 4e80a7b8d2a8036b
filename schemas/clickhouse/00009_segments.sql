-- +goose Up

-- Append-only: a segment is as its last row says. It ends with the records of processing, unless it is written again.

-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS segments
(
    site            LowCardinality(String)      COMMENT 'record',
    name            String                      COMMENT 'record',
    filters         Array(String)               COMMENT 'record',
    created_by      LowCardinality(String)      COMMENT 'record',
    time            DateTime64(6, 'UTC')        COMMENT 'record',
    deleted         Bool                        COMMENT 'record'
)
ORDER BY (site, name, time)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Filters that analysts keep under a name. They are questions, and no answers: nothing in them was read from events.';
-- +goose StatementEnd

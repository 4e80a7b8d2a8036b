-- +goose Up

-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS event_drops
(
    site            LowCardinality(String)      COMMENT 'record',
    hour            DateTime('UTC')             COMMENT 'record',
    type            LowCardinality(String)      COMMENT 'record',
    reason          LowCardinality(String)      COMMENT 'record',
    count           UInt64                      COMMENT 'record'
)
PARTITION BY toYYYYMM(hour)
ORDER BY (site, hour, type, reason)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'How many events were left out and why. Counts only: nothing of the event is kept. Read with sum(count).';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS audit
(
    id              UUID                        COMMENT 'record',
    time            DateTime64(6, 'UTC')        COMMENT 'record',
    actor           LowCardinality(String)      COMMENT 'record',
    site            LowCardinality(String)      COMMENT 'record',
    purpose         LowCardinality(String)      COMMENT 'record',
    report          LowCardinality(String)      COMMENT 'record',
    policy          LowCardinality(String)      COMMENT 'record',
    period_from     DateTime('UTC')             COMMENT 'record',
    period_to       DateTime('UTC')             COMMENT 'record',
    dimensions      Array(LowCardinality(String)) COMMENT 'record',
    filters         Array(LowCardinality(String)) COMMENT 'record',
    columns         Array(LowCardinality(String)) COMMENT 'record',
    row_count       UInt32                      COMMENT 'record',
    suppressed      UInt32                      COMMENT 'record',
    result          LowCardinality(String)      COMMENT 'record',
    duration_us     UInt64                      COMMENT 'record'
)
PARTITION BY toYYYYMM(time)
ORDER BY (time, id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every read and every refused read. filters holds the names of the filtered dimensions, never their values.';
-- +goose StatementEnd

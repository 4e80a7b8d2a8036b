-- +goose Up

-- What was told, so that the same question gets the same answer while the data behind it is the same, and questions that
-- nearly ask for the same people are noticed (query/release.go). shape is a keyed hash of the question without its
-- period: the values of filters are somewhere else nowhere either. answer holds what was shown, and nothing that was
-- withheld.
-- The budget of differentially private releases (query/dp): one row for every day of the data that a release spends on.
-- A row of a refused release is given back by one with the opposite sign.

-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS releases
(
    site            LowCardinality(String)      COMMENT 'record',
    shape           FixedString(32)             COMMENT 'record',
    period_from     DateTime64(3, 'UTC')        COMMENT 'record',
    period_to       DateTime64(3, 'UTC')        COMMENT 'record',
    as_of           DateTime64(6, 'UTC')        COMMENT 'record',
    id              UUID                        COMMENT 'record',
    state           UInt64                      COMMENT 'record',
    purpose         LowCardinality(String)      COMMENT 'record',
    report          LowCardinality(String)      COMMENT 'record',
    answer          String                      COMMENT 'record' CODEC(ZSTD(3))
)
ORDER BY (site, shape, period_from, period_to, as_of)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Answers as they were released, without what was withheld.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS dp_budget
(
    site            LowCardinality(String)      COMMENT 'record',
    purpose         LowCardinality(String)      COMMENT 'record',
    day             Date                        COMMENT 'record',
    epsilon         Decimal(18, 9)              COMMENT 'record',
    delta           Decimal(38, 24)             COMMENT 'record',
    report          LowCardinality(String)      COMMENT 'record',
    actor           LowCardinality(String)      COMMENT 'record',
    time            DateTime64(6, 'UTC')        COMMENT 'record',
    id              UUID                        COMMENT 'record'
)
ORDER BY (site, purpose, day, time, id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'What differentially private releases have spent, by day of the data. Read with sum.';
-- +goose StatementEnd

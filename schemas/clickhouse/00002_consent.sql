-- +goose Up

-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS consent_acts
(
    site            LowCardinality(String)      COMMENT 'record',
    act_id          UUID                        COMMENT 'record',
    purpose         LowCardinality(String)      COMMENT 'record',
    state           Enum8('granted' = 1, 'refused' = 2, 'withdrawn' = 3) COMMENT 'record',
    visitor_id      UInt64                      COMMENT 'pseudonym',
    account_id      UInt64                      COMMENT 'pseudonym',
    device_key      UInt64                      COMMENT 'pseudonym',
    policy          LowCardinality(String)      COMMENT 'record',
    text_hash       LowCardinality(String)      COMMENT 'record',
    language        LowCardinality(String)      COMMENT 'record',
    surface         LowCardinality(String)      COMMENT 'record',
    gpc             Bool                        COMMENT 'record',
    time            DateTime64(6, 'UTC') COMMENT 'record' CODEC(Delta, ZSTD(1)),
    received_at     DateTime64(6, 'UTC') COMMENT 'record' CODEC(Delta, ZSTD(1)),
    shard           UInt16                      COMMENT 'record',
    offset          Int64                       COMMENT 'record'
)
PARTITION BY toYear(time)
ORDER BY (site, visitor_id, account_id, purpose, time)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'The consent ledger: one act and purpose a row, append-only.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS consent_masks
(
    site            LowCardinality(String)      COMMENT 'record',
    purpose         UInt8                       COMMENT 'record',
    subject         UInt64                      COMMENT 'pseudonym',
    denied_at       DateTime64(6, 'UTC')        COMMENT 'record'
)
ORDER BY (site, purpose, subject)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Latest denials: a row of events at or before denied_at is invisible for the purpose. Read with max(denied_at).';
-- +goose StatementEnd

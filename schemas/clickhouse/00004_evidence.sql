-- +goose Up

-- The consent ledger becomes evidence: what ISO/IEC TS 27560 asks of a consent record, and the salt that hides the
-- record in its Merkle leaf (internal/ledger). What the policy version says (categories, controller, recipients,
-- retention, how to withdraw) is not repeated in each row: the row names the version and the hash of its pack.

-- +goose StatementBegin
ALTER TABLE consent_acts
    MODIFY COLUMN state Enum8('granted' = 1, 'refused' = 2, 'withdrawn' = 3, 'renewed' = 4, 'expired' = 5) COMMENT 'record',
    ADD COLUMN IF NOT EXISTS schema_version LowCardinality(String)  COMMENT 'record' AFTER act_id,
    ADD COLUMN IF NOT EXISTS policy_hash    LowCardinality(String)  COMMENT 'record' AFTER policy,
    ADD COLUMN IF NOT EXISTS jurisdiction   LowCardinality(String)  COMMENT 'record' AFTER policy_hash,
    ADD COLUMN IF NOT EXISTS basis          LowCardinality(String)  COMMENT 'record' AFTER jurisdiction,
    ADD COLUMN IF NOT EXISTS source         LowCardinality(String)  COMMENT 'record' AFTER surface,
    ADD COLUMN IF NOT EXISTS method         LowCardinality(String)  COMMENT 'record' AFTER source,
    ADD COLUMN IF NOT EXISTS actor          LowCardinality(String)  COMMENT 'record' AFTER method,
    ADD COLUMN IF NOT EXISTS tc_string      String                  COMMENT 'record' AFTER actor,
    ADD COLUMN IF NOT EXISTS salt           FixedString(32)         COMMENT 'record';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS ledger_records
(
    kind            LowCardinality(String)      COMMENT 'record',
    id              FixedString(16)             COMMENT 'record',
    time            DateTime64(6, 'UTC')        COMMENT 'record',
    salt            FixedString(32)             COMMENT 'record',
    names           Array(LowCardinality(String)) COMMENT 'record',
    values          Array(String)               COMMENT 'record'
)
ORDER BY (time, id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Records of the proof ledger that are no consent acts: policies, destroyed keys, erasures, audit checkpoints. They say nothing of a person and stay.';
-- +goose StatementEnd

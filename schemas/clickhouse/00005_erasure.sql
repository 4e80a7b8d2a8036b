-- +goose Up

-- A mask hides at once; then it is folded into the rows that it hides, and retired (internal/subject).
-- erase: the subject wants the past deleted (erase_past). act: the leaf of that act in the proof ledger, in a row without
-- a subject, because a leaf beside the pseudonyms would tell that they are one person's. rows: in such a row without an
-- act, how many rows an erasure found before it began.
-- stored is the hour of the insert and no finer, for the same reason as denied_at is another in each epoch
-- (docs/adr/0007-two-keys.md).

-- +goose StatementBegin
ALTER TABLE consent_masks
    ADD COLUMN IF NOT EXISTS erase  Bool                                             COMMENT 'record',
    ADD COLUMN IF NOT EXISTS act    FixedString(16)                                  COMMENT 'record',
    ADD COLUMN IF NOT EXISTS rows   UInt64                                           COMMENT 'record',
    ADD COLUMN IF NOT EXISTS stored DateTime('UTC') DEFAULT toStartOfHour(now('UTC')) COMMENT 'record';
-- +goose StatementEnd

-- Without this, masks that were stored before would be of the hour in which they are read, and never old enough.
-- +goose StatementBegin
ALTER TABLE consent_masks MATERIALIZE COLUMN stored;
-- +goose StatementEnd

-- +goose Up

-- Acts are asked for by their id: for their receipts, and when an old one arrives that may be stored already.

-- +goose StatementBegin
ALTER TABLE consent_acts ADD INDEX IF NOT EXISTS act_id act_id TYPE bloom_filter(0.001) GRANULARITY 1;
-- +goose StatementEnd

-- +goose StatementBegin
ALTER TABLE consent_acts MATERIALIZE INDEX act_id;
-- +goose StatementEnd

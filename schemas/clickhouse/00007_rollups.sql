-- +goose Up

-- What is counted is counted by the site's day (ADR 9), so a day's sums can be kept (internal/rollup).

-- The marks of the rows of every quarter of an hour: how many there are, and a checksum over what a change of rows can
-- change. The engine keeps them with the rows themselves, through inserts, changes, deletions and expiry, so a build of a
-- day that has other marks than the rows is out of date, and one that has the same is not. A quarter of an hour divides
-- the days of every time zone.
-- +goose StatementBegin
ALTER TABLE events ADD PROJECTION IF NOT EXISTS marks
(
    SELECT site, toStartOfFifteenMinutes(time) AS quarter, count(), sum(cityHash64(event_id, purposes, visitor_id, account_id, device_key))
    GROUP BY site, quarter
);
-- +goose StatementEnd

-- +goose StatementBegin
ALTER TABLE events MATERIALIZE PROJECTION marks;
-- +goose StatementEnd

-- Which days a withdrawal reaches is asked with each answer.
-- +goose StatementBegin
ALTER TABLE events ADD INDEX IF NOT EXISTS identities [visitor_id, account_id, device_key] TYPE bloom_filter(0.001) GRANULARITY 1;
-- +goose StatementEnd

-- +goose StatementBegin
ALTER TABLE events MATERIALIZE INDEX identities;
-- +goose StatementEnd

-- One cell a row: what one kind of report needs of one day, for one purpose. Every column's comment is its data category.
-- lasting_set and passing_set hold numbers of rollup_subjects. Retention is not written here: see 00001_events.sql.
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS rollup_cells
(
    site             LowCardinality(String)     COMMENT 'record',
    policy           LowCardinality(String)     COMMENT 'record',
    bit              UInt8                      COMMENT 'record',
    kind             LowCardinality(String)     COMMENT 'record',
    day              Date                       COMMENT 'usage_time',
    build            UInt64                     COMMENT 'record',

    lasting_set      AggregateFunction(groupBitmap, UInt32) COMMENT 'pseudonym',
    passing_set      AggregateFunction(groupBitmap, UInt32) COMMENT 'pseudonym',
    lasting_count    UInt64                     COMMENT 'record',
    passing_count    UInt64                     COMMENT 'record',
    least            UInt64                     COMMENT 'pseudonym',
    greatest         UInt64                     COMMENT 'pseudonym',

    hour             DateTime('UTC')            COMMENT 'usage_time',
    left_out         LowCardinality(String)     COMMENT 'record',
    host             LowCardinality(String)     COMMENT 'page_view_history',
    path             String                     COMMENT 'page_view_history',
    channel          LowCardinality(String)     COMMENT 'usage_method',
    channel_source   LowCardinality(String)     COMMENT 'usage_method',
    referrer_host    LowCardinality(String)     COMMENT 'usage_method',
    utm_medium       LowCardinality(String)     COMMENT 'usage_method',
    utm_campaign     LowCardinality(String)     COMMENT 'usage_method',
    country          LowCardinality(String)     COMMENT 'usage_environment',
    region           LowCardinality(String)     COMMENT 'usage_environment',
    device           LowCardinality(String)     COMMENT 'usage_environment',
    browser          LowCardinality(String)     COMMENT 'usage_environment',
    os               LowCardinality(String)     COMMENT 'usage_environment',
    os_version       LowCardinality(String)     COMMENT 'usage_environment',
    browser_version  UInt16                     COMMENT 'usage_environment',
    language         LowCardinality(String)     COMMENT 'usage_environment',
    operation        LowCardinality(String)     COMMENT 'operation_log',
    operation_target LowCardinality(String)     COMMENT 'operation_log',
    search_query     String                     COMMENT 'search_keyword',
    ad_id            LowCardinality(String)     COMMENT 'ad_view_history',
    ad_slot          LowCardinality(String)     COMMENT 'ad_view_history',

    sessions         UInt64                     COMMENT 'record',
    views            UInt64                     COMMENT 'page_view_history',
    viewing_sessions UInt64                     COMMENT 'page_view_history',
    bounces          UInt64                     COMMENT 'page_view_history',
    entries          UInt64                     COMMENT 'page_view_history',
    exits            UInt64                     COMMENT 'page_view_history',
    visible_ms       UInt64                     COMMENT 'usage_time',
    depth            UInt64                     COMMENT 'usage_method',
    deep_views       UInt64                     COMMENT 'usage_method',
    rows             UInt64                     COMMENT 'record',
    without_result   UInt64                     COMMENT 'search_keyword',
    refined          UInt64                     COMMENT 'search_keyword',
    followed         UInt64                     COMMENT 'search_keyword',
    impressions      UInt64                     COMMENT 'ad_view_history',
    viewable         UInt64                     COMMENT 'ad_view_history',
    clicks           UInt64                     COMMENT 'ad_view_history',

    order_id         UInt64                     COMMENT 'purchased_item',
    order_event      UInt64                     COMMENT 'record',
    order_received   DateTime('UTC')            COMMENT 'record',
    person           UInt64                     COMMENT 'pseudonym',
    daily            Bool                       COMMENT 'record',
    currency         LowCardinality(String)     COMMENT 'purchased_item',
    amount           Decimal(18, 4)             COMMENT 'purchased_item',
    item_sku         Array(LowCardinality(String)) COMMENT 'purchased_item',
    item_name        Array(LowCardinality(String)) COMMENT 'purchased_item',
    item_quantity    Array(UInt32)              COMMENT 'purchased_item',
    item_price       Array(Decimal(18, 4))      COMMENT 'purchased_item'
)
PARTITION BY toYYYYMM(day)
ORDER BY (site, policy, bit, kind, day, build)
COMMENT 'Sums by day, kept for one purpose each. Only the cells of the builds that rollup_days names are in force.';
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS rollup_days
(
    site            LowCardinality(String)      COMMENT 'record',
    policy          LowCardinality(String)      COMMENT 'record',
    bit             UInt8                       COMMENT 'record',
    day             Date                        COMMENT 'record',
    build           UInt64                      COMMENT 'record',
    built_at        DateTime64(3, 'UTC')        COMMENT 'record',
    definition      UInt64                      COMMENT 'record',
    rows            UInt64                      COMMENT 'record',
    marks           UInt64                      COMMENT 'record',
    masks           UInt64                      COMMENT 'record',
    touching        UInt64                      COMMENT 'record',
    last_number     UInt32                      COMMENT 'record'
)
PARTITION BY toYYYYMM(day)
ORDER BY (site, policy, bit, day, build)
COMMENT 'The builds of a day. The latest one is in force; its cells were all stored before its row. rows, marks, masks and touching are what it was built from.';
-- +goose StatementEnd

-- seen is the day of a visitor without a cookie, who is another one on the next day; until, the last day on which the
-- subject can be seen.
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS rollup_subjects
(
    site            LowCardinality(String)      COMMENT 'record',
    seen            Date                        COMMENT 'record',
    subject         UInt64                      COMMENT 'pseudonym' CODEC(ZSTD(1)),
    number          UInt32                      COMMENT 'pseudonym' CODEC(Delta, ZSTD(1)),
    until           Date                        COMMENT 'record',
    turn            UInt64                      COMMENT 'record'
)
ORDER BY (site, seen, subject)
COMMENT 'Numbers by which the cells name subjects: bitmaps of numbers are exact, small and quickly joined. A number that no build in force names is deleted.';
-- +goose StatementEnd

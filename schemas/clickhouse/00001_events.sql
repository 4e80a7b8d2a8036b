-- +goose Up

-- Every column's comment is its data category (internal/core/category.go): the pipeline minimises by it, the planner
-- of the query service refuses by it, and a test fails on a column without one.
-- No ENGINE clause: default_table_engine decides (MergeTree on one machine, ReplicatedMergeTree in a cluster).
-- Retention is not written here: `sekisho migrate` sets it from the policy pack in force.

-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS events
(
    site                LowCardinality(String)                  COMMENT 'record',
    time                DateTime64(3, 'UTC') COMMENT 'usage_time' CODEC(Delta, ZSTD(1)),
    received_at         DateTime('UTC') COMMENT 'record'   CODEC(Delta, ZSTD(1)),
    event_id            UInt64 COMMENT 'record'                   CODEC(ZSTD(1)),
    shard               UInt16 COMMENT 'record'                   CODEC(ZSTD(1)),
    type                Enum8('page_view' = 1, 'engagement' = 2, 'operation' = 3, 'purchase' = 4, 'ad_view' = 5, 'search' = 6, 'environment' = 7, 'custom' = 8) COMMENT 'record',
    source              Enum8('unspecified' = 0, 'user_input' = 1, 'service_collected' = 2, 'direct_or_document' = 3, 'third_party' = 4) COMMENT 'record',
    provenance          LowCardinality(String)                  COMMENT 'record',
    policy              LowCardinality(String)                  COMMENT 'record',
    jurisdiction        LowCardinality(String)                  COMMENT 'record',
    purposes            UInt32 COMMENT 'record'                   CODEC(ZSTD(1)),
    reason              LowCardinality(String)                  COMMENT 'record',
    signals             UInt8 COMMENT 'record'                    CODEC(ZSTD(1)),
    linkage             Enum8('none' = 0, 'cookieless' = 1, 'visitor' = 2, 'account' = 3) COMMENT 'record',

    session_id          UInt64 COMMENT 'pseudonym'                   CODEC(ZSTD(1)),
    visitor_id          UInt64 COMMENT 'pseudonym'                   CODEC(ZSTD(1)),
    account_id          UInt64 COMMENT 'pseudonym'                   CODEC(ZSTD(1)),
    device_key          UInt64 COMMENT 'pseudonym'                   CODEC(ZSTD(1)),

    view_id             UInt64 COMMENT 'page_view_history'                   CODEC(ZSTD(1)),
    host                LowCardinality(String)                  COMMENT 'page_view_history',
    path                String COMMENT 'page_view_history'                   CODEC(ZSTD(1)),
    title               String COMMENT 'page_view_history'                   CODEC(ZSTD(1)),

    referrer_host       LowCardinality(String)                  COMMENT 'usage_method',
    channel             LowCardinality(String)                  COMMENT 'usage_method',
    channel_source      LowCardinality(String)                  COMMENT 'usage_method',
    utm_medium          LowCardinality(String)                  COMMENT 'usage_method',
    utm_campaign        LowCardinality(String)                  COMMENT 'usage_method',
    utm_term            LowCardinality(String)                  COMMENT 'usage_method',
    utm_content         LowCardinality(String)                  COMMENT 'usage_method',
    click_id_kind       LowCardinality(String)                  COMMENT 'usage_method',
    scroll_percent      UInt8 COMMENT 'usage_method'                    CODEC(ZSTD(1)),
    visible_ms          UInt32 COMMENT 'usage_time'                   CODEC(ZSTD(1)),

    country             LowCardinality(String)                  COMMENT 'usage_environment',
    region              LowCardinality(String)                  COMMENT 'usage_environment',
    device              LowCardinality(String)                  COMMENT 'usage_environment',
    browser             LowCardinality(String)                  COMMENT 'usage_environment',
    browser_version     UInt16 COMMENT 'usage_environment'                   CODEC(ZSTD(1)),
    os                  LowCardinality(String)                  COMMENT 'usage_environment',
    os_version          LowCardinality(String)                  COMMENT 'usage_environment',
    language            LowCardinality(String)                  COMMENT 'usage_environment',
    screen              LowCardinality(String)                  COMMENT 'usage_environment',
    viewport            LowCardinality(String)                  COMMENT 'usage_environment',
    connection          LowCardinality(String)                  COMMENT 'usage_environment',
    color_scheme        LowCardinality(String)                  COMMENT 'usage_environment',
    save_data           Bool COMMENT 'usage_environment'                     CODEC(ZSTD(1)),
    reduced_motion      Bool COMMENT 'usage_environment'                     CODEC(ZSTD(1)),
    time_zone           LowCardinality(String)                  COMMENT 'usage_environment',

    operation           LowCardinality(String)                  COMMENT 'operation_log',
    operation_target    LowCardinality(String)                  COMMENT 'operation_log',
    custom_name         LowCardinality(String)                  COMMENT 'operation_log',
    properties          Map(LowCardinality(String), String) COMMENT 'operation_log' CODEC(ZSTD(1)),

    search_query        String COMMENT 'search_keyword'                   CODEC(ZSTD(1)),
    search_results      Int64 COMMENT 'search_keyword'                    CODEC(ZSTD(1)),
    search_category     LowCardinality(String)                  COMMENT 'search_keyword',

    ad_id               LowCardinality(String)                  COMMENT 'ad_view_history',
    ad_slot             LowCardinality(String)                  COMMENT 'ad_view_history',
    ad_campaign         LowCardinality(String)                  COMMENT 'ad_view_history',
    ad_click            Bool COMMENT 'ad_view_history'                     CODEC(ZSTD(1)),
    ad_visible_ms       UInt32 COMMENT 'ad_view_history'                   CODEC(ZSTD(1)),

    order_key           UInt64 COMMENT 'purchased_item'                   CODEC(ZSTD(1)),
    currency            LowCardinality(String)                  COMMENT 'purchased_item',
    amount              Decimal(18, 4) COMMENT 'purchased_item'           CODEC(ZSTD(1)),
    item_sku            Array(LowCardinality(String))           COMMENT 'purchased_item',
    item_name           Array(LowCardinality(String))           COMMENT 'purchased_item',
    item_category       Array(LowCardinality(String))           COMMENT 'purchased_item',
    item_quantity       Array(UInt32)                           COMMENT 'purchased_item',
    item_price          Array(Decimal(18, 4))                   COMMENT 'purchased_item'
)
PARTITION BY toYYYYMM(time)
ORDER BY (site, toDate(time), session_id, time)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'One permitted event a row, bound to its purposes, its policy version and the reason it was let in.';
-- +goose StatementEnd

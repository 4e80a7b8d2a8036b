package pipeline

import (
	"time"

	"github.com/shopspring/decimal"

	"github.com/sekisho/sekisho/internal/core"
)

// Row is the last stage of an event: what ClickHouse stores. Only minimise makes one.
type Row struct {
	site         string
	time         time.Time
	receivedAt   time.Time
	eventID      uint64
	shard        uint16
	kind         core.EventType
	source       string
	provenance   string
	policy       string
	jurisdiction string
	purposes     core.PurposeSet
	reason       core.Reason
	signals      uint8
	linkage      string

	sessionID, visitorID, accountID, deviceKey uint64

	viewID            uint64
	host, path, title string

	channel       Channel
	scrollPercent uint8
	visibleMS     uint32

	place                                                     Place
	device                                                    Device
	language, screen, viewport, connection, scheme, localZone string
	saveData, reducedMotion                                   bool

	operation, operationTarget, customName string
	properties                             map[string]string

	searchQuery    string
	searchResults  int64
	searchCategory string

	adID, adSlot, adCampaign string
	adClick                  bool
	adVisibleMS              uint32

	orderKey  uint64
	currency  string
	amount    decimal.Decimal
	itemSKU   []string
	itemName  []string
	itemKind  []string
	itemCount []uint32
	itemPrice []decimal.Decimal
}

// Bits of the signals column.
const (
	signalGPC uint8 = 1 << iota
	signalDNT
	signalGPCConflict
)

// column is one column of the events table under construction.
type column interface {
	Name() string
	Category() core.Category
	add(r *Row, permitted bool)
	values() any
}

type typed[T any] struct {
	name     string
	category core.Category
	get      func(*Row) T
	vals     []T
}

func (c *typed[T]) Name() string            { return c.name }
func (c *typed[T]) Category() core.Category { return c.category }
func (c *typed[T]) values() any             { return c.vals }

// add appends the row's value, or the empty value when no permitted purpose may use the category.
func (c *typed[T]) add(r *Row, permitted bool) {
	var v T
	if permitted {
		v = c.get(r)
	}
	c.vals = append(c.vals, v)
}

func col[T any](name string, category core.Category, get func(*Row) T) column {
	return &typed[T]{name: name, category: category, get: get}
}

// eventColumns are the columns of the events table, each with the data category that its comment in
// schemas/clickhouse names; a test holds the two together.
func eventColumns() []column {
	return []column{
		col("site", core.Record, func(r *Row) string { return r.site }),
		col("time", core.UsageTime, func(r *Row) time.Time { return r.time }),
		col("received_at", core.Record, func(r *Row) time.Time { return r.receivedAt }),
		col("event_id", core.Record, func(r *Row) uint64 { return r.eventID }),
		col("shard", core.Record, func(r *Row) uint16 { return r.shard }),
		col("type", core.Record, func(r *Row) string { return r.kind.String() }),
		col("source", core.Record, func(r *Row) string { return r.source }),
		col("provenance", core.Record, func(r *Row) string { return r.provenance }),
		col("policy", core.Record, func(r *Row) string { return r.policy }),
		col("jurisdiction", core.Record, func(r *Row) string { return r.jurisdiction }),
		col("purposes", core.Record, func(r *Row) uint32 { return uint32(r.purposes) }),
		col("reason", core.Record, func(r *Row) string { return r.reason.String() }),
		col("signals", core.Record, func(r *Row) uint8 { return r.signals }),
		col("linkage", core.Record, func(r *Row) string { return r.linkage }),

		col("session_id", core.Pseudonym, func(r *Row) uint64 { return r.sessionID }),
		col("visitor_id", core.Pseudonym, func(r *Row) uint64 { return r.visitorID }),
		col("account_id", core.Pseudonym, func(r *Row) uint64 { return r.accountID }),
		col("device_key", core.Pseudonym, func(r *Row) uint64 { return r.deviceKey }),

		col("view_id", core.PageViewHistory, func(r *Row) uint64 { return r.viewID }),
		col("host", core.PageViewHistory, func(r *Row) string { return r.host }),
		col("path", core.PageViewHistory, func(r *Row) string { return r.path }),
		col("title", core.PageViewHistory, func(r *Row) string { return r.title }),

		col("referrer_host", core.UsageMethod, func(r *Row) string { return r.channel.ReferrerHost }),
		col("channel", core.UsageMethod, func(r *Row) string { return r.channel.Kind }),
		col("channel_source", core.UsageMethod, func(r *Row) string { return r.channel.Source }),
		col("utm_medium", core.UsageMethod, func(r *Row) string { return r.channel.Medium }),
		col("utm_campaign", core.UsageMethod, func(r *Row) string { return r.channel.Campaign }),
		col("utm_term", core.UsageMethod, func(r *Row) string { return r.channel.Term }),
		col("utm_content", core.UsageMethod, func(r *Row) string { return r.channel.Content }),
		col("click_id_kind", core.UsageMethod, func(r *Row) string { return r.channel.ClickIDKind }),
		col("scroll_percent", core.UsageMethod, func(r *Row) uint8 { return r.scrollPercent }),
		col("visible_ms", core.UsageTime, func(r *Row) uint32 { return r.visibleMS }),

		col("country", core.UsageEnvironment, func(r *Row) string { return r.place.Country }),
		col("region", core.UsageEnvironment, func(r *Row) string { return r.place.Region }),
		col("device", core.UsageEnvironment, func(r *Row) string { return r.device.Class }),
		col("browser", core.UsageEnvironment, func(r *Row) string { return r.device.Browser }),
		col("browser_version", core.UsageEnvironment, func(r *Row) uint16 { return r.device.BrowserVersion }),
		col("os", core.UsageEnvironment, func(r *Row) string { return r.device.OS }),
		col("os_version", core.UsageEnvironment, func(r *Row) string { return r.device.OSVersion }),
		col("language", core.UsageEnvironment, func(r *Row) string { return r.language }),
		col("screen", core.UsageEnvironment, func(r *Row) string { return r.screen }),
		col("viewport", core.UsageEnvironment, func(r *Row) string { return r.viewport }),
		col("connection", core.UsageEnvironment, func(r *Row) string { return r.connection }),
		col("color_scheme", core.UsageEnvironment, func(r *Row) string { return r.scheme }),
		col("save_data", core.UsageEnvironment, func(r *Row) bool { return r.saveData }),
		col("reduced_motion", core.UsageEnvironment, func(r *Row) bool { return r.reducedMotion }),
		col("time_zone", core.UsageEnvironment, func(r *Row) string { return r.localZone }),

		col("operation", core.OperationLog, func(r *Row) string { return r.operation }),
		col("operation_target", core.OperationLog, func(r *Row) string { return r.operationTarget }),
		col("custom_name", core.OperationLog, func(r *Row) string { return r.customName }),
		col("properties", core.OperationLog, func(r *Row) map[string]string { return r.properties }),

		col("search_query", core.SearchKeyword, func(r *Row) string { return r.searchQuery }),
		col("search_results", core.SearchKeyword, func(r *Row) int64 { return r.searchResults }),
		col("search_category", core.SearchKeyword, func(r *Row) string { return r.searchCategory }),

		col("ad_id", core.AdViewHistory, func(r *Row) string { return r.adID }),
		col("ad_slot", core.AdViewHistory, func(r *Row) string { return r.adSlot }),
		col("ad_campaign", core.AdViewHistory, func(r *Row) string { return r.adCampaign }),
		col("ad_click", core.AdViewHistory, func(r *Row) bool { return r.adClick }),
		col("ad_visible_ms", core.AdViewHistory, func(r *Row) uint32 { return r.adVisibleMS }),

		col("order_key", core.PurchasedItem, func(r *Row) uint64 { return r.orderKey }),
		col("currency", core.PurchasedItem, func(r *Row) string { return r.currency }),
		col("amount", core.PurchasedItem, func(r *Row) decimal.Decimal { return r.amount }),
		col("item_sku", core.PurchasedItem, func(r *Row) []string { return r.itemSKU }),
		col("item_name", core.PurchasedItem, func(r *Row) []string { return r.itemName }),
		col("item_category", core.PurchasedItem, func(r *Row) []string { return r.itemKind }),
		col("item_quantity", core.PurchasedItem, func(r *Row) []uint32 { return r.itemCount }),
		col("item_price", core.PurchasedItem, func(r *Row) []decimal.Decimal { return r.itemPrice }),
	}
}

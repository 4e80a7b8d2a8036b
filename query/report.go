package query

import (
	"embed"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/schemas"
)

//go:embed sql/*.sql
var statements embed.FS

// kind is how a column travels from ClickHouse to JSON.
type kind uint8

const (
	text    kind = iota // string
	count               // integer
	ratio               // number
	money               // decimal string: no float ever holds an amount
	clock               // RFC 3339 in the site's time zone
	ordinal             // integer that names the row's group: nothing is counted in it
)

var kindNames = map[kind]string{text: "text", count: "count", ratio: "ratio", money: "money", clock: "clock", ordinal: "ordinal"}

// label is a text in the languages of the dashboard.
type label struct {
	JA string `json:"ja"`
	EN string `json:"en"`
}

// column is one column of an answer.
type column struct {
	name  string
	from  string // alias in the SQL when it is not the name
	kind  kind
	label label
	// derived: not the statement gives it, but the part's derive.
	derived bool
	// quotient names the two counts that a ratio is of. With noise it is told of them as they are told, so that it agrees
	// with them and tells no more.
	quotient [2]string
	// within is the count that this one is part of, and most what a ratio cannot be above. With noise neither is told
	// otherwise.
	within string
	most   float64
}

// isKey reports whether the column names the row's group.
func (c column) isKey() bool { return c.kind == text || c.kind == clock || c.kind == ordinal }

func (c column) alias() string {
	if c.from != "" {
		return c.from
	}
	return c.name
}

// part is one statement of a report, over the rows that the gate let pass.
type part struct {
	file    string   // sql/<file>.sql
	reads   []string // columns of the events table; the statement sees no other
	columns []column
	order   string // of the rows; MUST be total
	// optional parts are left out, not refused, when the purpose may not use what they read.
	optional bool
	into     string // nested below this key; empty: the answer's own rows
	label    label  // of into
	// derive fills the columns that are derived, from the rows as they are told and from nothing else: so they agree with
	// what stands beside them, and tell no more. May be nil.
	derive func(rows []Row)
}

// stated are the columns that the statement gives.
func (p *part) stated() []column {
	return slices.DeleteFunc(slices.Clone(p.columns), func(c column) bool { return c.derived })
}

// report is an entry of the closed catalogue. Its first part makes the rows; the others add to its only row.
type report struct {
	name  string
	label label
	parts []part
	takes []parameter // besides the common ones
	fine  bool        // it tells more of where somebody is than the country
	whole bool        // it is asked for whole: a series, not a ranking
	// records are reports of what is kept beside the events, or of all events, also those that the purpose may not see.
	// Behind them are no rows that a filter or a sample could pick from.
	records bool
	// recent is the length of the period that the report is of, which ends now. 0: the caller names the period.
	recent  time.Duration
	remarks []string // what has to be known to read the figures right: keys of remarkTexts
}

// dimension is what a request may filter by.
type dimension struct {
	column string
	label  label
	fine   bool // it tells more of where somebody is than the country
}

var dimensions = map[string]dimension{
	"host":         {column: "host", label: label{"ホスト", "Host"}},
	"path":         {column: "path", label: label{"ページ", "Page"}},
	"title":        {column: "title", label: label{"ページの題名", "Page title"}},
	"channel":      {column: "channel", label: label{"流入経路", "Channel"}},
	"source":       {column: "channel_source", label: label{"流入元", "Source"}},
	"referrer":     {column: "referrer_host", label: label{"参照元", "Referrer"}},
	"medium":       {column: "utm_medium", label: label{"メディア", "Medium"}},
	"campaign":     {column: "utm_campaign", label: label{"キャンペーン", "Campaign"}},
	"term":         {column: "utm_term", label: label{"キャンペーンの語", "Campaign term"}},
	"content":      {column: "utm_content", label: label{"キャンペーンの内容", "Campaign content"}},
	"country":      {column: "country", label: label{"国", "Country"}},
	"region":       {column: "region", label: label{"地域", "Region"}, fine: true},
	"time_zone":    {column: "time_zone", label: label{"タイムゾーン", "Time zone"}, fine: true},
	"device":       {column: "device", label: label{"端末", "Device"}},
	"browser":      {column: "browser", label: label{"ブラウザ", "Browser"}},
	"os":           {column: "os", label: label{"OS", "Operating system"}},
	"os_version":   {column: "os_version", label: label{"OSのバージョン", "Version of the operating system"}},
	"language":     {column: "language", label: label{"言語", "Language"}},
	"screen":       {column: "screen", label: label{"画面の大きさ", "Screen size"}},
	"connection":   {column: "connection", label: label{"通信の状態", "Connection"}},
	"color_scheme": {column: "color_scheme", label: label{"配色", "Colour scheme"}},
	"operation":    {column: "operation", label: label{"操作", "Operation"}},
	"target":       {column: "operation_target", label: label{"対象", "Target"}},
	"event":        {column: "custom_name", label: label{"独自のイベント", "Custom event"}},
	"query":        {column: "search_query", label: label{"検索した語", "Query"}},
	"category":     {column: "search_category", label: label{"検索の分類", "Search category"}},
	"ad":           {column: "ad_id", label: label{"広告", "Advertisement"}},
	"slot":         {column: "ad_slot", label: label{"枠", "Slot"}},
	"ad_campaign":  {column: "ad_campaign", label: label{"広告キャンペーン", "Ad campaign"}},
	"currency":     {column: "currency", label: label{"通貨", "Currency"}},
}

// interval is the parameter of series: hour, day, week or month.
var interval = parameter{name: "interval", bind: func(values []string, bound map[string]string) *core.Error {
	bound["interval"] = "day"
	if len(values) > 0 {
		bound["interval"] = values[0]
	}
	if !slices.Contains(intervals, bound["interval"]) {
		return invalid("interval", "neither hour, day, week nor month")
	}
	return nil
}}

var (
	visitors = column{name: "visitors", from: "people", kind: count, label: label{"訪問者", "Visitors"}}
	sessions = column{name: "sessions", kind: count, label: label{"セッション", "Sessions"}}
	views    = column{name: "page_views", kind: count, label: label{"ページビュー", "Page views"}}
	revenue  = column{name: "revenue", kind: money, label: label{"売上", "Revenue"}}
	currency = column{name: "currency", kind: text, label: label{"通貨", "Currency"}}
	orders   = column{name: "orders", kind: count, label: label{"注文", "Orders"}}
	users    = column{name: "users", from: "people", kind: count, label: label{"利用者", "Users"}}
	visible  = column{name: "visible_seconds", kind: ratio, label: label{"平均表示時間（秒）", "Average visible time (seconds)"}}
)

// catalogue is every report there is.
var catalogue = slices.Concat(basics, visits, behaviour)

// basics are the reports that every such tool gives.
var basics = []report{
	{name: "overview", label: label{"概要", "Overview"}, parts: []part{
		{file: "totals", columns: []column{
			visitors, sessions, views,
			bounces,
		}, order: "people"},
		{file: "engagement", reads: []string{"visible_ms"}, columns: []column{visible}, order: "visible_seconds", optional: true},
		{
			file: "acts", columns: []column{{name: "operations", kind: count, label: label{"操作", "Operations"}}},
			order: "operations", optional: true,
		},
		{
			file: "revenue", reads: []string{"order_key", "currency", "amount"}, columns: []column{currency, orders, revenue},
			order: "currency", optional: true, into: "revenue", label: label{"通貨ごとの売上", "Revenue by currency"},
		},
	}},
	{name: "timeseries", label: label{"推移", "Time series"}, parts: []part{{file: "timeseries", reads: []string{"time"}, columns: []column{
		{name: "time", from: "start", kind: clock, label: label{"期間の始まり", "Start"}}, visitors, sessions, views,
	}, order: "start"}}, takes: []parameter{interval}, whole: true},
	{name: "pages", label: label{"ページ", "Pages"}, parts: []part{{file: "pages", reads: []string{"time", "host", "path", "view_id", "visible_ms", "scroll_percent"}, columns: []column{
		host, page, viewed,
		visitors,
		{name: "entries", kind: count, label: label{"閲覧開始", "Entries"}},
		{name: "exits", kind: count, label: label{"離脱", "Exits"}},
		visible,
		{name: "scroll_depth", kind: ratio, most: 100, label: label{"平均スクロール到達率（%）", "Average scroll depth (%)"}},
	}, order: "views DESC, host, path"}}},
	{name: "sources", label: label{"流入元", "Sources"}, parts: []part{{file: "sources", reads: []string{"time", "channel", "channel_source", "referrer_host"}, columns: []column{
		{name: "channel", label: label{"流入経路", "Channel"}},
		source,
		{name: "referrer", label: label{"参照元", "Referrer"}},
		visitors, sessions, views,
	}, order: "sessions DESC, channel, source_name, referrer"}}},
	{name: "locations", label: label{"地域", "Locations"}, parts: []part{{file: "locations", reads: []string{"country", "region"}, columns: []column{
		country,
		{name: "region", label: label{"地域", "Region"}},
		visitors, sessions, views,
	}, order: "people DESC, country, region"}}, fine: true},
	{name: "devices", label: label{"端末", "Devices"}, parts: []part{{file: "devices", reads: []string{"device", "browser", "os"}, columns: []column{
		{name: "device", label: label{"端末", "Device"}},
		{name: "browser", label: label{"ブラウザ", "Browser"}},
		{name: "os", label: label{"OS", "Operating system"}},
		visitors, sessions, views,
	}, order: "people DESC, device, browser, os"}}},
	{name: "operations", label: label{"操作", "Operations"}, parts: []part{{file: "operations", reads: []string{"operation", "operation_target", "custom_name"}, columns: []column{
		{name: "name", label: label{"操作", "Operation"}},
		{name: "target", label: label{"対象", "Target"}},
		{name: "count", kind: count, label: label{"回数", "Count"}},
		users,
	}, order: "count DESC, name, target"}}},
	{name: "searches", label: label{"サイト内検索", "Searches"}, parts: []part{{file: "searches", reads: []string{"search_query", "search_results", "time", "host", "path"}, columns: []column{
		searched,
		{name: "count", kind: count, label: label{"回数", "Count"}},
		users,
		fruitless,
		{name: "refined", within: "count", kind: count, label: label{"検索し直し", "Refined"}},
		{name: "followed", within: "count", kind: count, label: label{"その後にページを表示", "Followed by a page view"}},
	}, order: "count DESC, query"}}},
	{name: "purchases", label: label{"購入", "Purchases"}, parts: []part{{
		file: "purchases", reads: []string{"order_key", "currency", "item_sku", "item_name", "item_quantity", "item_price"},
		columns: []column{
			{name: "sku", label: label{"商品コード", "SKU"}},
			{name: "name", label: label{"商品", "Item"}},
			currency,
			{name: "quantity", from: "sold", kind: count, label: label{"数量", "Quantity"}},
			orders, revenue,
		}, order: "currency, revenue DESC, sku, name",
	}}},
	{name: "ads", label: label{"広告", "Advertisements"}, parts: []part{{file: "ads", reads: []string{"ad_id", "ad_slot", "ad_click", "ad_visible_ms"}, columns: []column{
		{name: "ad", label: label{"広告", "Advertisement"}},
		{name: "slot", label: label{"枠", "Slot"}},
		impressions, viewable, viewability, clicks, clickRate, reach,
	}, order: "impressions DESC, ad, slot"}}},
}

// describe tells what a part adds to the rows.
func (p *part) describe() []Column {
	described := make([]Column, len(p.columns))
	for i, c := range p.columns {
		described[i] = Column{Name: c.name, Kind: kindNames[c.kind], Label: c.label, kind: c.kind}
	}
	if p.into != "" {
		return []Column{{Name: p.into, Kind: "rows", Label: p.label, nested: described}}
	}
	return described
}

// columns are all that a row may have.
func (r *report) columns() []Column {
	var all []Column
	for i := range r.parts {
		all = append(all, r.parts[i].describe()...)
	}
	return all
}

// Reports names the reports of the catalogue.
func Reports() []string {
	names := make([]string, len(catalogue))
	for i, r := range catalogue {
		names[i] = r.name
	}
	return names
}

func reportNamed(name string) (*report, bool) {
	i := slices.IndexFunc(catalogue, func(r report) bool { return r.name == name })
	if i < 0 {
		return nil, false
	}
	return &catalogue[i], true
}

var commented = regexp.MustCompile(`(?m)^ {4}(\w+) .*COMMENT '(\w+)'`)

// categories reads the data category of every stored event column where the pipeline has it from: the schema.
func categories() (map[string]core.Category, error) {
	schema, err := schemas.ClickHouse.ReadFile("clickhouse/00001_events.sql")
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	byColumn := map[string]core.Category{}
	for _, m := range commented.FindAllSubmatch(schema, -1) {
		category, ok := core.ParseCategory(string(m[2]))
		if !ok {
			return nil, fmt.Errorf("read schema: column %s has no category", m[1])
		}
		byColumn[string(m[1])] = category
	}
	return byColumn, nil
}

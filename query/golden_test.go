package query_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sekisho/sekisho/internal/clickhouse"
)

// The golden answers: a fixed data set goes into ClickHouse, and every report is computed a second time here, from the
// same facts and in another language than SQL.

// item is one line of an order.
type item struct {
	sku, name string
	quantity  uint32
	price     decimal.Decimal
}

// event is a row of the events table, as far as reports read it.
type event struct {
	id                                uint64
	at, received                      time.Time
	kind                              string
	purposes                          uint32
	policy                            string // default/2022-09-15 when empty
	linkage                           string
	session, visitor, account, device uint64
	signedIn                          uint64 // follows from the other events of the visitor
	view                              uint64
	host, path, title                 string
	channel, source, referrer         string
	medium, campaign, term, content   string
	visibleMS                         uint32
	scroll                            uint8
	country, region, language         string
	class, browser, os                string
	version                           uint16
	osVersion                         string
	screen, viewport                  string
	connection, scheme                string
	saveData, reducedMotion           bool
	operation, target, custom         string
	query                             string
	results                           int64
	ad, slot, adCampaign              string
	click                             bool
	adVisibleMS                       uint32
	order                             uint64
	currency                          string
	amount                            decimal.Decimal
	items                             []item
}

// mask is a withdrawal of a purpose.
type mask struct {
	subject uint64
	bit     uint8
	at      time.Time
}

// facts are what the house knows.
type facts struct {
	events []event
	masks  []mask
}

// The bits of the seed policy (schemas/policy).
const (
	bitSupport     = 1
	bitDevelopment = 10 // usage_based_development
)

const (
	zone      = "America/New_York" // the period runs over the end of daylight saving, 2026-11-01
	threshold = 5
)

var location = func() *time.Location {
	l, err := time.LoadLocation(zone)
	if err != nil {
		panic(err)
	}
	return l
}()

func pick[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// makeFacts plays 90 visitors over eight days: with and without consent, accounts on two devices, withdrawals, expired
// pseudonyms, orders sent twice, groups above and below the threshold.
func makeFacts() *facts {
	r, more := rand.New(rand.NewPCG(7, 2026)), rand.New(rand.NewPCG(8, 2026))
	f := &facts{}
	start := time.Date(2026, 10, 29, 0, 0, 0, 0, location)
	var id uint64
	paths := []string{"/", "/", "/", "/list", "/list", "/item/1", "/item/2", "/rare"}
	for v := uint64(1); v <= 90; v++ {
		place := pick(r, [2]string{"JP", "Tokyo"}, [2]string{"JP", "Tokyo"}, [2]string{"JP", "Osaka"}, [2]string{"US", "New York"}, [2]string{"FR", ""})
		class := pick(r, [3]string{"mobile", "Safari", "iOS"}, [3]string{"desktop", "Chrome", "Windows"}, [3]string{"desktop", "Firefox", "Linux"})
		surroundings := event{
			language: pick(more, "ja", "ja", "ja-JP", "en-US", ""), version: pick(more, uint16(130), 130, 131, 0), osVersion: pick(more, "17", "18", "18", ""),
			screen: pick(more, "1920x1080", "390x844"), viewport: pick(more, "599x700", "600x700", "899x800", "1535x900", "1536x900", "1200x10", ""),
			connection: pick(more, "4g", "wifi", ""), scheme: pick(more, "light", "dark"), saveData: more.IntN(4) == 0, reducedMotion: more.IntN(3) == 0,
		}
		for range 1 + r.IntN(4) {
			base := event{
				language: surroundings.language, version: surroundings.version, osVersion: surroundings.osVersion,
				screen: surroundings.screen, viewport: surroundings.viewport, connection: surroundings.connection, scheme: surroundings.scheme,
				saveData: surroundings.saveData, reducedMotion: surroundings.reducedMotion,
				linkage: "visitor", visitor: 1000 + v, session: r.Uint64() | 1, host: "shop.example",
				country: place[0], region: place[1], class: class[0], browser: class[1], os: class[2], results: -1,
				purposes: 1<<bitSupport | 1<<bitDevelopment,
			}
			switch {
			case v%9 == 0: // no consent: recognised within the day only, and only for what needs none
				base.linkage, base.visitor, base.purposes = "cookieless", r.Uint64()|1, 1<<bitSupport
			case v%10 == 1: // signed in
				base.linkage, base.account, base.device = "account", 5000+v/20, 7000+v
			case v == 44: // the pseudonym has expired
				base.visitor = 0
			case v == 46: // from a time when the site was under another policy
				base.policy = "foreign/2020-01-01"
			case v == 45: // no key of the day was left
				base.linkage, base.visitor, base.session, base.purposes = "none", 0, 0, 1<<bitSupport|1<<bitDevelopment
			}
			at := start.Add(time.Duration(r.Int64N(int64(8 * 24 * time.Hour)))).Truncate(time.Millisecond)
			origin := pick(r, [3]string{"search", "Google", "www.google.com"}, [3]string{"search", "Google", "www.google.com"}, [3]string{"direct", "", ""}, [3]string{"social", "X", "t.co"}, [3]string{"referral", "blog.example", "blog.example"})
			var tags [4]string
			if origin[0] == "social" || more.IntN(5) == 0 {
				tags = pick(more, [4]string{"cpc", "spring", "", ""}, [4]string{"", "spring", "tea", "blue"}, [4]string{"cpc", "spring", "tea", "red"}, [4]string{"email", "", "", ""})
			}
			add := func(kind string, change func(*event)) {
				id++
				e := base
				e.id, e.kind, e.at = id, kind, at
				e.received = at.Add(time.Second).Truncate(time.Second)
				change(&e)
				f.events = append(f.events, e)
				at = at.Add(time.Duration(1+r.IntN(90_000)) * time.Millisecond)
			}
			for n := range 1 + r.IntN(5) {
				path, view := pick(r, paths...), more.Uint64()|1
				add("page_view", func(e *event) {
					e.path, e.view, e.title = path, view, pick(more, "Shop", "Shop", path)
					if n == 0 && v%20 == 1 { // not signed in yet
						e.linkage, e.account, e.device = "visitor", 0, 0
					}
					if n == 0 {
						e.channel, e.source, e.referrer = origin[0], origin[1], origin[2]
						e.medium, e.campaign, e.term, e.content = tags[0], tags[1], tags[2], tags[3]
					} else {
						e.channel = "internal"
					}
				})
				if r.IntN(3) > 0 {
					seen := pick(r, path, path, "/item/2")
					for range 1 + more.IntN(2) { // the visitor comes back to the tab, perhaps higher up
						add("engagement", func(e *event) {
							e.path, e.visibleMS, e.view, e.scroll = seen, uint32(r.IntN(60_000)), pick(more, view, view, view, 0), uint8(more.IntN(101))
						})
					}
				}
				if r.IntN(3) == 0 {
					add("operation", func(e *event) {
						e.path, e.operation, e.target = path, pick(r, "export", "export", "share"), pick(r, "csv", "pdf")
					})
				}
				if r.IntN(8) == 0 {
					add("custom", func(e *event) { e.custom = "newsletter_signup" })
				}
				if r.IntN(3) == 0 {
					for range 1 + more.IntN(2) {
						add("search", func(e *event) {
							e.path, e.query, e.results = path, pick(r, "tea", "tea", "Tea", "ink", "rare words"), int64(r.IntN(4)-1)
						})
					}
				}
				if r.IntN(2) == 0 {
					add("ad_view", func(e *event) {
						e.ad, e.slot, e.click = pick(r, "spring", "spring", "autumn"), "top", r.IntN(5) == 0
						e.adCampaign, e.adVisibleMS = pick(more, "winter", "summer"), pick(more, uint32(0), 999, 1000, 4200)
					})
				}
				if r.IntN(4) == 0 {
					var order event
					add("purchase", func(e *event) {
						e.order, e.currency = pick(r, 0, r.Uint64()|1), pick(r, "JPY", "JPY", "USD")
						for range 1 + r.IntN(3) {
							sku := r.IntN(3)
							e.items = append(e.items, item{
								fmt.Sprint("T", sku), fmt.Sprint("Tea ", sku), uint32(1 + r.IntN(3)),
								decimal.New(int64(101+sku*55), -1),
							})
						}
						e.amount = total(e.items)
						order = *e
					})
					if r.IntN(3) == 0 { // the order is corrected: sent again with another quantity
						add("purchase", func(e *event) {
							e.order, e.currency, e.items = order.order, order.currency, slices.Clone(order.items)
							e.items[0].quantity += 2
							e.amount = total(e.items)
							e.received = order.received.Add(time.Hour)
						})
					}
				}
			}
		}
	}
	day := func(n int) time.Time { return start.AddDate(0, 0, n) }
	f.masks = []mask{
		{1002, bitDevelopment, day(9)}, {1003, bitDevelopment, day(3)}, {1003, bitDevelopment, day(2)}, // withdrawn: all, and up to a time
		{1004, bitSupport, day(9)},     // another purpose
		{5000, bitDevelopment, day(4)}, // an account, whose rows carry several visitors
		{7041, bitDevelopment, day(9)}, // a device
	}
	return f
}

func total(items []item) (sum decimal.Decimal) {
	for _, i := range items {
		sum = sum.Add(i.price.Mul(decimal.NewFromUint64(uint64(i.quantity))))
	}
	return sum
}

// store puts the facts into ClickHouse.
func (f *facts) store(t *testing.T, db *clickhouse.DB, site string) {
	t.Helper()
	e := f.events
	err := db.Insert(t.Context(), "events", "facts/"+site, []clickhouse.Column{
		clickhouse.Gather("site", e, func(event) string { return site }),
		clickhouse.Gather("time", e, func(e event) time.Time { return e.at.UTC() }),
		clickhouse.Gather("received_at", e, func(e event) time.Time { return e.received.UTC() }),
		clickhouse.Gather("event_id", e, func(e event) uint64 { return e.id }),
		clickhouse.Gather("type", e, func(e event) string { return e.kind }),
		clickhouse.Gather("purposes", e, func(e event) uint32 { return e.purposes }),
		clickhouse.Gather("policy", e, func(e event) string { return cmp.Or(e.policy, "default/2022-09-15") }),
		clickhouse.Gather("linkage", e, func(e event) string { return e.linkage }),
		clickhouse.Gather("session_id", e, func(e event) uint64 { return e.session }),
		clickhouse.Gather("visitor_id", e, func(e event) uint64 { return e.visitor }),
		clickhouse.Gather("account_id", e, func(e event) uint64 { return e.account }),
		clickhouse.Gather("device_key", e, func(e event) uint64 { return e.device }),
		clickhouse.Gather("host", e, func(e event) string { return e.host }),
		clickhouse.Gather("path", e, func(e event) string { return e.path }),
		clickhouse.Gather("view_id", e, func(e event) uint64 { return e.view }),
		clickhouse.Gather("title", e, func(e event) string { return e.title }),
		clickhouse.Gather("utm_medium", e, func(e event) string { return e.medium }),
		clickhouse.Gather("utm_campaign", e, func(e event) string { return e.campaign }),
		clickhouse.Gather("utm_term", e, func(e event) string { return e.term }),
		clickhouse.Gather("utm_content", e, func(e event) string { return e.content }),
		clickhouse.Gather("scroll_percent", e, func(e event) uint8 { return e.scroll }),
		clickhouse.Gather("language", e, func(e event) string { return e.language }),
		clickhouse.Gather("browser_version", e, func(e event) uint16 { return e.version }),
		clickhouse.Gather("os_version", e, func(e event) string { return e.osVersion }),
		clickhouse.Gather("screen", e, func(e event) string { return e.screen }),
		clickhouse.Gather("viewport", e, func(e event) string { return e.viewport }),
		clickhouse.Gather("connection", e, func(e event) string { return e.connection }),
		clickhouse.Gather("color_scheme", e, func(e event) string { return e.scheme }),
		clickhouse.Gather("save_data", e, func(e event) bool { return e.saveData }),
		clickhouse.Gather("reduced_motion", e, func(e event) bool { return e.reducedMotion }),
		clickhouse.Gather("channel", e, func(e event) string { return e.channel }),
		clickhouse.Gather("channel_source", e, func(e event) string { return e.source }),
		clickhouse.Gather("referrer_host", e, func(e event) string { return e.referrer }),
		clickhouse.Gather("visible_ms", e, func(e event) uint32 { return e.visibleMS }),
		clickhouse.Gather("country", e, func(e event) string { return e.country }),
		clickhouse.Gather("region", e, func(e event) string { return e.region }),
		clickhouse.Gather("device", e, func(e event) string { return e.class }),
		clickhouse.Gather("browser", e, func(e event) string { return e.browser }),
		clickhouse.Gather("os", e, func(e event) string { return e.os }),
		clickhouse.Gather("operation", e, func(e event) string { return e.operation }),
		clickhouse.Gather("operation_target", e, func(e event) string { return e.target }),
		clickhouse.Gather("custom_name", e, func(e event) string { return e.custom }),
		clickhouse.Gather("search_query", e, func(e event) string { return e.query }),
		clickhouse.Gather("search_results", e, func(e event) int64 { return e.results }),
		clickhouse.Gather("ad_id", e, func(e event) string { return e.ad }),
		clickhouse.Gather("ad_slot", e, func(e event) string { return e.slot }),
		clickhouse.Gather("ad_campaign", e, func(e event) string { return e.adCampaign }),
		clickhouse.Gather("ad_click", e, func(e event) bool { return e.click }),
		clickhouse.Gather("ad_visible_ms", e, func(e event) uint32 { return e.adVisibleMS }),
		clickhouse.Gather("order_key", e, func(e event) uint64 { return e.order }),
		clickhouse.Gather("currency", e, func(e event) string { return e.currency }),
		clickhouse.Gather("amount", e, func(e event) decimal.Decimal { return e.amount }),
		clickhouse.Gather("item_sku", e, func(e event) []string { return each(e.items, func(i item) string { return i.sku }) }),
		clickhouse.Gather("item_name", e, func(e event) []string { return each(e.items, func(i item) string { return i.name }) }),
		clickhouse.Gather("item_quantity", e, func(e event) []uint32 { return each(e.items, func(i item) uint32 { return i.quantity }) }),
		clickhouse.Gather("item_price", e, func(e event) []decimal.Decimal { return each(e.items, func(i item) decimal.Decimal { return i.price }) }),
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Insert(t.Context(), "consent_masks", "facts/"+site, []clickhouse.Column{
		clickhouse.Gather("site", f.masks, func(mask) string { return site }),
		clickhouse.Gather("purpose", f.masks, func(m mask) uint8 { return m.bit }),
		clickhouse.Gather("subject", f.masks, func(m mask) uint64 { return m.subject }),
		clickhouse.Gather("denied_at", f.masks, func(m mask) time.Time { return m.at.UTC() }),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func each[R, T any](rows []R, get func(R) T) []T {
	values := make([]T, 0, len(rows))
	for _, r := range rows {
		values = append(values, get(r))
	}
	return values
}

// day is the site's day of an event.
func (e *event) day() time.Time { return startOfDay(e.at.In(location)) }

// daily reports whether the subject is another one on every day.
func (e *event) daily() bool { return e.linkage == "cookieless" && e.signedIn == 0 && e.account == 0 }

// subject is whom an event counts for, the account that its visitor is signed in to at some time of the day; 0 is nobody.
func (e *event) subject() uint64 { return cmp.Or(e.signedIn, e.account, e.visitor) }

// judged are the events of a period by why a purpose may not see them, "" where it may.
func (f *facts) judged(bit uint8, from, to time.Time) map[string][]event {
	events := map[string][]event{}
	for _, e := range f.events {
		if e.at.Before(from) || !e.at.Before(to) || e.policy != "" {
			continue
		}
		withdrawn := slices.ContainsFunc(f.masks, func(m mask) bool {
			return m.bit == bit && slices.Contains([]uint64{e.visitor, e.account, e.device}, m.subject) && !e.at.After(m.at)
		})
		reason := ""
		switch {
		case e.purposes&(1<<bit) == 0:
			reason = "not_permitted"
		case e.visitor == 0 && e.linkage != "none":
			reason = "pseudonym_expired"
		case withdrawn:
			reason = "withdrawn"
		}
		events[reason] = append(events[reason], e)
	}
	type visitorDay struct {
		visitor uint64
		day     time.Time
	}
	accounts := map[visitorDay]uint64{}
	for _, e := range events[""] {
		if at := (visitorDay{e.visitor, e.day()}); e.account != 0 && e.visitor != 0 {
			accounts[at] = max(accounts[at], e.account)
		}
	}
	for _, all := range events {
		for i, e := range all {
			all[i].signedIn = accounts[visitorDay{e.visitor, e.day()}]
		}
		slices.SortFunc(all, func(a, b event) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.id, b.id)) })
	}
	return events
}

// visible are the events that a purpose may see in a period, and how many others there are by reason.
func (f *facts) visible(bit uint8, from, to time.Time) (seen []event, leftOut map[string]int) {
	leftOut = map[string]int{}
	judged := f.judged(bit, from, to)
	for reason, all := range judged {
		if reason != "" {
			leftOut[reason] = len(all)
		}
	}
	return judged[""], leftOut
}

// row is a row of an answer under the names the API gives.
type row = map[string]any

// group gathers events by a key, in which a row is computed.
func group[K comparable](events []event, key func(event) (K, bool)) map[K][]event {
	groups := map[K][]event{}
	for _, e := range events {
		if k, ok := key(e); ok {
			groups[k] = append(groups[k], e)
		}
	}
	return groups
}

// people are the distinct subjects of events.
func people(events []event) int {
	seen := map[uint64]bool{}
	for _, e := range events {
		if s := e.subject(); s != 0 {
			seen[s] = true
		}
	}
	return len(seen)
}

// subjects are as many people as are surely behind events, which lie in one epoch of keys: a visitor without a cookie
// may be the same on every day.
func subjects(events []event) int {
	daily := slices.DeleteFunc(slices.Clone(events), func(e event) bool { return !e.daily() || e.subject() == 0 })
	lasting := slices.DeleteFunc(slices.Clone(events), func(e event) bool { return e.daily() })
	days := map[time.Time]bool{}
	for _, e := range daily {
		days[e.day()] = true
	}
	return max(people(lasting), (people(daily)+max(len(days), 1)-1)/max(len(days), 1))
}

type sessionDay struct {
	session uint64
	day     time.Time
}

// sessionsOf are the sessions of events. A session ends with the site's day.
func sessionsOf(events []event) map[sessionDay][]event {
	return group(events, func(e event) (sessionDay, bool) { return sessionDay{e.session, e.day()}, e.session != 0 })
}

func countIf(events []event, match func(event) bool) (n int) {
	for _, e := range events {
		if match(e) {
			n++
		}
	}
	return n
}

func is(kinds ...string) func(event) bool {
	return func(e event) bool { return slices.Contains(kinds, e.kind) }
}

func only(events []event, kinds ...string) []event {
	return slices.DeleteFunc(slices.Clone(events), func(e event) bool { return !slices.Contains(kinds, e.kind) })
}

// lastSent are the purchases, each order as it was received last.
func lastSent(events []event) []event {
	var kept []event
	for _, e := range only(events, "purchase") {
		i := slices.IndexFunc(kept, func(k event) bool { return e.order != 0 && k.order == e.order })
		switch {
		case i < 0:
			kept = append(kept, e)
		case e.received.After(kept[i].received):
			kept[i] = e
		}
	}
	return kept
}

// expected computes a report over visible events: all groups, each with its number of subjects.
var expected = map[string]func([]event) (rows []row, counts []int){
	"overview": func(events []event) ([]row, []int) {
		sessions := sessionsOf(events)
		viewed, bounced := 0, 0
		for _, s := range sessions {
			if n := countIf(s, is("page_view")); n > 0 {
				viewed++
				if n == 1 && countIf(s, is("operation", "purchase", "search", "custom")) == 0 {
					bounced++
				}
			}
		}
		var visible int
		engaged := slices.DeleteFunc(only(events, "engagement"), func(e event) bool { return e.session == 0 })
		for _, e := range engaged {
			visible += int(e.visibleMS)
		}
		revenue := []any{}
		for _, currency := range []string{"JPY", "USD"} {
			orders := slices.DeleteFunc(lastSent(events), func(e event) bool { return e.currency != currency })
			if subjects(orders) < threshold {
				continue
			}
			var sum decimal.Decimal
			for _, o := range orders {
				sum = sum.Add(o.amount)
			}
			revenue = append(revenue, row{"currency": currency, "orders": len(orders), "revenue": sum.String()})
		}
		r := row{
			"visitors": people(events), "sessions": len(sessions), "page_views": countIf(events, is("page_view")),
			"bounce_rate": float64(bounced) / float64(viewed), "visible_seconds": float64(visible) / 1000 / float64(len(sessionsOf(engaged))),
			"operations": countIf(events, is("operation", "custom")), "revenue": revenue,
		}
		return []row{r}, []int{subjects(events)}
	},
	"timeseries": func(events []event) ([]row, []int) { return series(events, startOfDay) },
	"pages": func(events []event) (rows []row, counts []int) {
		entries, exits := map[string]int{}, map[string]int{}
		for _, s := range sessionsOf(only(events, "page_view")) {
			entries[s[0].path]++
			exits[s[len(s)-1].path]++
		}
		byPath := group(only(events, "page_view", "engagement"), func(e event) (string, bool) { return e.path, true })
		for path, g := range byPath {
			views := only(g, "page_view")
			if len(views) == 0 {
				continue
			}
			var visible int
			type viewDay struct {
				view uint64
				day  time.Time
			}
			deepest := map[viewDay]int{}
			for _, e := range g {
				visible += int(e.visibleMS)
				if at := (viewDay{e.view, e.day()}); e.kind == "engagement" && e.view != 0 {
					deepest[at] = max(deepest[at], int(e.scroll))
				}
			}
			depth := 0
			for _, scroll := range deepest {
				depth += scroll
			}
			rows = append(rows, row{
				"host": "shop.example", "path": path, "views": len(views), "visitors": people(views),
				"entries": entries[path], "exits": exits[path], "visible_seconds": float64(visible) / 1000 / float64(len(views)),
				"scroll_depth": float64(depth) / float64(max(len(deepest), 1)),
			})
			counts = append(counts, subjects(views))
		}
		return rows, counts
	},
	"sources": func(events []event) (rows []row, counts []int) {
		type origin [3]string
		byOrigin := map[origin][]event{}
		for _, s := range sessionsOf(events) {
			if views := only(s, "page_view"); len(views) > 0 {
				o := origin{views[0].channel, views[0].source, views[0].referrer}
				byOrigin[o] = append(byOrigin[o], s...)
			}
		}
		for o, g := range byOrigin {
			rows = append(rows, row{
				"channel": o[0], "source": o[1], "referrer": o[2],
				"visitors": people(g), "sessions": len(sessionsOf(g)), "page_views": countIf(g, is("page_view")),
			})
			counts = append(counts, subjects(g))
		}
		return rows, counts
	},
	"locations": func(events []event) ([]row, []int) {
		return visits(events, func(e event) [3]string { return [3]string{e.country, e.region} }, "country", "region")
	},
	"devices": func(events []event) ([]row, []int) {
		return visits(events, func(e event) [3]string { return [3]string{e.class, e.browser, e.os} }, "device", "browser", "os")
	},
	"operations": func(events []event) (rows []row, counts []int) {
		for k, g := range group(only(events, "operation", "custom"), func(e event) ([2]string, bool) { return [2]string{cmp.Or(e.custom, e.operation), e.target}, true }) {
			rows = append(rows, row{"name": k[0], "target": k[1], "count": len(g), "users": people(g)})
			counts = append(counts, subjects(g))
		}
		return rows, counts
	},
	"searches": func(events []event) (rows []row, counts []int) {
		refined, followed := outcomes(events)
		for q, g := range group(only(events, "search"), func(e event) (string, bool) { return e.query, true }) {
			rows = append(rows, row{
				"query": q, "count": len(g), "users": people(g), "without_result": countIf(g, func(e event) bool { return e.results == 0 }),
				"refined": countIf(g, func(e event) bool { return refined[e.id] }), "followed": countIf(g, func(e event) bool { return followed[e.id] }),
			})
			counts = append(counts, subjects(g))
		}
		return rows, counts
	},
	"purchases": func(events []event) (rows []row, counts []int) {
		type line struct{ sku, name, currency string }
		type sums struct {
			quantity int
			revenue  decimal.Decimal
			orders   map[uint64]bool
			who      []event
		}
		lines := map[line]*sums{}
		for _, o := range lastSent(events) {
			for _, i := range o.items {
				k := line{i.sku, i.name, o.currency}
				if lines[k] == nil {
					lines[k] = &sums{orders: map[uint64]bool{}}
				}
				lines[k].quantity += int(i.quantity)
				lines[k].revenue = lines[k].revenue.Add(i.price.Mul(decimal.NewFromUint64(uint64(i.quantity))))
				lines[k].orders[o.id] = true
				lines[k].who = append(lines[k].who, o)
			}
		}
		for k, s := range lines {
			rows = append(rows, row{"sku": k.sku, "name": k.name, "currency": k.currency, "quantity": s.quantity, "orders": len(s.orders), "revenue": s.revenue.String()})
			counts = append(counts, subjects(s.who))
		}
		return rows, counts
	},
	"ads": func(events []event) (rows []row, counts []int) {
		return advertised(events, func(e event) []string { return []string{e.ad, e.slot} }, "ad", "slot")
	},
	"entries": func(events []event) ([]row, []int) {
		return origins(events, func(e event) []string { return []string{e.host, e.path} }, "host", "path")
	},
	"exits": func(events []event) (rows []row, counts []int) {
		left := map[string][]event{}
		for _, s := range sessionsOf(only(events, "page_view")) {
			last := s[len(s)-1]
			left[last.path] = append(left[last.path], last)
		}
		for path, g := range left {
			all := countIf(events, func(e event) bool { return e.kind == "page_view" && e.path == path })
			rows = append(rows, row{
				"host": "shop.example", "path": path, "visitors": people(g), "exits": len(g), "views": all, "exit_rate": float64(len(g)) / float64(all),
			})
			counts = append(counts, subjects(g))
		}
		return rows, counts
	},
	"titles": func(events []event) (rows []row, counts []int) {
		for title, g := range group(only(events, "page_view"), func(e event) (string, bool) { return e.title, true }) {
			rows = append(rows, row{"title": title, "views": len(g), "visitors": people(g), "sessions": len(sessionsOf(g))})
			counts = append(counts, subjects(g))
		}
		return rows, counts
	},
	"channels": func(events []event) ([]row, []int) {
		return origins(events, func(e event) []string { return []string{e.channel} }, "channel")
	},
	"referrers": func(events []event) ([]row, []int) {
		return origins(events, func(e event) []string { return []string{e.referrer} }, "referrer")
	},
	"campaigns": func(events []event) ([]row, []int) {
		return origins(events, func(e event) []string {
			if e.medium+e.campaign == "" {
				return []string{"", "", ""}
			}
			return []string{e.source, e.medium, e.campaign}
		}, "source", "medium", "campaign")
	},
	"campaign_contents": func(events []event) ([]row, []int) {
		return origins(events, func(e event) []string {
			if e.term+e.content == "" {
				return []string{"", "", "", "", ""}
			}
			return []string{e.source, e.medium, e.campaign, e.term, e.content}
		}, "source", "medium", "campaign", "term", "content")
	},
	"countries": func(events []event) ([]row, []int) {
		return visits(events, func(e event) [3]string { return [3]string{e.country} }, "country")
	},
	"regions": func(events []event) ([]row, []int) {
		known := slices.DeleteFunc(slices.Clone(events), func(e event) bool { return e.region == "" })
		return visits(known, func(e event) [3]string { return [3]string{e.country, e.region} }, "country", "region")
	},
	"languages": func(events []event) ([]row, []int) {
		return visits(events, func(e event) [3]string { return [3]string{e.language} }, "language")
	},
	"browsers": func(events []event) ([]row, []int) {
		return visits(events, func(e event) [3]string {
			if e.version == 0 {
				return [3]string{e.browser}
			}
			return [3]string{e.browser, strconv.Itoa(int(e.version))}
		}, "browser", "version")
	},
	"systems": func(events []event) ([]row, []int) {
		return visits(events, func(e event) [3]string { return [3]string{e.os, e.osVersion} }, "os", "os_version")
	},
	"screens": func(events []event) ([]row, []int) {
		widths := map[string]string{
			"": "", "599x700": "0-599", "600x700": "600-899", "899x800": "600-899", "1200x10": "1200-1535", "1535x900": "1200-1535", "1536x900": "1536-",
		}
		return visits(events, func(e event) [3]string { return [3]string{e.screen, widths[e.viewport]} }, "screen", "viewport_width")
	},
	"connections": func(events []event) ([]row, []int) {
		return visits(events, func(e event) [3]string { return [3]string{e.connection, strconv.FormatBool(e.saveData)} }, "connection", "save_data")
	},
	"preferences": func(events []event) ([]row, []int) {
		return visits(events, func(e event) [3]string { return [3]string{e.scheme, strconv.FormatBool(e.reducedMotion)} }, "color_scheme", "reduced_motion")
	},
	"searches_without_result": func(events []event) (rows []row, counts []int) {
		for q, g := range group(only(events, "search"), func(e event) (string, bool) { return e.query, true }) {
			none := slices.DeleteFunc(slices.Clone(g), func(e event) bool { return e.results != 0 })
			if len(none) == 0 {
				continue
			}
			rows = append(rows, row{
				"query": q, "without_result": len(none), "users": people(none), "searches": len(g), "share": float64(len(none)) / float64(len(g)),
			})
			counts = append(counts, subjects(none))
		}
		return rows, counts
	},
	"orders": func(events []event) (rows []row, counts []int) {
		for currency, g := range group(lastSent(events), func(e event) (string, bool) { return e.currency, true }) {
			var sum decimal.Decimal
			var amounts []decimal.Decimal
			items := 0
			for _, o := range g {
				sum, amounts = sum.Add(o.amount), append(amounts, o.amount)
				for _, i := range o.items {
					items += int(i.quantity)
				}
			}
			slices.SortFunc(amounts, decimal.Decimal.Cmp)
			n := len(amounts)
			median := amounts[(n-1)/2].Add(amounts[n/2]).DivRound(decimal.NewFromInt(2), 4)
			rows = append(rows, row{
				"currency": currency, "orders": n, "buyers": people(g), "items": items, "items_per_order": float64(items) / float64(n), "revenue": sum.String(),
				"mean_value": sum.DivRound(decimal.NewFromInt(int64(n)), 4).String(), "median_value": median.String(),
			})
			counts = append(counts, subjects(g))
		}
		return rows, counts
	},
	"conversion": func(events []event) ([]row, []int) {
		sessions, bought := sessionsOf(events), only(events, "purchase")
		with := len(sessionsOf(bought))
		r := row{
			"visitors": people(events), "buyers": people(bought), "sessions": len(sessions), "buying_sessions": with,
			"conversion_rate": float64(with) / float64(len(sessions)),
		}
		return []row{r}, []int{subjects(bought)}
	},
	"ad_campaigns": func(events []event) ([]row, []int) {
		return advertised(events, func(e event) []string { return []string{e.adCampaign} }, "ad_campaign")
	},
}

// outcomes tells of searches, by id, which were refined and which were followed by another page.
func outcomes(events []event) (refined, followed map[uint64]bool) {
	refined, followed = map[uint64]bool{}, map[uint64]bool{}
	for _, s := range sessionsOf(only(events, "search", "page_view")) {
		for i, e := range s {
			if e.kind != "search" {
				continue
			}
			for _, after := range s[i+1:] {
				if after.kind == "search" {
					refined[e.id] = !strings.EqualFold(after.query, e.query) && after.at.Sub(e.at) <= 2*time.Minute
					break
				}
				followed[e.id] = followed[e.id] || after.host != e.host || after.path != e.path
			}
		}
	}
	return refined, followed
}

// origins gather sessions by what their first page view says, but for those of which it says nothing.
func origins(events []event, key func(event) []string, names ...string) (rows []row, counts []int) {
	byOrigin := map[string][][]event{}
	for _, s := range sessionsOf(events) {
		if views := only(s, "page_view"); len(views) > 0 {
			k := strings.Join(key(views[0]), "\x00")
			byOrigin[k] = append(byOrigin[k], s)
		}
	}
	for k, all := range byOrigin {
		values := strings.Split(k, "\x00")
		if strings.Join(values, "") == "" {
			continue
		}
		bounced := 0
		for _, s := range all {
			if countIf(s, is("page_view")) == 1 && countIf(s, is("operation", "purchase", "search", "custom")) == 0 {
				bounced++
			}
		}
		g := slices.Concat(all...)
		r := row{
			"visitors": people(g), "sessions": len(all), "page_views": countIf(g, is("page_view")), "bounce_rate": float64(bounced) / float64(len(all)),
		}
		for i, name := range names {
			r[name] = values[i]
		}
		rows, counts = append(rows, r), append(counts, subjects(g))
	}
	return rows, counts
}

// advertised gathers views of advertisements.
func advertised(events []event, key func(event) []string, names ...string) (rows []row, counts []int) {
	for k, g := range group(only(events, "ad_view"), func(e event) (string, bool) { return strings.Join(key(e), "\x00"), true }) {
		clicks := countIf(g, func(e event) bool { return e.click })
		seen := countIf(g, func(e event) bool { return !e.click && e.adVisibleMS >= 1000 })
		n := len(g) - clicks
		r := row{
			"impressions": n, "viewable_impressions": seen, "viewability": float64(seen) / float64(n),
			"clicks": clicks, "rate": float64(clicks) / float64(n), "reach": people(g),
		}
		for i, name := range names {
			r[name] = strings.Split(k, "\x00")[i]
		}
		rows, counts = append(rows, r), append(counts, subjects(g))
	}
	return rows, counts
}

func visits(events []event, key func(event) [3]string, names ...string) (rows []row, counts []int) {
	for k, g := range group(events, func(e event) ([3]string, bool) { return key(e), true }) {
		r := row{"visitors": people(g), "sessions": len(sessionsOf(g)), "page_views": countIf(g, is("page_view"))}
		for i, name := range names {
			r[name] = k[i]
		}
		rows = append(rows, r)
		counts = append(counts, subjects(g))
	}
	return rows, counts
}

func startOfDay(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, location)
}

func series(events []event, start func(time.Time) time.Time) (rows []row, counts []int) {
	for at, g := range group(events, func(e event) (int64, bool) { return start(e.at.In(location)).Unix(), true }) {
		rows = append(rows, row{
			"time":     time.Unix(at, 0).In(location).Format(time.RFC3339),
			"visitors": people(g), "sessions": len(sessionsOf(g)), "page_views": countIf(g, is("page_view")),
		})
		counts = append(counts, subjects(g))
	}
	return rows, counts
}

// orders are the orders of rows that the API promises: the names to compare by, "-" for descending.
var orders = map[string][]string{
	"overview": {"visitors"}, "timeseries": {"time"}, "pages": {"-views", "host", "path"}, "sources": {"-sessions", "channel", "source", "referrer"},
	"locations": {"-visitors", "country", "region"}, "devices": {"-visitors", "device", "browser", "os"}, "operations": {"-count", "name", "target"},
	"searches": {"-count", "query"}, "purchases": {"currency", "-revenue", "sku", "name"}, "ads": {"-impressions", "ad", "slot"},
	"entries": {"-sessions", "host", "path"}, "exits": {"-exits", "host", "path"}, "titles": {"-views", "title"},
	"channels": {"-sessions", "channel"}, "referrers": {"-sessions", "referrer"}, "campaigns": {"-sessions", "source", "medium", "campaign"},
	"campaign_contents": {"-sessions", "source", "medium", "campaign", "term", "content"},
	"countries":         {"-visitors", "country"}, "regions": {"-visitors", "country", "region"}, "languages": {"-visitors", "language"},
	"browsers": {"-visitors", "browser", "version"}, "systems": {"-visitors", "os", "os_version"}, "screens": {"-visitors", "screen", "viewport_width"},
	"connections": {"-visitors", "connection", "save_data"}, "preferences": {"-visitors", "color_scheme", "reduced_motion"},
	"searches_without_result": {"-without_result", "query"}, "orders": {"currency"}, "conversion": {"visitors"}, "ad_campaigns": {"-impressions", "ad_campaign"},
	"consent": {"purpose", "basis"}, "consent_choices": {"purpose", "-people", "state", "language", "surface"},
	"coverage": {"type", "outcome"}, "drops": {"time", "reason", "type"},
}

// released are the rows large enough to be shown, in their order, and the number of those that are not.
func released(report string, rows []row, counts []int) (shown []row, withheld int) {
	for i, r := range rows {
		if counts[i] < threshold {
			withheld++
			continue
		}
		shown = append(shown, r)
	}
	slices.SortFunc(shown, func(a, b row) int {
		for _, name := range orders[report] {
			sign := 1
			if name[0] == '-' {
				name, sign = name[1:], -1
			}
			var c int
			switch x := a[name].(type) {
			case int:
				c = cmp.Compare(x, b[name].(int))
			case string:
				if name == "revenue" {
					c = decimal.RequireFromString(x).Cmp(decimal.RequireFromString(b[name].(string)))
				} else {
					c = cmp.Compare(x, b[name].(string))
				}
			}
			if c != 0 {
				return sign * c
			}
		}
		return 0
	})
	return shown, withheld
}

// normal brings rows to what JSON makes of them, numbers to four places and amounts to their shortest form.
func normal(t *testing.T, rows any) []any {
	t.Helper()
	b, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	var all []any
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	var walk func(any) any
	walk = func(v any) any {
		switch x := v.(type) {
		case float64:
			return math.Round(x*1e4) / 1e4
		case map[string]any:
			for name, y := range x {
				if s, ok := y.(string); ok && slices.Contains([]string{"revenue", "mean_value", "median_value"}, name) {
					x[name] = decimal.RequireFromString(s).String()
					continue
				}
				x[name] = walk(y)
			}
		case []any:
			for i := range x {
				x[i] = walk(x[i])
			}
		}
		return v
	}
	for i := range all {
		all[i] = walk(all[i])
	}
	return all
}

func compare(t *testing.T, got, want any) {
	t.Helper()
	g, w := normal(t, got), normal(t, want)
	if len(g) != len(w) {
		t.Errorf("%d rows, want %d", len(g), len(w))
	}
	for i := range min(len(g), len(w)) {
		if reflect.DeepEqual(g[i], w[i]) {
			continue
		}
		a, b := g[i].(map[string]any), w[i].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(b)) {
			if !reflect.DeepEqual(a[name], b[name]) {
				t.Errorf("row %d: %s is %v, want %v", i, name, a[name], b[name])
			}
		}
		if len(a) != len(b) {
			t.Errorf("row %d has %d columns, want %d", i, len(a), len(b))
		}
	}
}

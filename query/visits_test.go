package query_test

import (
	"cmp"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/evidence"
	"github.com/sekisho/sekisho/internal/testkit"
)

var (
	periodFrom = time.Date(2026, 10, 29, 0, 0, 0, 0, location)
	periodTo   = time.Date(2026, 11, 6, 0, 0, 0, 0, location)
)

func TestAReportsOwnColumnsPickAmongItsRows(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d := newDesk(t, db)
	seen, _ := f.visible(bitDevelopment, periodFrom, periodTo)
	for filters, keep := range map[string]struct {
		report string
		match  func(row) bool
	}{
		"filter=path:/list":                   {"entries", func(r row) bool { return r["path"] == "/list" }},
		"filter=!path*/item/*":                {"exits", func(r row) bool { return !strings.HasPrefix(r["path"].(string), "/item/") }},
		"filter=title~SHO":                    {"titles", func(r row) bool { return r["title"] == "Shop" }},
		"filter=channel:social":               {"channels", func(r row) bool { return r["channel"] == "social" }},
		"filter=referrer*t.*":                 {"referrers", func(r row) bool { return r["referrer"] == "t.co" }},
		"filter=medium:cpc&filter=source:X":   {"campaigns", func(r row) bool { return r["medium"] == "cpc" && r["source"] == "X" }},
		"filter=term:tea&filter=!content:red": {"campaign_contents", func(r row) bool { return r["term"] == "tea" && r["content"] != "red" }},
		"filter=language~ja":                  {"languages", func(r row) bool { return strings.HasPrefix(r["language"].(string), "ja") }},
		"filter=browser:Safari":               {"browsers", func(r row) bool { return r["browser"] == "Safari" }},
		"filter=os:iOS&filter=os_version:18":  {"systems", func(r row) bool { return r["os"] == "iOS" && r["os_version"] == "18" }},
		"filter=screen:390x844":               {"screens", func(r row) bool { return r["screen"] == "390x844" }},
		"filter=connection:wifi":              {"connections", func(r row) bool { return r["connection"] == "wifi" }},
		"filter=color_scheme:dark":            {"preferences", func(r row) bool { return r["color_scheme"] == "dark" }},
		"filter=query:tea":                    {"searches", func(r row) bool { return r["query"] == "tea" }},
		"filter=ad_campaign:winter":           {"ad_campaigns", func(r row) bool { return r["ad_campaign"] == "winter" }},
		"filter=currency:JPY":                 {"orders", func(r row) bool { return r["currency"] == "JPY" }},
	} {
		t.Run(keep.report, func(t *testing.T) {
			rows, counts := expected[keep.report](seen)
			all, _ := released(keep.report, rows, counts)
			shown := slices.DeleteFunc(slices.Clone(all), func(r row) bool { return !keep.match(r) })
			if len(shown) == 0 || len(shown) == len(all) {
				t.Fatalf("%d of %d rows are picked", len(shown), len(all))
			}
			compare(t, d.read("/v1/reports/"+keep.report+"?purpose=usage_based_development&"+period+"&"+filters).Rows, shown)
		})
	}
	t.Run("another dimension picks among the events", func(t *testing.T) {
		for _, report := range []string{"languages", "orders", "ad_campaigns", "browsers", "conversion"} {
			dark := slices.DeleteFunc(slices.Clone(seen), func(e event) bool { return e.scheme != "dark" })
			rows, counts := expected[report](dark)
			shown, _ := released(report, rows, counts)
			if len(shown) == 0 {
				t.Fatal("nothing is expected")
			}
			compare(t, d.read("/v1/reports/"+report+"?purpose=usage_based_development&"+period+"&filter=color_scheme:dark").Rows, shown)
		}
	})
}

// Two minutes to the millisecond, only the next search, only of the same session and day, not for another case.
func TestASearchIsRefinedByTheNextOneWithinTwoMinutes(t *testing.T) {
	db, f := testkit.ClickHouse(t), &facts{}
	late := time.Date(2026, 11, 3, 23, 59, 30, 0, location)
	var id uint64
	for v := range uint64(threshold) {
		say := func(session uint64, at time.Time, kind, path, query string) {
			id++
			f.events = append(f.events, event{
				id: id, at: at, received: at, kind: kind, purposes: 1 << bitDevelopment, linkage: "visitor", visitor: v + 1, session: session,
				host: "shop.example", path: path, query: query, results: 1,
			})
		}
		search := func(session uint64, at time.Time, query string) { say(session, at, "search", "/search", query) }
		s := 100 * (v + 1)
		search(s+1, noon, "in time")
		search(s+1, noon.Add(2*time.Minute), "other")
		search(s+2, noon, "late by a millisecond")
		search(s+2, noon.Add(2*time.Minute+time.Millisecond), "other")
		search(s+3, noon, "again")
		search(s+3, noon.Add(time.Second), "again")
		search(s+4, noon, "Écrit")
		search(s+4, noon.Add(time.Second), "éCRIT")
		search(s+5, late, "over midnight")
		search(s+5, late.Add(time.Minute), "other")
		search(0, noon, "outside a session")
		search(0, noon.Add(time.Second), "other")
		search(s+6, noon, "page of its own")
		say(s+6, noon.Add(time.Second), "page_view", "/search", "")
		search(s+7, noon, "another page")
		say(s+7, noon.Add(time.Hour), "page_view", "/item", "")
		search(s+8, noon, "searched on")
		search(s+8, noon.Add(time.Second), "found")
		say(s+8, noon.Add(2*time.Second), "page_view", "/item", "")
	}
	f.masks = []mask{{999_999, bitDevelopment, noon}}
	f.store(t, db, "shop")
	want := map[string][2]float64{ // refined, followed
		"in time": {1, 0}, "searched on": {1, 0}, "another page": {0, 1}, "found": {0, 1},
	}
	for _, r := range newDesk(t, db).read("/v1/reports/searches?purpose=usage_based_development&" + period).Rows {
		w := want[r["query"].(string)]
		if r["refined"] != w[0]*threshold || r["followed"] != w[1]*threshold {
			t.Errorf("%q: refined %v, followed %v", r["query"], r["refined"], r["followed"])
		}
		delete(want, r["query"].(string))
	}
	if len(want) > 0 {
		t.Errorf("not told: %v", want)
	}
}

func TestAReportIsRefusedByTheCategoryOfWhatItReads(t *testing.T) {
	d := newDesk(t, testkit.ClickHouse(t))
	refused := map[string]string{ // support sees operations and the environment
		"entries": "time", "exits": "time", "titles": "title", "channels": "time", "referrers": "time", "campaigns": "time",
		"campaign_contents": "time", "searches_without_result": "search_query", "orders": "order_key", "conversion": "order_key",
		"ad_campaigns": "ad_campaign", "ads": "ad_id", "searches": "search_query",
	}
	for _, report := range []string{"countries", "regions", "languages", "browsers", "systems", "screens", "connections", "preferences", "consent", "consent_choices", "drops", "coverage"} {
		refused[report] = ""
	}
	for report, field := range refused {
		status, body := d.get(d.key, "/v1/reports/"+report+"?site=shop&purpose=customer_support")
		var problem struct{ Code, Field string }
		if err := json.Unmarshal([]byte(body), &problem); err != nil {
			t.Fatal(err)
		}
		if field == "" && status != http.StatusOK {
			t.Errorf("%s: %d %s", report, status, body)
		}
		if field != "" && (status != http.StatusForbidden || problem.Code != "column_denied" || problem.Field != field) {
			t.Errorf("%s: %d %s", report, status, body)
		}
	}
}

func TestNothingIsPickedAmongRecords(t *testing.T) {
	d := newDesk(t, testkit.ClickHouse(t))
	for _, report := range []string{"consent", "consent_choices", "drops", "coverage"} {
		for parameter, value := range map[string]string{"filter": "language:canary", "sample": "0.5"} {
			status, body := d.get(d.key, "/v1/reports/"+report+"?site=shop&purpose=usage_based_development&"+parameter+"="+value)
			var problem struct{ Code, Field string }
			if err := json.Unmarshal([]byte(body), &problem); err != nil {
				t.Fatal(err)
			}
			if status != http.StatusBadRequest || problem.Code != "invalid" || problem.Field != parameter || strings.Contains(body, "canary") {
				t.Errorf("%s with %s: %d %s", report, parameter, status, body)
			}
		}
	}
}

// makeActs plays the consent of 120 people: by cookie, by account on several cookies, by device; changed, renewed and
// expired, under another policy, before the period and after it.
func makeActs() []evidence.Act {
	r := rand.New(rand.NewPCG(9, 2026))
	var acts []evidence.Act
	for person := range uint64(120) {
		said := evidence.Act{VisitorID: 1000 + person}
		switch person % 10 {
		case 0:
			said = evidence.Act{DeviceKey: 3000 + person}
		case 1, 2:
			said.AccountID = 2000 + person/20 // of two visitors, and more of the same
		case 3:
			said = evidence.Act{} // nobody's
		case 4:
			said.VisitorID = 4000 + person/40 // shared by several accounts
		}
		for range 1 + r.IntN(3) {
			act := said
			if person%10 == 4 {
				act.AccountID = pick(r, 5000+person/40, 5003)
			}
			if person%10 == 1 && r.IntN(2) == 0 {
				act.AccountID = 0 // not signed in yet
			}
			act.Policy = pick(r, "default/2022-09-15", "default/2022-09-15", "default/2022-09-15", "default/2019-10-15", "foreign/2020-01-01")
			act.Language, act.Surface = pick(r, "ja", "ja", "ja", "en"), pick(r, "banner", "banner", "settings")
			act.Time = periodFrom.Add(time.Duration(r.Int64N(int64(9 * 24 * time.Hour)))).Add(-12 * time.Hour).Truncate(time.Microsecond).UTC()
			act.ReceivedAt = act.Time.Add(time.Second)
			act.ID = uuid.UUID{byte(len(acts)), byte(len(acts) >> 8), 1}
			for _, purpose := range []string{"marketing_use", "usage_based_development", "in_service_recommendation"} {
				one := act
				one.Purpose, one.Basis = purpose, "consent"
				switch purpose {
				case "marketing_use":
					one.State = pick(r, "granted", "refused", "refused", "withdrawn", "expired")
				case "in_service_recommendation": // which some object to
					one.State, one.Basis = "refused", "opt_out"
				default:
					if one.State = pick(r, "granted", "granted", "renewed"); r.IntN(40) == 0 {
						one.State = "refused"
					}
				}
				acts = append(acts, one)
			}
		}
	}
	// One moment, of which what arrived last is what stands.
	for i, state := range []string{"refused", "granted"} {
		acts = append(acts, evidence.Act{
			VisitorID: 999, Policy: "default/2022-09-15", Purpose: "marketing_use", Basis: "consent", State: state, Language: "ja", Surface: "banner",
			Time: noon.UTC(), ReceivedAt: noon.Add(time.Duration(i) * time.Second).UTC(), ID: uuid.UUID{byte(9 - i)},
		})
	}
	return acts
}

// standing is what the people of a site said last in the period, by person and purpose.
func standing(acts []evidence.Act) []evidence.Act {
	accounts := map[uint64]uint64{}
	var said []evidence.Act
	for _, a := range acts {
		if !a.Time.Before(periodFrom) && a.Time.Before(periodTo) && strings.HasPrefix(a.Policy, "default/") {
			said = append(said, a)
			if a.VisitorID != 0 {
				accounts[a.VisitorID] = max(accounts[a.VisitorID], a.AccountID)
			}
		}
	}
	slices.SortFunc(said, func(a, b evidence.Act) int {
		return cmp.Or(a.Time.Compare(b.Time), a.ReceivedAt.Compare(b.ReceivedAt))
	})
	type key struct {
		person  uint64
		purpose string
	}
	last := map[key]evidence.Act{}
	for _, a := range said {
		if person := cmp.Or(accounts[a.VisitorID], a.AccountID, a.VisitorID, a.DeviceKey); person != 0 {
			last[key{person, a.Purpose}] = a
		}
	}
	var all []evidence.Act
	for _, a := range last {
		all = append(all, a)
	}
	return all
}

func TestConsentIsCountedAsItStands(t *testing.T) {
	db, acts := testkit.ClickHouse(t), makeActs()
	for _, site := range []string{"shop", "other"} {
		for i := range acts {
			acts[i].Site = site
		}
		if err := db.Insert(t.Context(), "consent_acts", "acts/"+site, evidence.Columns(acts)); err != nil {
			t.Fatal(err)
		}
	}
	d := newDesk(t, db)
	last := standing(acts)

	type sides struct{ granted, not int }
	byPurpose := map[[2]string]*sides{}
	byChoice := map[[4]string]int{}
	for _, a := range last {
		k := [2]string{a.Purpose, a.Basis}
		if byPurpose[k] == nil {
			byPurpose[k] = &sides{}
		}
		state := a.State
		switch state {
		case "renewed":
			state = "granted"
			fallthrough
		case "granted":
			byPurpose[k].granted++
		default:
			byPurpose[k].not++
		}
		byChoice[[4]string{a.Purpose, state, a.Language, a.Surface}]++
	}
	var rows []row
	var counts []int
	for k, n := range byPurpose {
		rows = append(rows, row{
			"purpose": k[0], "basis": k[1], "decided": n.granted + n.not, "granted": n.granted, "not_granted": n.not,
			"opt_in_rate": float64(n.granted) / float64(n.granted+n.not),
		})
		least := min(n.granted, n.not)
		if least == 0 {
			least = n.granted + n.not
		}
		counts = append(counts, least)
	}
	shown, withheld := released("consent", rows, counts)
	if len(shown) != 2 || withheld != 1 {
		t.Fatalf("%d rows and %d withheld prove too little: %v", len(shown), withheld, rows)
	}
	a := d.read("/v1/reports/consent?purpose=customer_support&" + period)
	compare(t, a.Rows, shown)
	if a.Suppressed.Groups != withheld || len(a.Remarks) != 1 || a.Remarks[0].Text.JA == "" || a.Remarks[0].Text.EN == "" {
		t.Errorf("%+v %+v", a.Suppressed, a.Remarks)
	}

	rows, counts = nil, nil
	for k, n := range byChoice {
		rows = append(rows, row{"purpose": k[0], "state": k[1], "language": k[2], "surface": k[3], "people": n})
		counts = append(counts, n)
	}
	shown, withheld = released("consent_choices", rows, counts)
	if len(shown) < 5 || withheld == 0 {
		t.Fatalf("%d rows and %d withheld prove too little", len(shown), withheld)
	}
	a = d.read("/v1/reports/consent_choices?purpose=customer_support&" + period)
	compare(t, a.Rows, shown)
	if a.Suppressed.Groups != withheld {
		t.Errorf("%d withheld, want %d", a.Suppressed.Groups, withheld)
	}
}

// Under the consent key nobody is somebody else after the turn of an epoch, as it would be for rows of events.
func TestConsentHasNoEpochs(t *testing.T) {
	db := testkit.ClickHouse(t)
	var acts []evidence.Act
	for v := range uint64(threshold) {
		acts = append(acts, evidence.Act{
			Site: "shop", ID: uuid.UUID{byte(v + 1)}, VisitorID: v + 1, Policy: "default/2022-09-15", Purpose: "marketing_use", Basis: "consent",
			State: "granted", Time: noon.UTC(), ReceivedAt: noon.UTC(),
		})
	}
	if err := db.Insert(t.Context(), "consent_acts", "acts", evidence.Columns(acts)); err != nil {
		t.Fatal(err)
	}
	a := newDesk(t, db).read("/v1/reports/consent?site=shop&purpose=customer_support&from=2026-01-01&to=2026-11-05")
	if len(a.Rows) != 1 || a.Rows[0]["decided"] != float64(threshold) || a.Rows[0]["opt_in_rate"] != 1.0 {
		t.Errorf("%v", a.Rows)
	}
}

func TestWhatIsLeftOutIsCountedByKindAndTime(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	for v := range uint64(2 * threshold) { // who permits another purpose only
		f.events = append(f.events, event{
			id: 1<<32 + v, at: noon, received: noon, kind: "page_view", purposes: 1 << bitSupport, linkage: "visitor", visitor: 9000 + v, session: v + 1, results: -1,
		})
	}
	f.store(t, db, "shop")
	f.store(t, db, "other")
	type drop struct {
		hour         time.Time
		kind, reason string
		count        uint64
	}
	r := rand.New(rand.NewPCG(10, 2026))
	var drops []drop
	for range 400 {
		drops = append(drops, drop{
			periodFrom.Add(time.Duration(r.IntN(9*24)-12) * time.Hour), pick(r, "page_view", "search", ""), pick(r, "refused", "refused", "bot", "unreadable"), 1 + r.Uint64N(3),
		})
	}
	for _, site := range []string{"shop", "other"} {
		err := db.Insert(t.Context(), "event_drops", "drops/"+site, []clickhouse.Column{
			clickhouse.Gather("site", drops, func(drop) string { return site }),
			clickhouse.Gather("hour", drops, func(d drop) time.Time { return d.hour.UTC() }),
			clickhouse.Gather("type", drops, func(d drop) string { return d.kind }),
			clickhouse.Gather("reason", drops, func(d drop) string { return d.reason }),
			clickhouse.Gather("count", drops, func(d drop) uint64 { return d.count }),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	d := newDesk(t, db)
	for interval, start := range map[string]func(time.Time) time.Time{
		"hour": func(t time.Time) time.Time { return t },
		"day":  startOfDay,
		"week": func(t time.Time) time.Time {
			return startOfDay(t).AddDate(0, 0, -(int(t.Weekday())+6)%7) // Monday
		},
		"month": func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, location) },
	} {
		type key struct {
			at           int64
			reason, kind string
		}
		sums := map[key]int{}
		for _, x := range drops {
			if !x.hour.Before(periodFrom) && x.hour.Before(periodTo) {
				sums[key{start(x.hour).Unix(), x.reason, x.kind}] += int(x.count)
			}
		}
		var rows []row
		var counts []int
		for k, n := range sums {
			rows = append(rows, row{"time": time.Unix(k.at, 0).In(location).Format(time.RFC3339), "reason": k.reason, "type": k.kind, "events": n})
			counts = append(counts, n)
		}
		shown, withheld := released("drops", rows, counts)
		if len(shown) == 0 {
			t.Fatal("nothing is expected")
		}
		a := d.read("/v1/reports/drops?purpose=usage_based_development&interval=" + interval + "&" + period)
		compare(t, a.Rows, shown)
		if a.Suppressed.Groups != withheld {
			t.Errorf("%s: %d withheld, want %d", interval, a.Suppressed.Groups, withheld)
		}
	}

	var rows []row
	var counts []int
	for reason, all := range f.judged(bitDevelopment, periodFrom, periodTo) {
		for kind, g := range group(all, func(e event) (string, bool) { return e.kind, true }) {
			rows = append(rows, row{"type": kind, "outcome": cmp.Or(reason, "included"), "events": len(g)})
			counts = append(counts, subjects(g))
		}
	}
	shown, withheld := released("coverage", rows, counts)
	if len(shown) < 5 || withheld == 0 || !slices.ContainsFunc(shown, func(r row) bool { return r["outcome"] == "not_permitted" }) {
		t.Fatalf("%d rows and %d withheld prove too little", len(shown), withheld)
	}
	a := d.read("/v1/reports/coverage?purpose=usage_based_development&" + period)
	compare(t, a.Rows, shown)
	if a.Suppressed.Groups != withheld {
		t.Errorf("%d withheld, want %d", a.Suppressed.Groups, withheld)
	}
}

// An even number of orders, a median between two of them, and thirds: to the fourth place, and never through a float.
func TestOrderValuesAreExactDecimals(t *testing.T) {
	db, f := testkit.ClickHouse(t), &facts{}
	for v, amount := range []string{"9007199254740.9931", "0.0001", "0.0002", "0.0003", "0.0001", "99.9999"} {
		f.events = append(f.events, event{
			id: uint64(v) + 1, at: noon, received: noon, kind: "purchase", purposes: 1 << bitDevelopment, linkage: "visitor", visitor: uint64(v) + 1, session: uint64(v) + 1,
			currency: "JPY", amount: decimal.RequireFromString(amount), items: []item{{"T", "Tea", 1, decimal.RequireFromString(amount)}},
		})
	}
	f.masks = []mask{{999_999, bitDevelopment, noon}}
	f.store(t, db, "shop")
	a := newDesk(t, db).read("/v1/reports/orders?purpose=usage_based_development&" + period)
	// The median is 0.00025, which is rounded away from zero.
	want := row{"revenue": "9007199254840.9937", "mean_value": "1501199875806.8323", "median_value": "0.0003"}
	for name, value := range want {
		if a.Rows[0][name] != value {
			t.Errorf("%s is %v, want %s", name, a.Rows[0][name], value)
		}
	}
}

// What many visitors did is told when few bought only if enough did.
func TestConversionRestsOnTheBuyers(t *testing.T) {
	for buyers, rows := range map[uint64]int{threshold - 1: 0, threshold: 1} {
		db, f := testkit.ClickHouse(t), &facts{}
		for v := range uint64(10 * threshold) {
			kind := "page_view"
			if v < buyers {
				kind = "purchase"
			}
			f.events = append(f.events, event{
				id: v + 1, at: noon, received: noon, kind: kind, purposes: 1 << bitDevelopment, linkage: "visitor", visitor: v + 1, session: v + 1, results: -1,
			})
		}
		f.masks = []mask{{999_999, bitDevelopment, noon}}
		f.store(t, db, "shop")
		a := newDesk(t, db).read("/v1/reports/conversion?purpose=usage_based_development&" + period)
		if len(a.Rows) != rows || rows == 1 && a.Rows[0]["conversion_rate"] != 0.1 {
			t.Errorf("%d buyers: %v", buyers, a.Rows)
		}
	}
}

package query_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/testkit"
)

// The first and the last day of the behaviour that is played: over the end of daylight saving, of a month and of weeks.
var (
	firstDay = time.Date(2026, 10, 20, 0, 0, 0, 0, location)
	lastDay  = time.Date(2026, 11, 5, 0, 0, 0, 0, location)
)

const behaviourPeriod = "purpose=usage_based_development&site=shop&from=2026-10-20&to=2026-11-05"

// makeBehaviour plays 150 visitors who come back, with and without a cookie, some signed in on some days; their acts are
// often of the same second, and some of the same millisecond.
func makeBehaviour() *facts {
	r := rand.New(rand.NewPCG(11, 2026))
	f := &facts{masks: []mask{
		{1002, bitDevelopment, lastDay.AddDate(0, 0, 5)}, {1003, bitDevelopment, firstDay.AddDate(0, 0, 6)}, {5003, bitDevelopment, firstDay.AddDate(0, 0, 8)},
	}}
	var id uint64
	for v := uint64(1); v <= 150; v++ {
		for range 1 + r.IntN(1+r.IntN(12)) {
			base := event{
				linkage: "visitor", visitor: 1000 + v, session: r.Uint64() | 1, host: "shop.example", country: pick(r, "JP", "JP", "US"),
				results: -1, purposes: 1<<bitSupport | 1<<bitDevelopment,
			}
			switch {
			case v%6 == 0:
				base.linkage, base.visitor = "cookieless", r.Uint64()|1
			case v%7 == 0 && r.IntN(2) == 0:
				base.linkage, base.account, base.device = "account", 5000+v/14, 7000+v
			case v == 31:
				base.linkage, base.visitor, base.session = "none", 0, 0
			}
			at := firstDay.Add(time.Duration(r.Int64N(int64(17 * 24 * time.Hour)))).Truncate(time.Second)
			for range 1 + r.IntN(14) {
				id++
				e := base
				e.id, e.at, e.received = id^5, at, at.Add(time.Second).Truncate(time.Second) // ids are not in the order of times
				switch n := r.IntN(20); {
				case n < 9:
					e.kind, e.path = "page_view", pick(r, "/", "/", "/list", "/item/1", "/item/2", "/item/2", "/rare/"+fmt.Sprint(v))
				case n < 12:
					e.kind, e.path, e.operation = "operation", "/list", pick(r, "export", "export", "share", "print")
				case n < 13:
					e.kind, e.custom = "custom", pick(r, "signup", "signup", "rare")
				case n < 15:
					e.kind, e.query, e.results = "search", pick(r, "tea", "ink"), int64(r.IntN(3))
				case n < 17:
					e.kind, e.ad, e.slot, e.click = "ad_view", pick(r, "spring", "spring", "autumn", "only "+fmt.Sprint(v%40)), "top", r.IntN(3) == 0
				case n < 18:
					e.kind, e.path, e.visibleMS = "engagement", "/", 5
				default:
					e.kind, e.order, e.currency = "purchase", pick(r, 0, 1<<40+v), "JPY" // an order may be sent again
				}
				f.events = append(f.events, e)
				at = at.Add(time.Duration(pick(r, 0, 0, 1, 700, 20_000, 90_000, 3_000_000)) * time.Millisecond)
			}
		}
	}
	return f
}

// ranked are the rows large enough to be shown, in their order (names to compare by, "-" for descending), and how many
// are not.
func ranked(rows []row, counts []int, order ...string) (shown []row, withheld int) {
	for i, r := range rows {
		if counts[i] < threshold {
			withheld++
		} else {
			shown = append(shown, r)
		}
	}
	slices.SortFunc(shown, func(a, b row) int {
		for _, name := range order {
			name, descending := strings.CutPrefix(name, "-")
			var c int
			if n, isNumber := a[name].(int); isNumber {
				c = cmp.Compare(n, b[name].(int))
			} else {
				c = cmp.Compare(a[name].(string), b[name].(string))
			}
			if descending {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
	return shown, withheld
}

// bySubject are the events of each person, in their order.
func bySubject(events []event) map[uint64][]event {
	return group(events, func(e event) (uint64, bool) { return e.subject(), e.subject() != 0 })
}

func lasting(events []event) []event {
	return slices.DeleteFunc(slices.Clone(events), func(e event) bool { return e.daily() })
}

func operationOf(e event) string { return cmp.Or(e.custom, e.operation) }

func bucket(n int) (name string, least int) {
	for _, b := range []struct {
		name string
		most int
	}{{"1", 1}, {"2", 2}, {"3-5", 5}, {"6-10", 10}, {"11-20", 20}} {
		if n <= b.most {
			return b.name, n
		}
	}
	return "21+", n
}

// gathering collects groups of people: for each the events that show who is in it.
type gathering[K comparable] map[K]*gathered

type gathered struct {
	who          []event
	count, least int
}

func (g gathering[K]) add(key K, who []event, count, least int) {
	if g[key] == nil {
		g[key] = &gathered{least: least}
	}
	g[key].who = append(g[key].who, who...)
	g[key].count += count
	g[key].least = min(g[key].least, least)
}

// over makes the rows, of which "_least" is not part of the answer.
func (g gathering[K]) rows(make func(K, *gathered) row) (rows []row, counts []int) {
	for k, x := range g {
		r := make(k, x)
		r["_least"] = x.least
		rows, counts = append(rows, r), append(counts, subjects(x.who))
	}
	return rows, counts
}

func bare(rows []row) []row {
	for _, r := range rows {
		delete(r, "_least")
	}
	return rows
}

// way is how far a person comes by brute force: from every start, latest first, each step as early as it can be.
func way(events []event, steps []func(event) bool, window time.Duration) (times []time.Time) {
	for s := len(events) - 1; s >= 0; s-- {
		if !steps[0](events[s]) {
			continue
		}
		got := []time.Time{events[s].at}
		for _, e := range events[s+1:] {
			if len(got) < len(steps) && e.at.Sub(events[s].at) <= window && steps[len(got)](e) {
				got = append(got, e.at)
			}
		}
		if len(got) > len(times) {
			times = got
		}
	}
	return times
}

// anyWay is the same in any order: from every end, earliest first, each step as late as it was.
func anyWay(events []event, steps []func(event) bool, window time.Duration) (times []time.Time) {
	for end := range events {
		var got []time.Time
		for _, step := range steps {
			for i := end; i >= 0 && events[end].at.Sub(events[i].at) <= window; i-- {
				if step(events[i]) {
					got = append(got, events[i].at)
					break
				}
			}
		}
		if len(got) > len(times) {
			slices.SortFunc(got, time.Time.Compare)
			times = got
		}
	}
	return times
}

// funnel is the expected report.
func funnel(events []event, kinds []string, steps []func(event) bool, window time.Duration, find func([]event, []func(event) bool, time.Duration) []time.Time) (rows []row, counts []int) {
	if window > 24*time.Hour {
		events = lasting(events)
	}
	reached, seconds := make([][]event, len(steps)), make([][]float64, len(steps))
	for _, own := range bySubject(events) {
		times := find(own, steps, window)
		for i, at := range times {
			reached[i] = append(reached[i], own...)
			if i > 0 {
				seconds[i] = append(seconds[i], at.Sub(times[i-1]).Seconds())
			}
		}
	}
	for i := range steps {
		r := row{"step": i + 1, "kind": "", "people": people(reached[i]), "from_first": float64(people(reached[i])) / float64(people(reached[0])), "from_previous": nil, "seconds": nil}
		if kinds != nil {
			r["kind"] = kinds[i]
		}
		if i > 0 {
			r["seconds"] = 0.0
			r["from_previous"] = float64(people(reached[i])) / float64(max(people(reached[i-1]), 1))
		}
		if n := len(seconds[i]); n > 0 {
			slices.Sort(seconds[i])
			r["seconds"] = math.Round((seconds[i][(n-1)/2] + seconds[i][n/2]) / 2)
		}
		rows, counts = append(rows, r), append(counts, subjects(reached[i]))
	}
	return rows, counts
}

func viewOf(path string) func(event) bool {
	return func(e event) bool { return e.kind == "page_view" && e.path == path }
}

func viewLike(pattern string) func(event) bool {
	return func(e event) bool {
		match, err := path.Match(pattern, e.path)
		return err == nil && match && e.kind == "page_view"
	}
}

func operationNamed(name string) func(event) bool {
	return func(e event) bool { return e.kind == "operation" && e.operation == name }
}

// unitOf is the start of the unit that a time is in.
func unitOf(unit string, t time.Time) time.Time {
	t = startOfDay(t.In(location))
	switch unit {
	case "week":
		return t.AddDate(0, 0, -(int(t.Weekday())+6)%7)
	case "month":
		return t.AddDate(0, 0, 1-t.Day())
	}
	return t
}

func daysBetween(a, b time.Time) int { return int(math.Round(b.Sub(a).Hours() / 24)) }

func TestBehaviour(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeBehaviour()
	f.store(t, db, "shop")
	f.store(t, db, "other")
	d := newDesk(t, db)
	seen, _ := f.visible(bitDevelopment, firstDay, lastDay.AddDate(0, 0, 1))

	check := func(t *testing.T, request string, shown []row, withheld int) {
		t.Helper()
		name, parameters, _ := strings.Cut(request, "?")
		a := d.read("/v1/reports/" + name + "?" + behaviourPeriod + "&limit=1000&" + parameters)
		if len(shown) == 0 || withheld == 0 && (name == "journeys" || name == "operation_frequency" || name == "usage_orientation") {
			t.Fatalf("%d rows expected, %d withheld: the data set proves nothing", len(shown), withheld)
		}
		compare(t, a.Rows, bare(shown))
		if a.Suppressed.Groups != withheld {
			t.Errorf("%d groups withheld, want %d", a.Suppressed.Groups, withheld)
		}
		if len(a.Columns) != len(a.Rows[0]) {
			t.Errorf("%d columns are described, a row has %d", len(a.Columns), len(a.Rows[0]))
		}
		for _, remark := range a.Remarks {
			if remark.Name == "" || remark.Text.JA == "" || remark.Text.EN == "" {
				t.Errorf("%+v", remark)
			}
		}
	}

	t.Run("operation_frequency", func(t *testing.T) {
		groups := gathering[[2]string]{}
		for name, all := range group(only(seen, "operation", "custom"), func(e event) (string, bool) { return operationOf(e), true }) {
			for _, own := range bySubject(all) {
				b, least := bucket(len(own))
				groups.add([2]string{name, b}, own, len(own), least)
			}
		}
		rows, counts := groups.rows(func(k [2]string, x *gathered) row {
			return row{"name": k[0], "times": k[1], "users": people(x.who), "count": x.count}
		})
		shown, withheld := ranked(rows, counts, "name", "_least")
		check(t, "operation_frequency?", shown, withheld)
	})

	t.Run("operation_adoption", func(t *testing.T) {
		for _, unit := range []string{"day", "week", "month"} {
			for _, operation := range []string{"*", "share", "signup"} {
				groups := gathering[[2]string]{}
				for name, all := range group(lasting(only(seen, "operation", "custom")), func(e event) (string, bool) {
					return operationOf(e), operation == "*" || operationOf(e) == operation
				}) {
					for _, own := range bySubject(all) {
						groups.add([2]string{unitOf(unit, own[0].at).Format(time.RFC3339), name}, own, 0, 0)
					}
				}
				rows, counts := groups.rows(func(k [2]string, x *gathered) row {
					return row{"time": k[0], "name": k[1], "new_users": people(x.who)}
				})
				shown, withheld := ranked(rows, counts, "time", "name")
				total := map[string]int{}
				for _, r := range shown {
					total[r["name"].(string)] += r["new_users"].(int)
					r["users_so_far"] = total[r["name"].(string)]
				}
				parameters := "interval=" + unit
				if operation != "*" {
					parameters += "&operation=" + operation
				}
				check(t, "operation_adoption?"+parameters, shown, withheld)
			}
		}
	})

	t.Run("operation_sequences", func(t *testing.T) {
		groups := gathering[[3]string]{}
		for _, s := range sessionsOf(only(seen, "operation", "custom")) {
			for i := range s {
				if i+1 < len(s) {
					groups.add([3]string{operationOf(s[i]), operationOf(s[i+1])}, s, 1, 2)
				}
				if i+2 < len(s) {
					groups.add([3]string{operationOf(s[i]), operationOf(s[i+1]), operationOf(s[i+2])}, s, 1, 3)
				}
			}
		}
		rows, counts := groups.rows(func(k [3]string, x *gathered) row {
			return row{"first": k[0], "second": k[1], "third": k[2], "count": x.count, "users": people(x.who)}
		})
		shown, withheld := ranked(rows, counts, "-count", "_least", "first", "second", "third")
		check(t, "operation_sequences?", shown, withheld)
	})

	t.Run("funnel", func(t *testing.T) {
		for parameters, tc := range map[string]struct {
			steps  []func(event) bool
			window time.Duration
		}{
			"step=page:/&step=page*:/item/*&step=purchase": {[]func(event) bool{viewOf("/"), viewLike("/item/*"), is("purchase")}, 24 * time.Hour},
			"step=page:/list&step=operation:export&step=event:signup&window=7d": {[]func(event) bool{
				viewOf("/list"), operationNamed("export"), func(e event) bool { return e.custom == "signup" },
			}, 7 * 24 * time.Hour},
			"step=search&step=ad:spring&step=click:spring&window=30m": {[]func(event) bool{
				is("search"), func(e event) bool { return e.ad == "spring" }, func(e event) bool { return e.ad == "spring" && e.click },
			}, 30 * time.Minute},
			// One event is one step, though it is of both kinds; and what is of the same millisecond follows by its id.
			"step=page*:/item/*&step=page*:*&step=page:/item/2&step=page:/item/2&window=1s": {[]func(event) bool{
				viewLike("/item/*"), is("page_view"), viewOf("/item/2"), viewOf("/item/2"),
			}, time.Second},
			"step=operation*:*r*&step=search&window=14d": {[]func(event) bool{
				func(e event) bool { return strings.Contains(e.operation, "r") }, is("search"),
			}, 14 * 24 * time.Hour},
		} {
			var kinds []string
			values, err := url.ParseQuery(parameters)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range values["step"] {
				kind, _, _ := strings.Cut(s, ":")
				kinds = append(kinds, kind)
			}
			rows, counts := funnel(seen, kinds, tc.steps, tc.window, way)
			shown, withheld := ranked(rows, counts, "step")
			check(t, "funnel?"+parameters, shown, withheld)
			check(t, "funnel?strict=order&"+parameters, shown, withheld)
			rows, counts = funnel(seen, nil, tc.steps, tc.window, anyWay)
			shown, withheld = ranked(rows, counts, "step")
			check(t, "funnel?strict=any&"+parameters, shown, withheld)
		}
	})

	t.Run("retention", func(t *testing.T) {
		for _, unit := range []string{"day", "week", "month"} {
			later := func(a, b time.Time) int {
				switch unit {
				case "week":
					return daysBetween(a, b) / 7
				case "month":
					return b.Year()*12 + int(b.Month()) - a.Year()*12 - int(a.Month())
				}
				return daysBetween(a, b)
			}
			type cell struct {
				cohort string
				offset int
			}
			groups := gathering[cell]{}
			for _, own := range bySubject(lasting(seen)) {
				first := unitOf(unit, own[0].at)
				for _, e := range own {
					groups.add(cell{first.Format(time.RFC3339), later(first, unitOf(unit, e.at))}, []event{e}, 0, 0)
				}
			}
			rows, counts := groups.rows(func(k cell, x *gathered) row {
				return row{"cohort": k.cohort, "offset": k.offset, "people": people(x.who), "share": float64(people(x.who)) / float64(people(groups[cell{k.cohort, 0}].who))}
			})
			shown, withheld := ranked(rows, counts, "cohort", "offset")
			check(t, "retention?unit="+unit, shown, withheld)
		}
	})

	t.Run("journeys", func(t *testing.T) {
		acts := only(seen, "page_view", "operation", "custom")
		node := func(e event) [2]string {
			switch e.kind {
			case "page_view":
				return [2]string{"page", e.path}
			case "custom":
				return [2]string{"event", e.custom}
			}
			return [2]string{"operation", e.operation}
		}
		for parameters, tc := range map[string]struct {
			match func(event) bool
			back  bool
			steps int
		}{
			"":                           {func(event) bool { return true }, false, 3},
			"start=page:/list&steps=5":   {viewOf("/list"), false, 5},
			"start=page*:/item/*":        {viewLike("/item/*"), false, 3},
			"end=operation:export":       {operationNamed("export"), true, 3},
			"end=event:signup&steps=1":   {func(e event) bool { return e.custom == "signup" }, true, 1},
			"start=operation*:*&steps=2": {is("operation"), false, 2},
		} {
			type edge struct {
				level    int
				from, to [2]string
			}
			groups := gathering[edge]{}
			for _, s := range sessionsOf(acts) {
				at := slices.IndexFunc(s, tc.match)
				if tc.back {
					for at = len(s) - 1; at >= 0 && !tc.match(s[at]); at-- {
					}
				}
				for level := 1; at >= 0 && level <= tc.steps; level++ {
					from := at + level - 1
					if tc.back {
						from = at - level
					}
					if from >= 0 && from+1 < len(s) {
						groups.add(edge{level, node(s[from]), node(s[from+1])}, s, 1, 0)
					}
				}
			}
			rows, counts := groups.rows(func(k edge, x *gathered) row {
				return row{"level": k.level, "from_kind": k.from[0], "from": k.from[1], "to_kind": k.to[0], "to": k.to[1], "count": x.count, "people": people(x.who)}
			})
			shown, withheld := ranked(rows, counts, "level", "-count", "from_kind", "from", "to_kind", "to")
			check(t, "journeys?"+parameters, shown, withheld)
		}
	})

	t.Run("usage_frequency", func(t *testing.T) {
		groups := gathering[[2]string]{}
		for _, own := range bySubject(lasting(seen)) {
			days := map[time.Time]bool{}
			for _, e := range own {
				days[e.day()] = true
			}
			b, least := bucket(len(days))
			groups.add([2]string{"days", b}, own, 0, least)
			b, least = bucket(len(sessionsOf(own)))
			groups.add([2]string{"sessions", b}, own, 0, least)
		}
		rows, counts := groups.rows(func(k [2]string, x *gathered) row {
			return row{"measure": k[0], "times": k[1], "visitors": people(x.who)}
		})
		shown, withheld := ranked(rows, counts, "measure", "_least")
		withShares(shown, "visitors", func(r row) string { return r["measure"].(string) })
		check(t, "usage_frequency?", shown, withheld)
	})

	t.Run("usage_orientation", func(t *testing.T) {
		groups := gathering[[2]string]{}
		add := func(kind string, events []event, name func(event) string) {
			for _, e := range events {
				groups.add([2]string{kind, name(e)}, []event{e}, 1, 0)
			}
		}
		none := func(event) string { return "" }
		add("page", only(seen, "page_view"), func(e event) string { return "/" + strings.Split(e.path, "/")[1] })
		add("operation", only(seen, "operation"), func(e event) string { return e.operation })
		add("event", only(seen, "custom"), func(e event) string { return e.custom })
		add("search", only(seen, "search"), none)
		add("ad", only(seen, "ad_view"), func(e event) string { return e.ad })
		add("purchase", only(seen, "purchase"), none)
		groups[[2]string{"purchase", ""}].count = len(lastSent(seen))
		rows, counts := groups.rows(func(k [2]string, x *gathered) row {
			return row{"kind": k[0], "name": k[1], "count": x.count, "visitors": people(x.who)}
		})
		shown, withheld := ranked(rows, counts, "-count", "kind", "name")
		withShares(shown, "count", func(row) string { return "" })
		check(t, "usage_orientation?", shown, withheld)
	})

	t.Run("with a filter and a comparison", func(t *testing.T) {
		jp := slices.DeleteFunc(slices.Clone(seen), func(e event) bool { return e.country != "JP" })
		rows, counts := funnel(jp, []string{"page", "page*"}, []func(event) bool{viewOf("/"), viewLike("/item/*")}, 24*time.Hour, way)
		shown, withheld := ranked(rows, counts, "step")
		check(t, "funnel?step=page:/&step=page*:/item/*&filter=country:JP", shown, withheld)
		a := d.read("/v1/reports/funnel?purpose=usage_based_development&site=shop&from=2026-10-29&to=2026-11-05&step=page:/&step=page*:/item/*&compare=previous_period")
		before := d.read("/v1/reports/funnel?purpose=usage_based_development&site=shop&from=2026-10-21&to=2026-10-28&step=page:/&step=page*:/item/*")
		for i, r := range a.Rows {
			if r["people_before"] != before.Rows[i]["people"] || r["seconds_before"] != before.Rows[i]["seconds"] {
				t.Errorf("step %v: %v people before, want %v", r["step"], r["people_before"], before.Rows[i]["people"])
			}
		}
	})
}

// withShares gives every row its share of the rows that are shown.
func withShares(shown []row, measure string, of func(row) string) {
	total := map[string]int{}
	for _, r := range shown {
		total[of(r)] += r[measure].(int)
	}
	for _, r := range shown {
		r["share"] = float64(r[measure].(int)) / float64(total[of(r)])
	}
}

func TestABehaviourThatCannotBeAskedForIsRefusedByName(t *testing.T) {
	db := testkit.ClickHouse(t)
	d := newDesk(t, db)
	key := d.create([]string{"in_service_recommendation", "customer_support"}, "shop")
	const recommend = "?site=shop&purpose=in_service_recommendation&"
	for request, want := range map[string]struct {
		status int
		field  string
	}{
		"funnel" + recommend + "step=operation:a":                                            {400, "step"},
		"funnel" + recommend:                                                                 {400, "step"},
		"funnel" + recommend + strings.Repeat("&step=operation:a", 11):                       {400, "step"},
		"funnel" + recommend + "step=operation:a&step=canary:b":                              {400, "step"},
		"funnel" + recommend + "step=operation:a&step=operation":                             {400, "step"},
		"funnel" + recommend + "step=operation:a&step=operation:":                            {400, "step"},
		"funnel" + recommend + "step=operation:a&step=operation**:b":                         {400, "step"},
		"funnel" + recommend + "step=operation:a&step=search:canary":                         {400, "step"},
		"funnel" + recommend + "step=operation:a&step=purchase*":                             {400, "step"},
		"funnel" + recommend + "step=operation:a&step=operation:%00":                         {400, "step"},
		"funnel" + recommend + "step=operation:a&step=operation:%ff":                         {400, "step"},
		"funnel" + recommend + "step=operation:a&step=operation:" + strings.Repeat("x", 600): {400, "step"},
		"funnel" + recommend + "step=operation:a&step=operation:b&window=canary":             {400, "window"},
		"funnel" + recommend + "step=operation:a&step=operation:b&window=0d":                 {400, "window"},
		"funnel" + recommend + "step=operation:a&step=operation:b&window=91d":                {400, "window"},
		"funnel" + recommend + "step=operation:a&step=operation:b&window=99999d":             {400, "window"},
		"funnel" + recommend + "step=operation:a&step=operation:b&window=1h&window=2h":       {400, "window"},
		"funnel" + recommend + "step=operation:a&step=operation:b&strict=canary":             {400, "strict"},
		"retention" + recommend + "unit=canary":                                              {400, "unit"},
		"retention" + recommend + "step=page:/":                                              {400, "step"},
		"operation_adoption" + recommend + "operation=%00":                                   {400, "operation"},
		"operation_adoption" + recommend + "interval=canary":                                 {400, "interval"},
		"journeys" + recommend + "start=search":                                              {400, "start"},
		"journeys" + recommend + "start=page:/&end=page:/":                                   {400, "end"},
		"journeys" + recommend + "start=page:/&start=page:/canary":                           {400, "start"},
		"journeys" + recommend + "steps=6":                                                   {400, "steps"},
		"live" + recommend + "from=2026-10-20":                                               {400, "from"},
		"live" + recommend + "compare=previous_period":                                       {400, "compare"},

		// A step needs the category that it tells of, and no other.
		"funnel" + recommend + "step=operation:a&step=event:b":                        {200, ""},
		"funnel" + recommend + "step=operation:a&step=page:/canary":                   {403, "path"},
		"funnel" + recommend + "step=operation:a&step=purchase":                       {403, "order_key"},
		"funnel" + recommend + "step=operation:a&step=search":                         {403, "search_category"},
		"funnel" + recommend + "step=operation:a&step=click:canary":                   {403, "ad_id"},
		"funnel?site=shop&purpose=customer_support&step=operation:a&step=operation:b": {403, "time"},
		"journeys" + recommend:                                   {403, "path"},
		"usage_orientation" + recommend:                          {403, "path"},
		"operation_sequences" + recommend:                        {200, ""},
		"operation_frequency?site=shop&purpose=customer_support": {200, ""},
		"funnel" + recommend + "step=operation:' OR 1=1 --&step=operation*:%25_%5C{step0:String}{{": {200, ""},
	} {
		request = strings.ReplaceAll(request, " ", "%20")
		status, body := d.get(key, "/v1/reports/"+request)
		if status != want.status || want.field != "" && !strings.Contains(body, `"field":"`+want.field+`"`) {
			t.Errorf("%.120s: %d %s", request, status, body)
		}
		if strings.Contains(body, "canary") {
			t.Errorf("%.120s: it echoes: %s", request, body)
		}
	}
	if strings.Contains(d.log.String(), "canary") {
		t.Error("the log echoes")
	}
}

// What a pattern means is the same in a step as in a filter: only the star stands for anything.
func TestAStepMeansWhatItSays(t *testing.T) {
	db, f := testkit.ClickHouse(t), &facts{masks: []mask{{999_999, bitDevelopment, noon}}}
	for v := range uint64(4 * threshold) {
		paths := []string{"/a_c", "/abc", "/a%c", `/a\c`}
		for n, at := range []time.Time{noon.Add(-time.Minute), noon.Add(-time.Second)} {
			f.events = append(f.events, event{
				id: 2*v + uint64(n) + 1, at: at, received: noon, kind: "page_view", purposes: 1 << bitDevelopment, linkage: "visitor",
				visitor: v + 1, session: v + 1, path: paths[v%4], country: "JP", results: -1,
			})
		}
	}
	f.store(t, db, "shop")
	d := newDesk(t, db)
	for _, step := range []string{"page:/a_c", "page*:/a_c", "page:/a%c", "page*:/a%c*", `page:/a\c`, `page*:*\c`, `page*:/a\*`} {
		a := d.read("/v1/reports/funnel?site=shop&purpose=usage_based_development&" + url.Values{"step": {step, "page*:*"}}.Encode())
		if len(a.Rows) != 2 || a.Rows[0]["people"] != float64(threshold) || a.Rows[1]["people"] != float64(threshold) || a.Rows[1]["seconds"] != 59.0 {
			t.Errorf("%s: %v", step, a.Rows)
		}
	}
	if status, _ := d.get(d.key, "/v1/reports/funnel?site=shop&purpose=usage_based_development&step=page:/a&step=page:/b&explain=true"); status != http.StatusOK {
		t.Errorf("explain: %d", status)
	}
}

// Whatever steps, windows and names are asked for: no 500, no value that comes back, and no status that the contract
// does not name.
func TestNoBehaviourIsAnsweredOutsideTheContract(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d, doc := newDesk(t, db), testkit.ReadContract(t, "query.v1.yaml")
	const mark = "CANARY7f3a"
	step := rapid.OneOf(
		rapid.SampledFrom([]string{"page:/", "page*:*", "operation:export", "operation*:%_*", "event*:news*", "search", "purchase", "ad:spring", "click*:*", "", ":", "*:", "page", "page**:x", "search:x", `page:\`, `page*:\*`, "page:'", "page:{step0:String}", "page:{{.}}", "page:\x00", "page:日本"}),
		rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"page:", "page*:", "operation:", mark + ":"}).Draw(t, "kind") + rapid.String().Draw(t, "value") + mark
		}),
	)
	values := map[string]*rapid.Generator[string]{
		"step": step, "start": step, "end": step,
		"window":    rapid.OneOf(rapid.SampledFrom([]string{"30m", "1d", "90d", "9999s", "0m", "-1d", "1w", "99999999999d", ""}), rapid.String()),
		"strict":    rapid.SampledFrom([]string{"order", "any", "", mark}),
		"unit":      rapid.SampledFrom([]string{"day", "week", "month", "year", "", mark}),
		"steps":     rapid.SampledFrom([]string{"1", "5", "0", "6", "", "x"}),
		"interval":  rapid.SampledFrom([]string{"hour", "day", "week", "month", mark}),
		"operation": rapid.OneOf(rapid.SampledFrom([]string{"export", "", "' OR 1=1 --", `\`, "\x00"}), rapid.String()),
		"segment":   rapid.SampledFrom([]string{"", "a", mark}),
		"filter":    rapid.SampledFrom([]string{"country:JP", "!path*/*", "operation~ex"}),
		"compare":   rapid.SampledFrom([]string{"previous_period", "previous_year"}),
		"sample":    rapid.SampledFrom([]string{"0.5", "1"}),
		"explain":   rapid.SampledFrom([]string{"true", "false"}),
	}
	takes := map[string][]string{
		"funnel": {"step", "window", "strict"}, "retention": {"unit"}, "journeys": {"start", "end", "steps"},
		"operation_adoption": {"interval", "operation"}, "operation_frequency": {}, "operation_sequences": {},
		"usage_frequency": {}, "usage_orientation": {}, "live": {},
	}
	answered := 0
	rapid.Check(t, func(t *rapid.T) {
		report := rapid.SampledFrom(slices.Sorted(maps.Keys(takes))).Draw(t, "report")
		query := url.Values{"site": {"shop"}, "purpose": {"usage_based_development"}}
		if report != "live" {
			query.Set("from", "2026-10-29")
		}
		if report == "funnel" {
			for range rapid.IntRange(1, 4).Draw(t, "steps") {
				query.Add("step", step.Draw(t, "step"))
			}
		}
		names := append(slices.Clone(takes[report]), "filter", "segment", "compare", "sample", "explain")
		if rapid.IntRange(0, 9).Draw(t, "strange") == 0 {
			names = slices.Sorted(maps.Keys(values))
		}
		for range rapid.IntRange(0, 3).Draw(t, "parameters") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			query.Add(name, values[name].Draw(t, "value"))
		}
		w := d.ask(t, doc, d.key, "/v1/reports/"+report+"?"+query.Encode())
		if w.Code >= 500 || strings.Contains(w.Body.String(), mark) {
			t.Errorf("%s: %d %s", query.Encode(), w.Code, w.Body)
		}
		if w.Code == http.StatusOK {
			answered++
		}
	})
	if answered < 10 {
		t.Errorf("%d questions were answered: the others prove little", answered)
	}
	if strings.Contains(d.log.String(), mark) {
		t.Error("the log echoes")
	}
}

func TestAWindowEndsWithItsLastMillisecond(t *testing.T) {
	db, f := testkit.ClickHouse(t), &facts{masks: []mask{{999_999, bitDevelopment, noon}}}
	for v := range uint64(2 * threshold) {
		for n, at := range []time.Time{noon.Add(-time.Hour), noon.Add(-time.Hour/2 + time.Duration(v%2)*time.Millisecond)} {
			f.events = append(f.events, event{
				id: 2*v + uint64(n) + 1, at: at, received: noon, kind: "page_view", purposes: 1 << bitDevelopment, linkage: "visitor",
				visitor: v + 1, session: v + 1, path: []string{"/a", "/b"}[n], country: "JP", results: -1,
			})
		}
	}
	f.store(t, db, "shop")
	d := newDesk(t, db)
	for window, want := range map[string]float64{"30m": threshold, "1800s": threshold, "1801s": 2 * threshold} {
		for _, order := range []string{"order", "any"} {
			a := d.read("/v1/reports/funnel" + ofDevelopment + "&step=page:/a&step=page:/b&window=" + window + "&strict=" + order)
			if len(a.Rows) != 2 || a.Rows[0]["people"] != float64(2*threshold) || a.Rows[1]["people"] != want {
				t.Errorf("%s, %s: %v", window, order, a.Rows)
			}
		}
	}
}

package query_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/query"
)

// crowd are so many visitors with one page view each, at a time of their own, one after the other.
func crowd(first uint64, n int, from time.Time, step time.Duration, change func(i int, e *event)) *facts {
	f := &facts{}
	for i := range n {
		at := from.Add(time.Duration(i) * step)
		e := event{
			id: first + uint64(i), at: at, received: at.Add(time.Second), kind: "page_view", purposes: 1 << bitDevelopment, linkage: "visitor",
			visitor: first + uint64(i), session: first + uint64(i), path: "/", host: "shop.example", country: "JP", class: "mobile", browser: "Safari", os: "iOS", results: -1,
		}
		if change != nil {
			change(i, &e)
		}
		f.events = append(f.events, e)
	}
	return f
}

// guarded is a desk with every defence on, and its defaults.
func guarded(t *testing.T, store query.Store) *desk {
	t.Helper()
	return newDeskOf(t, store, query.Config{NoiseKey: filepath.Join(t.TempDir(), "noise.key")})
}

// same reports whether two answers tell the same numbers.
func same(a, b query.Answer) bool {
	x, _ := json.Marshal([]any{a.Rows, a.Suppressed, a.Coverage, a.Columns})
	y, _ := json.Marshal([]any{b.Rows, b.Suppressed, b.Coverage, b.Columns})
	return string(x) == string(y)
}

const safe = "&site=shop&purpose=usage_based_development&from=2026-11-01&to=2026-11-04"

func TestTheSameQuestionGetsTheSameRelease(t *testing.T) {
	db := testkit.ClickHouse(t)
	day := time.Date(2026, 11, 3, 9, 0, 0, 0, location)
	crowd(1000, 300, day, time.Minute, func(i int, e *event) {
		if i%3 == 0 {
			e.country, e.class = "US", "desktop"
		}
		e.path = []string{"/", "/list", "/item/1"}[i%3]
	}).store(t, db, "shop")
	d := guarded(t, db)
	first := d.read("/v1/reports/devices?filter=path:/&filter=path:/list" + safe)
	if first.Release == nil || first.Release.Reused || len(first.Rows) == 0 {
		t.Fatalf("%+v", first)
	}
	for name, synonym := range map[string]string{
		"repeated":            "filter=path:/&filter=path:/list",
		"in another order":    "filter=path:/list&filter=path:/",
		"twice":               "filter=path:/list&filter=path:/&filter=path:/",
		"a pattern of itself": "filter=path*/list&filter=path:/",
		"a pointless pattern": "filter=path:/list&filter=path:/&filter=!path:/nothing",
		"with a limit":        "filter=path:/&filter=path:/list&limit=10",
		"anything besides":    "filter=path:/&filter=path:/list&filter=country*****",
		"no one is left out":  "filter=path:/&filter=path:/list&filter=!language:fr",
		"the rest":            "filter=!path:/item/1",
	} {
		a := d.read("/v1/reports/devices?" + synonym + safe)
		if !same(a, first) {
			t.Errorf("%s: %v, first %v", name, a.Rows, first.Rows)
		}
		if a.Release.ID != first.Release.ID || !a.Release.Reused {
			t.Errorf("%s: another release %+v", name, a.Release)
		}
	}
	// Another process with the same key, and a release that is lost, tell the same.
	if err := db.Exec(t.Context(), "TRUNCATE TABLE releases"); err != nil {
		t.Fatal(err)
	}
	if a := d.read("/v1/reports/devices?filter=path:/&filter=path:/list" + safe); !same(a, first) || a.Release.Reused {
		t.Errorf("made anew: %v, first %v", a.Rows, first.Rows)
	}
	if other := guarded(t, db).read("/v1/reports/devices?filter=path:/&filter=path:/list" + safe); same(other, first) {
		t.Error("another key tells the same")
	}
	for _, report := range []string{"overview", "timeseries", "pages", "sources", "purchases"} { // all kinds of columns come back from the store as they were
		path := "/v1/reports/" + report + "?compare=previous_period" + safe
		if a, b := d.read(path), d.read(path); !same(a, b) || !b.Release.Reused {
			t.Errorf("%s: %v, then %v", report, a.Rows, b.Rows)
		}
	}
}

func TestAWithdrawalMakesANewRelease(t *testing.T) {
	db := testkit.ClickHouse(t)
	day := time.Date(2026, 11, 3, 9, 0, 0, 0, location)
	crowd(1000, 400, day, time.Minute, nil).store(t, db, "shop")
	d := guarded(t, db)
	const path = "/v1/reports/overview?" + safe
	first := d.read(path)
	if a := d.read(path); !a.Release.Reused || a.Release.ID != first.Release.ID || a.Rows[0]["visitors"] != first.Rows[0]["visitors"] {
		t.Errorf("%+v after %+v", a.Release, first.Release)
	}
	gone := make([]mask, 300)
	for i := range gone {
		gone[i] = mask{1000 + uint64(i), bitDevelopment, noon}
	}
	err := db.Insert(t.Context(), "consent_masks", "late", []clickhouse.Column{
		clickhouse.Gather("site", gone, func(mask) string { return "shop" }),
		clickhouse.Gather("purpose", gone, func(m mask) uint8 { return m.bit }),
		clickhouse.Gather("subject", gone, func(m mask) uint64 { return m.subject }),
		clickhouse.Gather("denied_at", gone, func(m mask) time.Time { return m.at.UTC() }),
	})
	if err != nil {
		t.Fatal(err)
	}
	a := d.read(path)
	if told := a.Rows[0]["visitors"].(float64); a.Release.Reused || told > 200 {
		t.Errorf("%v visitors are told of 100", told)
	}
}

func TestAFilterThatLeavesOutFewHasNoEffect(t *testing.T) {
	db := testkit.ClickHouse(t)
	day := time.Date(2026, 11, 3, 9, 0, 0, 0, location)
	crowd(1000, 400, day, time.Minute, func(i int, e *event) {
		switch {
		case i < 3:
			e.country, e.browser = "FR", "Opera" // each of both filters leaves out the same three
		case i < 150:
			e.country = "US"
		}
	}).store(t, db, "shop")
	for name, d := range map[string]*desk{
		"with noise":    guarded(t, db),
		"without noise": newDeskOf(t, db, query.Config{Exact: true}),
	} {
		t.Run(name, func(t *testing.T) {
			all := d.read("/v1/reports/overview?" + safe)
			for _, filters := range []string{"filter=!country:FR", "filter=!country:FR&filter=!browser:Opera", "filter=!browser*O*a&filter=country~s&filter=country:JP&filter=country:FR"} {
				a := d.read("/v1/reports/overview?" + filters + safe)
				if !same(a, all) || len(a.Release.DroppedFilters) == 0 || a.Release.ID != all.Release.ID {
					t.Errorf("%s: %v and %v, dropped %v", filters, a.Rows, all.Rows, a.Release.DroppedFilters)
				}
			}
			a := d.read("/v1/reports/overview?filter=!country:US&filter=!country:FR" + safe)
			if len(a.Release.DroppedFilters) != 1 || a.Rows[0]["visitors"].(float64) > 300 {
				t.Errorf("%v, dropped %v", a.Rows, a.Release.DroppedFilters)
			}
			if b := d.read("/v1/reports/overview?filter=!country:US" + safe); !same(a, b) {
				t.Errorf("%v and %v", a.Rows, b.Rows)
			}
		})
	}
}

func TestAPeriodThatDiffersByFewGetsTheEarlierAnswer(t *testing.T) {
	db := testkit.ClickHouse(t)
	day := time.Date(2026, 11, 3, 0, 0, 0, 0, location)
	f := crowd(1000, 400, day.Add(9*time.Hour), time.Minute, nil)
	f.events = append(f.events, crowd(2000, 400, day.AddDate(0, 0, -1).Add(9*time.Hour), time.Minute, nil).events...)
	f.store(t, db, "shop")
	for name, d := range map[string]*desk{
		"with noise":    guarded(t, db),
		"without noise": newDeskOf(t, db, query.Config{Exact: true}),
	} {
		t.Run(name, func(t *testing.T) {
			ask := func(from, to string) query.Answer {
				return d.read("/v1/reports/overview?site=shop&purpose=usage_based_development&from=" + from + "&to=" + to)
			}
			first := ask("2026-11-02", "2026-11-03")
			for _, period := range [][2]string{
				{"2026-11-02", "2026-11-04"},                               // a day on which nobody came
				{"2026-11-02T09:05:00-05:00", "2026-11-04T00:00:00-05:00"}, // five who came first are out
				{"2026-11-01", "2026-11-03T15:38:30-05:00"},                // the last one is out
			} {
				a := ask(period[0], period[1])
				if a.Release.ID != first.Release.ID || a.Release.Period == nil || !a.Release.Period.From.Equal(first.From) || !same(a, first) {
					t.Errorf("%v: %v of %+v, first %v", period, a.Rows, a.Release, first.Rows)
				}
			}
			if a := ask("2026-11-03", "2026-11-03"); a.Release.Period != nil || same(a, first) {
				t.Errorf("half of the people: %v of %+v %v", a.Rows, a.Release, a.Release.Period)
			}
		})
	}
	t.Run("too many of nearly the same are refused", func(t *testing.T) {
		d := newDeskOf(t, db, query.Config{Exact: true})
		at := func(day time.Time, quarters int) string {
			return day.Add(9*time.Hour + time.Duration(quarters)*15*time.Minute).UTC().Format(time.RFC3339)
		}
		// The later one begins, the later it ends: of the whole time, none is nearer than another.
		for i := range 18 {
			d.read("/v1/reports/overview?site=shop&purpose=usage_based_development&from=" + at(day.AddDate(0, 0, -1), i) + "&to=" + at(day, i+1))
		}
		status, body := d.get(d.key, "/v1/reports/overview?site=shop&purpose=usage_based_development&from=2026-11-02&to=2026-11-03")
		if status != http.StatusConflict || !strings.Contains(body, "near_duplicate") {
			t.Errorf("%d %s", status, body)
		}
		if !slices.ContainsFunc(audits(t, db), func(r record) bool { return r.result == "near_duplicate" }) {
			t.Error("the refusal left no record")
		}
	})
}

// Otherwise one could ask for all of them, and average.
func TestCoverageIsToldTheSameByEveryReport(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d := guarded(t, db)
	told := map[string][]string{}
	for _, report := range query.Reports() {
		path := "/v1/reports/" + report + "?purpose=usage_based_development&" + period + needs[report]
		if slices.Contains(timeless, report) {
			continue
		}
		coverage, err := json.Marshal(d.read(path).Coverage)
		if err != nil {
			t.Fatal(err)
		}
		told[string(coverage)] = append(told[string(coverage)], report)
	}
	if len(told) != 1 {
		t.Errorf("it is told in %d ways: %v", len(told), told)
	}
	for coverage := range told {
		if strings.Contains(coverage, `"included":null`) {
			t.Error("it is withheld: the data set proves nothing")
		}
	}
}

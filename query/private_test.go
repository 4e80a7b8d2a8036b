package query_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/query"
	"github.com/sekisho/sekisho/query/access"
)

// office is a desk with a key that may release.
func office(t *testing.T, store query.Store, budget query.Budget) *desk {
	t.Helper()
	d := newDeskOf(t, store, query.Config{NoiseKey: filepath.Join(t.TempDir(), "noise.key"), Budget: budget})
	key, err := access.CreateKey(d.grants, "office", access.Grant{
		Roles: []access.Role{access.Officer}, Purposes: []string{"usage_based_development", "contract_management"}, Sites: []string{"shop"},
	}, rand.Reader, noon)
	if err != nil {
		t.Fatal(err)
	}
	d.key = key
	return d
}

const twoDays = "site=shop&purpose=usage_based_development&from=2026-11-02&to=2026-11-03"

func TestAReleaseIsBoundedAndPaidForOnce(t *testing.T) {
	db := testkit.ClickHouse(t)
	f := crowd(1000, 700, time.Date(2026, 11, 3, 1, 0, 0, 0, location), time.Minute, func(i int, e *event) {
		if e.path = "/item/1"; i == 0 {
			e.path = "/canary"
		}
	})
	// One person alone sees a page a thousand times on each day: that counts as three, and as one day.
	for i := range 2000 {
		e := f.events[5]
		e.id, e.at, e.path = uint64(100_000+i), e.at.AddDate(0, 0, -i%2), "/often"
		f.events = append(f.events, e)
	}
	f.store(t, db, "shop")
	d, doc := office(t, db, query.Budget{}), testkit.ReadContract(t, "query.v1.yaml")

	const path = "/v1/reports/pages?release=dp&epsilon=0.5&" + twoDays
	a := d.read(path)
	if len(a.Rows) != 1 || a.Rows[0]["path"] != "/item/1" {
		t.Fatalf("%v: a page that one person saw is told, or one of 699 is not", a.Rows)
	}
	if days, events := a.Rows[0]["visitor_days"].(float64), a.Rows[0]["events"].(float64); math.Abs(days-699) > 32*12 || math.Abs(events-699) > 96*12 {
		t.Errorf("%v days and %v events, of 699", days, events)
	}
	if p := a.Private; p == nil || p.Epsilon != "0.5" || p.Delta != "0.0000001" || p.Left.Epsilon != "0.5" || p.Left.Delta != "0.0000009" || p.Threshold < 500 || p.DayScale != "32" {
		t.Errorf("%+v", a.Private)
	}
	w := d.ask(t, doc, d.key, path)
	var again query.Answer
	if err := json.Unmarshal(w.Body.Bytes(), &again); err != nil {
		t.Fatal(err)
	}
	if !again.Release.Reused || again.Release.ID != a.Release.ID || again.Private.Left != a.Private.Left || again.Rows[0]["events"] != a.Rows[0]["events"] {
		t.Errorf("the same release: %+v, %+v, first %+v", again.Release, again.Private, a.Private)
	}
	// Also when the data has changed: what was released is out.
	more := crowd(900_000, 500, time.Date(2026, 11, 3, 2, 0, 0, 0, location), time.Second, func(_ int, e *event) { e.path = "/item/1" })
	w2 := &world{t: t, db: db}
	w2.pour("shop", more.events)
	if b := d.read(path); b.Release.ID != a.Release.ID {
		t.Error("new data makes a new release for nothing")
	}
	if status, body := d.get(d.key, strings.Replace(path, "0.5", "0.500000001", 1)); status != http.StatusTooManyRequests || !strings.Contains(body, `"budget_exhausted"`) {
		t.Errorf("more than is left: %d %s", status, body)
	}
	if b := d.read(strings.Replace(path, "0.5", "0.25", 1)); b.Private.Left.Epsilon != "0.25" {
		t.Errorf("what was refused was spent: %+v left", b.Private.Left)
	}
	// Another purpose and other days have their own.
	if b := d.read("/v1/reports/timeseries?release=dp&epsilon=1&site=shop&purpose=usage_based_development&from=2026-10-30&to=2026-11-01"); len(b.Rows) != 3 || b.Private.Left.Epsilon != "0" || b.Private.Delta != "0" {
		t.Errorf("%v, %+v", b.Rows, b.Private)
	}
	for _, report := range []string{"sources", "locations", "devices", "operations", "searches"} {
		if w := d.ask(t, doc, d.key, "/v1/reports/"+report+"?release=dp&epsilon=0.01&format=json&filter=country:JP&site=shop&purpose=usage_based_development&from=2026-11-04&to=2026-11-04"); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", report, w.Code, w.Body)
		}
	}
}

func TestWhatIsNoReleaseIsRefusedAndCostsNothing(t *testing.T) {
	db := testkit.ClickHouse(t)
	d := office(t, db, query.Budget{Epsilon: "0.3", Delta: "0.001"})
	analyst := d.create([]string{"usage_based_development"}, "shop")
	for name, tc := range map[string]struct {
		key, path   string
		status      int
		code, field string
	}{
		"an analyst":               {analyst, "/v1/reports/pages?release=dp&epsilon=0.1&" + twoDays, 403, "forbidden", ""},
		"an officer who reads":     {d.key, "/v1/reports/pages?" + twoDays, 403, "forbidden", ""},
		"another kind":             {d.key, "/v1/reports/pages?release=canary&epsilon=0.1&" + twoDays, 400, "invalid", "release"},
		"no epsilon":               {d.key, "/v1/reports/pages?release=dp&" + twoDays, 400, "invalid", "epsilon"},
		"epsilon of nothing":       {d.key, "/v1/reports/pages?release=dp&epsilon=0.0&" + twoDays, 400, "invalid", "epsilon"},
		"epsilon that is not one":  {d.key, "/v1/reports/pages?release=dp&epsilon=canary&" + twoDays, 400, "invalid", "epsilon"},
		"epsilon beyond reason":    {d.key, "/v1/reports/pages?release=dp&epsilon=10.1&" + twoDays, 400, "invalid", "epsilon"},
		"epsilon by itself":        {d.key, "/v1/reports/pages?epsilon=0.1&" + twoDays, 400, "invalid", "epsilon"},
		"a report that is not one": {d.key, "/v1/reports/purchases?release=dp&epsilon=0.1&" + twoDays, 400, "invalid", "release"},
		"a sample":                 {d.key, "/v1/reports/pages?release=dp&epsilon=0.1&sample=0.5&" + twoDays, 400, "invalid", "release"},
		"by the hour":              {d.key, "/v1/reports/timeseries?release=dp&epsilon=0.1&interval=hour&" + twoDays, 400, "invalid", "interval"},
		"today":                    {d.key, "/v1/reports/pages?release=dp&epsilon=0.1&site=shop&purpose=usage_based_development&from=2026-11-02&to=2026-11-05", 400, "invalid", "to"},
		"half a day":               {d.key, "/v1/reports/pages?release=dp&epsilon=0.1&site=shop&purpose=usage_based_development&from=2026-11-02&to=2026-11-03T12:00:00Z", 400, "invalid", "to"},
	} {
		status, body := d.get(tc.key, tc.path)
		var problem struct{ Code, Field string }
		if err := json.Unmarshal([]byte(body), &problem); err != nil {
			t.Fatal(err)
		}
		if status != tc.status || problem.Code != tc.code || tc.field != "" && problem.Field != tc.field || strings.Contains(body, "canary") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if a := d.read("/v1/reports/pages?release=dp&epsilon=0.3&" + twoDays); a.Private.Left.Epsilon != "0" {
		t.Errorf("%+v", a.Private)
	}
}

// Many ask at once, through two processes, for different releases of the same days: together they never get more than
// there is.
func TestTheBudgetIsNeverOverspent(t *testing.T) {
	db := testkit.ClickHouse(t)
	desks := []*desk{office(t, db, query.Budget{}), office(t, db, query.Budget{})}
	var (
		mu     sync.Mutex
		passed []string
		work   sync.WaitGroup
	)
	epsilons := []string{"0.3", "0.31", "0.32", "0.33", "0.34", "0.35", "0.36", "0.37", "0.38", "0.39"}
	for i, epsilon := range epsilons {
		work.Go(func() {
			status, body := desks[i%2].get(desks[i%2].key, "/v1/reports/timeseries?release=dp&epsilon="+epsilon+"&"+twoDays)
			mu.Lock()
			defer mu.Unlock()
			switch status {
			case http.StatusOK:
				passed = append(passed, epsilon)
			case http.StatusTooManyRequests:
			default:
				t.Errorf("%d %s", status, body)
			}
		})
	}
	work.Wait()
	if len(passed) > 3 {
		t.Errorf("%v passed, more than 1 in all", passed)
	}
	// What was refused at once is not lost: as much as fits can still be had.
	fits := 3 - len(passed)
	for range fits {
		if status, body := desks[0].get(desks[0].key, "/v1/reports/timeseries?release=dp&epsilon="+[]string{"0.29", "0.28", "0.27"}[fits-1]+"&"+twoDays); status != http.StatusOK && len(passed) == 0 {
			t.Errorf("nothing was released, and nothing is left: %d %s", status, body)
		}
	}
}

func TestWhatCannotBeWrittenDownIsNotReleased(t *testing.T) {
	db := testkit.ClickHouse(t)
	d := office(t, deaf{Store: db, insert: errors.New("canary")}, query.Budget{})
	if status, body := d.get(d.key, "/v1/reports/timeseries?release=dp&epsilon=0.1&"+twoDays); status < 500 || strings.Contains(body, "canary") || strings.Contains(body, "visitor_days") {
		t.Errorf("%d %s", status, body)
	}
}

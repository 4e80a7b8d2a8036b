package query_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/query"
)

func TestFiltersCompareInEveryWay(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d := newDesk(t, db)
	seen, _ := f.visible(bitDevelopment, time.Date(2026, 10, 29, 0, 0, 0, 0, location), time.Date(2026, 11, 6, 0, 0, 0, 0, location))
	for name, tc := range map[string]struct {
		report, filters string
		match           func(event) bool
	}{
		"contains, in any case":              {"devices", "filter=region~TOK", func(e event) bool { return e.region == "Tokyo" }},
		"contains not":                       {"devices", "filter=!browser~fire", func(e event) bool { return e.browser != "Firefox" }},
		"pattern":                            {"operations", "filter=path*/item/*", func(e event) bool { return strings.HasPrefix(e.path, "/item/") }},
		"pattern not":                        {"operations", "filter=!path*/item/*", func(e event) bool { return !strings.HasPrefix(e.path, "/item/") }},
		"signs of SQL in a pattern are text": {"operations", "filter=path*/it_m/%25", func(event) bool { return false }},
		"alternatives of different kinds":    {"operations", "filter=path*/item/*&filter=path:/list", func(e event) bool { return strings.HasPrefix(e.path, "/item/") || e.path == "/list" }},
		"what a value may not be combines":   {"operations", "filter=path*/item/*&filter=!path:/item/1", func(e event) bool { return e.path == "/item/2" }},
		"a pattern on a column of the answer": {
			"locations", "filter=country*?*&filter=country*J*", func(e event) bool { return strings.HasPrefix(e.country, "J") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			matching := slices.DeleteFunc(slices.Clone(seen), func(e event) bool { return !tc.match(e) })
			rows, counts := expected[tc.report](matching)
			shown, _ := released(tc.report, rows, counts)
			if (len(shown) == 0) != (len(matching) == 0) {
				t.Fatal("nothing is expected")
			}
			compare(t, d.read("/v1/reports/"+tc.report+"?purpose=usage_based_development&"+period+"&"+tc.filters).Rows, shown)
		})
	}
}

func TestAReportIsComparedWithAnEarlierPeriod(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d := newDesk(t, db)
	day := func(month time.Month, n int) time.Time { return time.Date(2026, month, n, 0, 0, 0, 0, location) }
	visible := func(from, to time.Time) []event {
		seen, _ := f.visible(bitDevelopment, from, to)
		return seen
	}
	// Three days of winter time against the three before, in which the clocks went back.
	now, before := visible(day(11, 2), day(11, 5)), visible(day(10, 30), day(11, 2))
	const path = "?purpose=usage_based_development&site=shop&from=2026-11-02&to=2026-11-04&compare=previous_period"
	for _, report := range []string{"overview", "timeseries", "devices", "purchases"} {
		t.Run(report, func(t *testing.T) {
			rows, counts := expected[report](now)
			shown, _ := released(report, rows, counts)
			rows, counts = expected[report](before)
			earlier, _ := released(report, rows, counts)
			a := d.read("/v1/reports/" + report + path)
			if a.Compared == nil || !a.Compared.From.Equal(day(10, 30)) || !a.Compared.To.Equal(day(11, 2)) {
				t.Fatalf("compared with %+v", a.Compared)
			}
			matched := 0
			for i, r := range shown {
				var was row
				for _, e := range earlier {
					if sameKey(report, r, e) {
						was = e
					}
				}
				for name, value := range r {
					if _, measure := measured(value); !measure {
						continue
					}
					if was == nil || was[name] == nil {
						if a.Rows[i][name+"_before"] != nil || a.Rows[i][name+"_change"] != nil {
							t.Errorf("row %d: %s was %v, and nothing was before", i, name, a.Rows[i][name+"_before"])
						}
						continue
					}
					matched++
					b, _ := measured(was[name])
					n, _ := measured(value)
					got, _ := measured(a.Rows[i][name+"_before"])
					if math.Abs(got-b) > 1e-4 {
						t.Errorf("row %d: %s was %v, want %v", i, name, a.Rows[i][name+"_before"], was[name])
					}
					change, _ := measured(a.Rows[i][name+"_change"])
					if b != 0 && math.Abs(change-(n-b)/b) > 1e-3 {
						t.Errorf("row %d: %s changed by %v, want %v", i, name, change, (n-b)/b)
					}
				}
			}
			if matched == 0 {
				t.Fatal("nothing is compared")
			}
			if len(a.Columns) != len(a.Rows[0]) {
				t.Errorf("%d columns are described, a row has %d", len(a.Columns), len(a.Rows[0]))
			}
		})
	}
	t.Run("a period of its own, and the year before", func(t *testing.T) {
		a := d.read("/v1/reports/overview?purpose=usage_based_development&site=shop&from=2026-11-02&to=2026-11-04&compare_from=2026-10-29&compare_to=2026-10-31")
		if !a.Compared.From.Equal(day(10, 29)) || !a.Compared.To.Equal(day(11, 1)) || a.Rows[0]["visitors_before"] == nil {
			t.Errorf("%+v %v", a.Compared, a.Rows[0])
		}
		a = d.read("/v1/reports/overview?purpose=usage_based_development&site=shop&from=2026-11-02&to=2026-11-04&compare=previous_year")
		if !a.Compared.From.Equal(time.Date(2025, 11, 2, 0, 0, 0, 0, location)) || a.Rows[0]["visitors_before"] != nil {
			t.Errorf("%+v %v", a.Compared, a.Rows[0])
		}
	})
}

// sameKey tells whether two rows are of one group; those of a series, whether they are the same day of their periods.
func sameKey(report string, a, b row) bool {
	for name, value := range a {
		s, isText := value.(string)
		switch {
		case !isText || name == "revenue":
		case name == "time":
			at, _ := time.Parse(time.RFC3339, s)
			other, _ := time.Parse(time.RFC3339, b[name].(string))
			if !at.In(location).AddDate(0, 0, -3).Equal(other) {
				return false
			}
		case b[name] != value:
			return false
		}
	}
	return true
}

func measured(v any) (float64, bool) {
	switch x := v.(type) {
	case int:
		return float64(x), true
	case float64:
		return x, true
	case string:
		var n float64
		_, err := fmt.Sscanf(x, "%g", &n)
		return n, err == nil && !strings.Contains(x, ":") && !strings.HasPrefix(x, "T")
	}
	return 0, false
}

func TestPagesOfAnAnswerMakeTheWhole(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d := newDesk(t, db)
	const path = "/v1/reports/devices?purpose=usage_based_development&" + period
	whole := d.read(path)
	var rows []query.Row
	for cursor, turns := "", 0; ; turns++ {
		a := d.read(path + "&limit=2" + cursor)
		rows = append(rows, a.Rows...)
		if a.Truncated != (a.Next != "") || turns > len(whole.Rows) {
			t.Fatalf("truncated %v, next %q", a.Truncated, a.Next)
		}
		if a.Next == "" {
			break
		}
		cursor = "&cursor=" + a.Next
	}
	if len(whole.Rows) < 3 {
		t.Fatal("there is one page only")
	}
	compare(t, rows, whole.Rows)
}

func TestASampleIsLabelledAndBroughtToTheWhole(t *testing.T) {
	db, f := testkit.ClickHouse(t), &facts{}
	for v := range uint64(2000) {
		f.events = append(f.events, event{
			id: v + 1, at: noon, received: noon, kind: "page_view", purposes: 1 << bitDevelopment, linkage: "visitor",
			visitor: v + 1, session: v + 1, path: "/", country: "JP", results: -1,
		})
	}
	f.masks = []mask{{999_999, bitDevelopment, noon}}
	f.store(t, db, "shop")
	d := newDesk(t, db)
	const path = "/v1/reports/devices?site=shop&purpose=usage_based_development"
	whole, part := d.read(path), d.read(path+"&sample=0.2")
	if whole.Sample != 0 || part.Sample != 0.2 {
		t.Errorf("samples %v and %v", whole.Sample, part.Sample)
	}
	n := part.Rows[0]["visitors"].(float64)
	if whole.Rows[0]["visitors"].(float64) != 2000 || math.Abs(n-2000) > 400 || n == 2000 || math.Mod(n, 5) != 0 {
		t.Errorf("%v visitors, %v of a sample", whole.Rows[0]["visitors"], n)
	}
	if again := d.read(path + "&sample=0.2"); again.Rows[0]["visitors"] != part.Rows[0]["visitors"] {
		t.Error("the same sample gives another answer")
	}
}

func TestWhatIsFinerThanACountryNeedsMorePeople(t *testing.T) {
	db, f := testkit.ClickHouse(t), &facts{}
	for v := range uint64(4 * threshold) {
		f.events = append(f.events, event{
			id: v + 1, at: noon, received: noon, kind: "page_view", purposes: 1 << bitDevelopment, linkage: "visitor",
			visitor: v + 1, session: v + 1, path: "/", country: "JP", region: "Tokyo", class: "mobile", results: -1,
		})
	}
	f.masks = []mask{{999_999, bitDevelopment, noon}}
	f.store(t, db, "shop")
	d := newDeskOf(t, db, query.Config{Threshold: threshold})
	const base = "/v1/reports/%s?site=shop&purpose=usage_based_development"
	for path, want := range map[string]int{
		fmt.Sprintf(base, "devices"):                          threshold,
		fmt.Sprintf(base, "devices") + "&filter=country:JP":   threshold,
		fmt.Sprintf(base, "devices") + "&filter=region:Tokyo": 5 * threshold,
		fmt.Sprintf(base, "locations"):                        5 * threshold,
	} {
		if a := d.read(path); a.Threshold != want || (len(a.Rows) > 0) != (want == threshold) {
			t.Errorf("%s: a threshold of %d, %d rows", path, a.Threshold, len(a.Rows))
		}
	}
}

// A visitor without a cookie has another pseudonym each day: one person is not a crowd.
func TestOnePersonOverManyDaysIsNoGroup(t *testing.T) {
	db, f := testkit.ClickHouse(t), &facts{}
	for n := range uint64(7) {
		f.events = append(f.events, event{
			id: n + 1, at: noon.AddDate(0, 0, -int(n)), received: noon, kind: "page_view", purposes: 1 << bitDevelopment, linkage: "cookieless",
			visitor: n + 1, session: n + 1, path: "/", country: "JP", results: -1,
		})
	}
	f.masks = []mask{{999_999, bitDevelopment, noon}}
	f.store(t, db, "shop")
	d := newDesk(t, db)
	if a := d.read("/v1/reports/devices?site=shop&purpose=usage_based_development"); len(a.Rows) != 0 || a.Suppressed.Groups != 1 || a.Coverage.Included != nil {
		t.Errorf("%+v", a)
	}
}

func TestTheCatalogueTellsWhatAKeyMayAsk(t *testing.T) {
	d := newDesk(t, testkit.ClickHouse(t))
	status, body := d.get(d.create([]string{"customer_support"}, "shop", "gone"), "/v1/catalogue")
	var c query.Catalogue
	if err := json.Unmarshal([]byte(body), &c); status != http.StatusOK || err != nil {
		t.Fatalf("%d %v", status, err)
	}
	if len(c.Sites) != 1 || c.Sites[0].ID != "shop" || len(c.Sites[0].Purposes) != 1 || c.Sites[0].Purposes[0].ID != "customer_support" {
		t.Fatalf("%+v", c.Sites)
	}
	may := c.Sites[0].Purposes[0].Reports
	for _, report := range query.Reports() {
		status, _ := d.get(d.create([]string{"customer_support"}, "shop"), "/v1/reports/"+report+"?site=shop&purpose=customer_support&explain=true"+needs[report])
		if (status == http.StatusForbidden) == slices.Contains(may, report) {
			t.Errorf("%s: %d, and the catalogue lists %v", report, status, may)
		}
	}
	for _, r := range c.Reports {
		if r.Label.JA == "" || r.Label.EN == "" || len(r.Columns) == 0 {
			t.Errorf("%+v", r)
		}
	}
	for _, dimension := range c.Dimensions {
		if dimension.Label.JA == "" || dimension.Label.EN == "" {
			t.Errorf("%+v", dimension)
		}
	}
	if status, _ := d.get("", "/v1/catalogue"); status != http.StatusUnauthorized {
		t.Errorf("without a key: %d", status)
	}
}

func TestAnExplanationTellsHowAndOfNobody(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d := newDesk(t, db)
	status, body := d.get(d.key, "/v1/reports/overview?site=shop&purpose=customer_support&explain=true&filter=!country~CANARY")
	var e query.Explanation
	if err := json.Unmarshal([]byte(body), &e); status != http.StatusOK || err != nil {
		t.Fatalf("%d %s", status, body)
	}
	if e.Source != "raw" || e.Why == "" || !slices.Contains(e.Statements, "totals") || !slices.Contains(e.LeftOut, "revenue") ||
		!slices.Equal(e.Filters, []string{"!country~"}) || strings.Contains(body, "CANARY") {
		t.Errorf("%s", body)
	}
	if all := audits(t, db); len(all) != 1 || all[0].report != "overview" {
		t.Errorf("%+v", all)
	}
}

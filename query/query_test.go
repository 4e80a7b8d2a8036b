package query_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/query"
	"github.com/sekisho/sekisho/query/access"
)

func TestMain(m *testing.M) {
	testkit.EngineMain()
	os.Exit(m.Run())
}

const sites = `
sites:
  - {id: shop, name: Shop, time_zone: ` + zone + `, jurisdiction: jp, policy: default, origins: ["http://localhost:8090"]}
  - {id: other, name: Other, time_zone: Asia/Tokyo, jurisdiction: jp, policy: default, origins: ["http://localhost:8091"]}
`

var noon = time.Date(2026, 11, 5, 12, 0, 0, 0, location)

// desk is a query service over a database, and the keys to it.
type desk struct {
	t      *testing.T
	grants string
	log    *strings.Builder
	query  *query.Query
	key    string // all purposes that tests use, site shop
}

func newDesk(t *testing.T, store query.Store) *desk {
	t.Helper()
	return newDeskOf(t, store, query.Config{Threshold: threshold, FineThreshold: threshold})
}

func newDeskOf(t *testing.T, store query.Store, config query.Config) *desk {
	t.Helper()
	registry, err := site.Parse([]byte(sites))
	if err != nil {
		t.Fatal(err)
	}
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, grants: filepath.Join(t.TempDir(), "grants.json"), log: &strings.Builder{}}
	d.key = d.create([]string{"usage_based_development", "customer_support", "security_incident", "contract_management"}, "shop")
	if config.Grants = d.grants; config.NoiseKey == "" && !config.Exact {
		config.Exact, config.Bare = true, true
	}
	d.query, err = query.New(config, query.Deps{
		Store: store, Sites: registry, Policies: policies, Log: slog.New(slog.NewTextHandler(&locked{w: d.log}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Metrics: prometheus.NewRegistry(), Random: rand.Reader, Now: func() time.Time { return noon },
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

type locked struct {
	mu sync.Mutex
	w  *strings.Builder
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func (d *desk) create(purposes []string, sites ...string) string {
	d.t.Helper()
	key, err := access.CreateKey(d.grants, "test", access.Grant{
		Roles: []access.Role{access.Analyst, access.Exporter}, Purposes: purposes, Sites: sites,
	}, rand.Reader, noon)
	if err != nil {
		d.t.Fatal(err)
	}
	return key
}

// get asks with a key. The body is the whole answer.
func (d *desk) get(key, path string) (int, string) {
	d.t.Helper()
	r := httptest.NewRequestWithContext(d.t.Context(), http.MethodGet, path, nil)
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	w := httptest.NewRecorder()
	d.query.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// read asks for a report that must be answered.
func (d *desk) read(path string) query.Answer {
	d.t.Helper()
	status, body := d.get(d.key, path)
	if status != http.StatusOK {
		d.t.Fatalf("%s: %d %s", path, status, body)
	}
	var a query.Answer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		d.t.Fatal(err)
	}
	return a
}

const period = "site=shop&from=2026-10-29&to=2026-11-05"

// elsewhere names the test that holds a report's golden answer, for those that need facts of their own.
var elsewhere = map[string]string{
	"operation_frequency": "TestBehaviour", "operation_adoption": "TestBehaviour", "operation_sequences": "TestBehaviour",
	"funnel": "TestBehaviour", "retention": "TestBehaviour", "journeys": "TestBehaviour",
	"usage_frequency": "TestBehaviour", "usage_orientation": "TestBehaviour", "live": "TestLive",
	"consent": "TestConsentIsCountedAsItStands", "consent_choices": "TestConsentIsCountedAsItStands",
	"coverage": "TestWhatIsLeftOutIsCountedByKindAndTime", "drops": "TestWhatIsLeftOutIsCountedByKindAndTime",
}

// needs are the parameters without which a report cannot be asked for.
var needs = map[string]string{"funnel": "&step=page*:*&step=operation*:*"}

// timeless are the reports that are not of a period that the caller names.
var timeless = []string{"live"}

func TestGoldenAnswers(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	f.store(t, db, "other")
	d := newDesk(t, db)
	from, to := time.Date(2026, 10, 29, 0, 0, 0, 0, location), time.Date(2026, 11, 6, 0, 0, 0, 0, location)

	for _, report := range query.Reports() {
		if elsewhere[report] != "" {
			continue
		}
		t.Run(report, func(t *testing.T) {
			seen, leftOut := f.visible(bitDevelopment, from, to)
			rows, counts := expected[report](seen)
			shown, withheld := released(report, rows, counts)
			a := d.read("/v1/reports/" + report + "?purpose=usage_based_development&" + period)
			if len(shown) == 0 {
				t.Fatal("nothing is expected: the data set proves nothing")
			}
			compare(t, a.Rows, shown)
			if report != "overview" && a.Suppressed.Groups != withheld {
				t.Errorf("%d groups withheld, want %d", a.Suppressed.Groups, withheld)
			}
			if a.Coverage.Included == nil || int(*a.Coverage.Included) != len(seen) {
				t.Errorf("included %v, want %d", a.Coverage.Included, len(seen))
			}
			for _, l := range a.Coverage.LeftOut {
				if l.Text.JA == "" || l.Text.EN == "" {
					t.Errorf("reason %s has no text", l.Reason)
				}
				if l.Count != nil && int(*l.Count) != leftOut[l.Reason] {
					t.Errorf("%s: %d left out, want %d", l.Reason, *l.Count, leftOut[l.Reason])
				}
				delete(leftOut, l.Reason)
			}
			if len(leftOut) > 0 {
				t.Errorf("not told: %v", leftOut)
			}
			for _, c := range a.Columns {
				if c.Label.JA == "" || c.Label.EN == "" {
					t.Errorf("column %s has no label", c.Name)
				}
			}
			if len(a.Columns) != len(a.Rows[0]) {
				t.Errorf("%d columns are described, a row has %d", len(a.Columns), len(a.Rows[0]))
			}
		})
	}

	t.Run("series in every interval, over the end of daylight saving", func(t *testing.T) {
		seen, _ := f.visible(bitDevelopment, from, to)
		for interval, start := range map[string]func(time.Time) time.Time{
			"day":  startOfDay,
			"hour": func(t time.Time) time.Time { return t.Truncate(time.Hour) },
			"week": func(t time.Time) time.Time {
				return startOfDay(t).AddDate(0, 0, -(int(t.Weekday())+6)%7) // Monday
			},
			"month": func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, location) },
		} {
			rows, counts := series(seen, start)
			shown, withheld := released("timeseries", rows, counts)
			a := d.read("/v1/reports/timeseries?purpose=usage_based_development&interval=" + interval + "&" + period)
			compare(t, a.Rows, shown)
			if a.Suppressed.Groups != withheld || a.Interval != interval {
				t.Errorf("%s: %d withheld, want %d", interval, a.Suppressed.Groups, withheld)
			}
		}
	})

	t.Run("filters", func(t *testing.T) {
		seen, _ := f.visible(bitDevelopment, from, to)
		for name, tc := range map[string]struct {
			report, filters string
			match           func(event) bool
		}{
			"one value":              {"devices", "filter=country:JP", func(e event) bool { return e.country == "JP" }},
			"not":                    {"operations", "filter=!country:JP", func(e event) bool { return e.country != "JP" }},
			"either value":           {"locations", "filter=device:mobile&filter=device:desktop&filter=!browser:Firefox", func(e event) bool { return e.browser != "Firefox" }},
			"two dimensions":         {"overview", "filter=country:JP&filter=device:mobile", func(e event) bool { return e.country == "JP" && e.class == "mobile" }},
			"a column of the answer": {"locations", "filter=country:JP&filter=!region:Osaka", func(e event) bool { return e.country == "JP" && e.region != "Osaka" }},
		} {
			t.Run(name, func(t *testing.T) {
				matching := slices.DeleteFunc(slices.Clone(seen), func(e event) bool { return !tc.match(e) })
				rows, counts := expected[tc.report](matching)
				shown, _ := released(tc.report, rows, counts)
				if len(shown) == 0 {
					t.Fatal("nothing is expected")
				}
				compare(t, d.read("/v1/reports/"+tc.report+"?purpose=usage_based_development&"+period+"&"+tc.filters).Rows, shown)
			})
		}
		t.Run("a page's entries stay those of whole sessions", func(t *testing.T) {
			rows, counts := expected["pages"](seen)
			shown, _ := released("pages", rows, counts)
			shown = slices.DeleteFunc(shown, func(r row) bool { return r["path"] != "/list" })
			compare(t, d.read("/v1/reports/pages?purpose=usage_based_development&"+period+"&filter=path:/list").Rows, shown)
		})
		t.Run("a value that matches nothing", func(t *testing.T) {
			a := d.read("/v1/reports/devices?purpose=usage_based_development&" + period + "&filter=country:ZZ")
			if len(a.Rows) != 0 || a.Suppressed.Groups != 0 {
				t.Errorf("%+v", a)
			}
		})
	})

	t.Run("a purpose sees its own rows and categories", func(t *testing.T) {
		seen, _ := f.visible(bitSupport, from, to)
		rows, counts := expected["operations"](seen)
		shown, _ := released("operations", rows, counts)
		compare(t, d.read("/v1/reports/operations?purpose=customer_support&"+period).Rows, shown)
		a := d.read("/v1/reports/overview?purpose=customer_support&" + period)
		if _, told := a.Rows[0]["revenue"]; told {
			t.Error("support sees revenue")
		}
		if a.Rows[0]["operations"] == nil {
			t.Error("support does not see operations")
		}
	})

	t.Run("a limit cuts and says so", func(t *testing.T) {
		whole := d.read("/v1/reports/locations?purpose=usage_based_development&" + period)
		cut := d.read("/v1/reports/locations?purpose=usage_based_development&limit=1&" + period)
		if whole.Truncated || !cut.Truncated || len(cut.Rows) != 1 || cut.Suppressed.Groups != whole.Suppressed.Groups {
			t.Errorf("truncated %v and %v, %d rows", whole.Truncated, cut.Truncated, len(cut.Rows))
		}
		compare(t, cut.Rows, whole.Rows[:1])
	})

	t.Run("a withdrawal hides at once", func(t *testing.T) {
		before := d.read("/v1/reports/overview?purpose=usage_based_development&" + period)
		more := facts{masks: []mask{{1005, bitDevelopment, noon}, {1006, bitDevelopment, noon}, {1007, bitDevelopment, noon}}}
		f.masks = append(f.masks, more.masks...)
		insert := func(site string, masks []mask) {
			err := db.Insert(t.Context(), "consent_masks", "late/"+site, []clickhouse.Column{
				clickhouse.Gather("site", masks, func(mask) string { return site }),
				clickhouse.Gather("purpose", masks, func(m mask) uint8 { return m.bit }),
				clickhouse.Gather("subject", masks, func(m mask) uint64 { return m.subject }),
				clickhouse.Gather("denied_at", masks, func(m mask) time.Time { return m.at.UTC() }),
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		insert("other", []mask{{1008, bitDevelopment, noon}}) // another site's withdrawal changes nothing here
		compare(t, d.read("/v1/reports/overview?purpose=usage_based_development&"+period).Rows, before.Rows)
		insert("shop", more.masks)
		seen, _ := f.visible(bitDevelopment, from, to)
		rows, _ := expected["overview"](seen)
		after := d.read("/v1/reports/overview?purpose=usage_based_development&" + period)
		compare(t, after.Rows, rows)
		if before.Rows[0]["visitors"].(float64)-after.Rows[0]["visitors"].(float64) != 3 {
			t.Errorf("%v visitors before, %v after", before.Rows[0]["visitors"], after.Rows[0]["visitors"])
		}
	})
}

func TestSmallGroupsAreWithheld(t *testing.T) {
	db := testkit.ClickHouse(t)
	f := &facts{}
	for v := range uint64(threshold - 1) {
		f.events = append(f.events, event{
			id: v + 1, at: noon, received: noon, kind: "page_view", purposes: 1 << bitDevelopment, linkage: "visitor",
			visitor: v + 1, session: v + 1, path: "/", country: "JP", results: -1,
		})
	}
	f.masks = []mask{{999, bitDevelopment, noon}}
	f.store(t, db, "shop")
	d := newDesk(t, db)
	for _, report := range query.Reports() {
		status, body := d.get(d.key, "/v1/reports/"+report+"?site=shop&purpose=usage_based_development"+needs[report])
		if status != http.StatusOK {
			t.Fatalf("%s: %d", report, status)
		}
		var a query.Answer
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			t.Fatal(err)
		}
		if len(a.Rows) != 0 || a.Coverage.Included != nil {
			t.Errorf("%s shows %v, included %v", report, a.Rows, a.Coverage.Included)
		}
		if slices.Contains([]string{"overview", "pages", "locations"}, report) && a.Suppressed.Reason == "" {
			t.Errorf("%s does not say that it withholds", report)
		}
	}
}

func TestARefusalIsPreciseAndRecorded(t *testing.T) {
	db := testkit.ClickHouse(t)
	d := newDesk(t, db)
	narrow := d.create([]string{"customer_support"}, "shop", "gone")
	const base = "/v1/reports/pages?site=shop&purpose=usage_based_development"
	for name, tc := range map[string]struct {
		key, path   string
		status      int
		code, field string
		audited     bool
	}{
		"no key":                       {"", base, 401, "unauthenticated", "Authorization", false},
		"a wrong key":                  {"sk_00000000_" + strings.Repeat("A", 43), base, 401, "unauthenticated", "Authorization", false},
		"a key of the right id":        {narrow[:len(narrow)-43] + strings.Repeat("A", 43), base, 401, "unauthenticated", "Authorization", false},
		"no purpose":                   {d.key, "/v1/reports/pages?site=shop", 400, "purpose_missing", "purpose", false},
		"no site":                      {d.key, "/v1/reports/pages?purpose=usage_based_development", 400, "missing", "site", false},
		"a purpose without a grant":    {narrow, base, 403, "purpose_denied", "purpose", true},
		"a site without a grant":       {d.key, "/v1/reports/pages?site=other&purpose=usage_based_development", 403, "forbidden", "site", true},
		"a site that is not there":     {narrow, "/v1/reports/pages?site=gone&purpose=customer_support", 400, "invalid", "site", false},
		"an unknown purpose":           {d.key, "/v1/reports/pages?site=shop&purpose=canary", 400, "invalid", "purpose", false},
		"a column outside the purpose": {d.key, "/v1/reports/pages?site=shop&purpose=customer_support", 403, "column_denied", "time", true},
		"a filter outside the purpose": {d.key, "/v1/reports/operations?site=shop&purpose=customer_support&filter=path:/canary", 403, "column_denied", "path", true},
		"an unknown report":            {d.key, "/v1/reports/canary?site=shop&purpose=customer_support", 404, "not_found", "", false},
		"an unknown parameter":         {d.key, base + "&canary=1", 400, "undeclared", "", false},
		"a parameter twice":            {d.key, base + "&purpose=customer_support", 400, "invalid", "purpose", false},
		"a bad date":                   {d.key, base + "&from=canary", 400, "invalid", "from", false},
		"an empty period":              {d.key, base + "&from=2026-11-05&to=2026-11-01", 400, "invalid", "from", false},
		"a period too long":            {d.key, base + "&from=2020-01-01", 400, "invalid", "from", false},
		"a filter without a value":     {d.key, base + "&filter=canary", 400, "invalid", "filter", false},
		"an unknown dimension":         {d.key, base + "&filter=canary:1", 400, "invalid", "filter", false},
		"too many filters":             {d.key, base + strings.Repeat("&filter=path:/", 11), 400, "too_long", "filter", false},
		"a filter too long":            {d.key, base + "&filter=path:" + strings.Repeat("x", 600), 400, "too_long", "filter", false},
		"a limit out of range":         {d.key, base + "&limit=1001", 400, "invalid", "limit", false},
		"an interval where none is":    {d.key, base + "&interval=day", 400, "invalid", "interval", false},
		"another method's route":       {d.key, "/v1/reports", 404, "not_found", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			before := audits(t, db)
			status, body := d.get(tc.key, tc.path)
			var problem struct {
				Status             int
				Type, Code, Detail string
				Field              string
			}
			if err := json.Unmarshal([]byte(body), &problem); err != nil {
				t.Fatal(err)
			}
			if status != tc.status || problem.Status != status || problem.Code != tc.code || problem.Field != tc.field || problem.Detail == "" {
				t.Errorf("%d %s", status, body)
			}
			if strings.Contains(body, "canary") {
				t.Errorf("it echoes: %s", body)
			}
			if got := len(audits(t, db)) - len(before); (got == 1) != tc.audited || got > 1 {
				t.Errorf("%d audit records", got)
			}
		})
	}
	if strings.Contains(d.log.String(), "canary") {
		t.Error("the log echoes")
	}
	for _, a := range audits(t, db) {
		if strings.Contains(fmt.Sprint(a), "canary") {
			t.Errorf("the audit echoes: %v", a)
		}
	}
}

// record is an audit record as stored.
type record struct {
	actor, site, purpose, report, policy, result string
	columns, filters                             []string
	rows, suppressed                             uint32
}

func audits(t *testing.T, db *clickhouse.DB) (all []record) {
	t.Helper()
	err := db.Select(t.Context(), `SELECT toString(actor), toString(site), toString(purpose), toString(report), toString(policy), toString(result),
		CAST(columns, 'Array(String)'), CAST(filters, 'Array(String)'), row_count, suppressed FROM audit ORDER BY time, id`, nil, clickhouse.Limits{},
		func(rows clickhouse.Rows) error {
			for rows.Next() {
				var r record
				if err := rows.Scan(&r.actor, &r.site, &r.purpose, &r.report, &r.policy, &r.result, &r.columns, &r.filters, &r.rows, &r.suppressed); err != nil {
					return err
				}
				all = append(all, r)
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryReadLeavesARecord(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d := newDesk(t, db)
	a := d.read("/v1/reports/locations?purpose=usage_based_development&filter=device:mobile&" + period)
	all := audits(t, db)
	if len(all) != 1 {
		t.Fatalf("%d records", len(all))
	}
	r := all[0]
	if r.actor != strings.Split(d.key, "_")[1] || r.site != "shop" || r.purpose != "usage_based_development" || r.report != "locations" ||
		r.policy != "default/2022-09-15" || r.result != "ok" || int(r.rows) != len(a.Rows) || int(r.suppressed) != a.Suppressed.Groups ||
		!slices.Equal(r.columns, []string{"country", "device", "region"}) || !slices.Equal(r.filters, []string{"device"}) {
		t.Errorf("%+v", r)
	}
}

// deaf is a store that fails where it is told to.
type deaf struct {
	query.Store
	insert, selects error
}

func (d deaf) Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error {
	if d.insert != nil {
		return d.insert
	}
	return d.Store.Insert(ctx, table, token, columns)
}

func (d deaf) Select(ctx context.Context, sql string, params map[string]string, limits clickhouse.Limits, scan func(clickhouse.Rows) error) error {
	if d.selects != nil {
		return d.selects
	}
	return d.Store.Select(ctx, sql, params, limits, scan)
}

func TestNoAnswerLeavesWithoutItsRecord(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	const path = "/v1/reports/locations?purpose=usage_based_development&" + period

	d := newDesk(t, deaf{Store: db, insert: errors.New("canary")})
	if status, body := d.get(d.key, path); status != http.StatusServiceUnavailable || strings.Contains(body, "JP") || strings.Contains(body, "canary") {
		t.Errorf("no record: %d %s", status, body)
	}
	d = newDesk(t, deaf{Store: db, selects: errors.New("canary")})
	if status, body := d.get(d.key, path); status != http.StatusInternalServerError || strings.Contains(body, "canary") {
		t.Errorf("a broken store: %d %s", status, body)
	}
	if all := audits(t, db); len(all) != 1 || all[0].result != "internal" {
		t.Errorf("the failed read left %+v", all)
	}
	if status, _ := d.get("", "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("ready without a store: %d", status)
	}
}

func TestKeysAreHashedAndScopedAndRevoked(t *testing.T) {
	db := testkit.ClickHouse(t)
	d := newDesk(t, db)
	file, err := os.ReadFile(d.grants)
	if err != nil {
		t.Fatal(err)
	}
	if secret := d.key[len(d.key)-43:]; strings.Contains(string(file), secret) {
		t.Error("the file holds the key")
	}
	if info, err := os.Stat(d.grants); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	const path = "/v1/reports/locations?site=shop&purpose=usage_based_development"
	if status, _ := d.get(d.key, path); status != http.StatusOK {
		t.Errorf("a good key: %d", status)
	}
	if err := access.RevokeKey(d.grants, strings.Split(d.key, "_")[1]); err != nil {
		t.Fatal(err)
	}
	if status, _ := d.get(d.key, path); status != http.StatusUnauthorized {
		t.Errorf("a revoked key: %d", status)
	}
	if err := access.RevokeKey(d.grants, "ffffffff"); err == nil {
		t.Error("a key that is not there is revoked")
	}
	d.create([]string{"customer_support"}, "shop")
	keys, err := access.Keys(d.grants)
	if err != nil || len(keys) != 1 || keys[0].Purposes[0] != "customer_support" {
		t.Errorf("%+v, %v", keys, err)
	}
	// A file that cannot be understood grants nothing.
	for _, broken := range []string{"{", `{"keys":[{"id":"canary"}]}`, `{"keys":[],"more":1}`} {
		if err := os.WriteFile(d.grants, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, body := d.get(d.key, path); status != http.StatusServiceUnavailable || strings.Contains(body, "canary") {
			t.Errorf("%s: %d %s", broken, status, body)
		}
	}
}

func TestACallerWhoLeavesEndsTheRead(t *testing.T) {
	db := testkit.ClickHouse(t)
	d := newDesk(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/reports/overview?"+url.Values{"site": {"shop"}, "purpose": {"usage_based_development"}}.Encode(), nil)
	r.Header.Set("Authorization", "Bearer "+d.key)
	w := httptest.NewRecorder()
	d.query.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusGatewayTimeout {
		t.Errorf("%d", w.Code)
	}
	if all := audits(t, db); len(all) != 1 || all[0].result != "timeout" {
		t.Errorf("%+v", all)
	}
}

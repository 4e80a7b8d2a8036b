package client_test

import (
	"bytes"
	"crypto/rand"
	"encoding/csv"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sekisho/sekisho/client"
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

// view is a page view by one of many people.
type view struct {
	id, person uint64
	path       string
}

// paths are viewed by so many people each; the last by too few to be told.
var paths = map[string]uint64{"/": 40, "/list": 30, "/item": 20, "/rare": 2}

// serve runs the query service itself over a ClickHouse that holds some page views, and makes keys to it.
func serve(t *testing.T) (server *httptest.Server, create func(...access.Role) *client.Client) {
	t.Helper()
	db := testkit.ClickHouse(t)
	now := time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	var views []view
	for path, people := range paths {
		for person := range people {
			views = append(views, view{uint64(len(views) + 1), person + 1, path})
		}
	}
	at := func(v view) time.Time { return now.Add(-time.Duration(v.id) * time.Minute) }
	err := db.Insert(t.Context(), "events", "views", []clickhouse.Column{
		clickhouse.Gather("site", views, func(view) string { return "shop" }),
		clickhouse.Gather("time", views, at),
		clickhouse.Gather("received_at", views, at),
		clickhouse.Gather("event_id", views, func(v view) uint64 { return v.id }),
		clickhouse.Gather("type", views, func(view) string { return "page_view" }),
		clickhouse.Gather("purposes", views, func(view) uint32 { return 1 << 10 }), // usage_based_development
		clickhouse.Gather("policy", views, func(view) string { return "default/2022-09-15" }),
		clickhouse.Gather("linkage", views, func(view) string { return "visitor" }),
		clickhouse.Gather("session_id", views, func(v view) uint64 { return v.person }),
		clickhouse.Gather("visitor_id", views, func(v view) uint64 { return v.person }),
		clickhouse.Gather("host", views, func(view) string { return "shop.example" }),
		clickhouse.Gather("path", views, func(v view) string { return v.path }),
	})
	if err != nil {
		t.Fatal(err)
	}
	sites, err := site.Parse([]byte(`sites: [{id: shop, name: Shop, time_zone: Asia/Tokyo, jurisdiction: jp, policy: default, origins: ["http://localhost:8090"]}]`))
	if err != nil {
		t.Fatal(err)
	}
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	grants := filepath.Join(t.TempDir(), "grants.json")
	q, err := query.New(query.Config{Grants: grants, Exact: true, Bare: true}, query.Deps{
		Store: db, Sites: sites, Policies: policies, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Random: rand.Reader, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	server = httptest.NewServer(q.Handler())
	t.Cleanup(server.Close)
	return server, func(roles ...access.Role) *client.Client {
		t.Helper()
		key, err := access.CreateKey(grants, "test", access.Grant{
			Roles: roles, Purposes: []string{"usage_based_development", "customer_support"}, Sites: []string{"shop"},
		}, rand.Reader, now)
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.New(server.URL, key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func TestTheClientAndTheServiceUnderstandEachOther(t *testing.T) {
	server, create := serve(t)
	c, analyst := create(access.Analyst, access.Exporter), create(access.Analyst)
	read := client.Read{
		Site: "shop", Purpose: "usage_based_development",
		From: client.Day(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)), To: client.Day(time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)),
	}
	whole, err := c.Report(t.Context(), "pages", read)
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range []string{"/", "/list", "/item"} {
		told, _ := whole.Rows[i].Text("path")
		views, _ := whole.Rows[i].Count("views")
		if told != path || views != int64(paths[path]) {
			t.Errorf("row %d: %v", i, whole.Rows[i])
		}
	}
	if len(whole.Rows) != 3 || whole.Suppressed.Groups != 1 || whole.Threshold != 10 || *whole.Coverage.Included != 92 || whole.TimeZone != "Asia/Tokyo" {
		t.Errorf("%+v", whole)
	}

	t.Run("pages and rows are the whole report", func(t *testing.T) {
		paged := read
		paged.Limit = 1
		var rows []client.Row
		for a, err := range c.Pages(t.Context(), "pages", paged) {
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, a.Rows...)
		}
		if !reflect.DeepEqual(rows, whole.Rows) {
			t.Errorf("pages: %v", rows)
		}
		rows = nil
		for row, err := range c.Rows(t.Context(), "pages", paged) {
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
		}
		if !reflect.DeepEqual(rows, whole.Rows) {
			t.Errorf("rows: %v", rows)
		}
	})
	t.Run("filters", func(t *testing.T) {
		for want, filters := range map[string][]client.Filter{
			"/list":       {client.Is("path", "/list")},
			"/list /item": {client.Is("path", "/list"), client.Is("path", "/item")},
			"/ /item":     {client.Not(client.Is("path", "/list"))},
			"/item":       {client.Contains("path", "TEM")},
			"/list /":     {client.Like("path", "/l*"), client.Like("path", "/")},
		} {
			narrow := read
			narrow.Filters = filters
			a, err := c.Report(t.Context(), "pages", narrow)
			if err != nil {
				t.Fatal(err)
			}
			told := map[string]bool{}
			for _, row := range a.Rows {
				path, _ := row.Text("path")
				told[path] = true
			}
			for path := range strings.FieldsSeq(want) {
				if !told[path] || len(told) != len(strings.Fields(want)) {
					t.Errorf("%v: %v, want %s", filters, told, want)
				}
			}
		}
	})
	t.Run("other reads", func(t *testing.T) {
		compared := read
		compared.Compare, compared.Interval = client.PreviousPeriod, "day"
		a, err := c.Report(t.Context(), "timeseries", compared)
		if err != nil || a.Compared == nil || a.Interval != "day" || len(a.Rows) == 0 {
			t.Fatalf("%+v, %v", a, err)
		}
		if day, ok := a.Rows[len(a.Rows)-1].Time("time"); !ok || day.Format(time.RFC3339) != "2026-11-25T00:00:00+09:00" {
			t.Errorf("%v", a.Rows)
		}
		instants := read
		instants.To = client.At(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC))
		if a, err = c.Report(t.Context(), "pages", instants); err != nil || len(a.Rows) != 0 || a.Rows == nil {
			t.Errorf("%+v, %v", a, err)
		}
		e, err := c.Explain(t.Context(), "pages", read)
		if err != nil || e.Source == "" || e.Why == "" || len(e.Statements) == 0 {
			t.Errorf("%+v, %v", e, err)
		}
		all, err := c.Catalogue(t.Context())
		if err != nil || len(all.Sites) != 1 || len(all.Sites[0].Purposes) != 2 || len(all.Reports) != len(query.Reports()) || len(all.Dimensions) == 0 {
			t.Errorf("%+v, %v", all, err)
		}
	})
	t.Run("exports", func(t *testing.T) {
		var out bytes.Buffer
		if err := c.Export(t.Context(), "pages", read, client.CSV, &out); err != nil {
			t.Fatal(err)
		}
		lines, err := csv.NewReader(&out).ReadAll()
		if err != nil || len(lines) != 4 || lines[1][1] != "/" {
			t.Errorf("%v, %v", lines, err)
		}
		out.Reset()
		if err := c.Export(t.Context(), "pages", read, client.Parquet, &out); err != nil || !bytes.HasPrefix(out.Bytes(), []byte("PAR1")) || !bytes.HasSuffix(out.Bytes(), []byte("PAR1")) {
			t.Errorf("%d bytes, %v", out.Len(), err)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		refusals := map[client.Code]error{}
		ask := func(code client.Code, c *client.Client, report string, change func(*client.Read)) {
			other := read
			change(&other)
			_, refusals[code] = c.Report(t.Context(), report, other)
		}
		ask(client.CodeNotFound, c, "nothing", func(*client.Read) {})
		ask(client.CodePurposeMissing, c, "pages", func(r *client.Read) { r.Purpose = "" })
		ask(client.CodeMissing, c, "pages", func(r *client.Read) { r.Site = "" })
		ask(client.CodePurposeDenied, c, "pages", func(r *client.Read) { r.Purpose = "security_incident" })
		ask(client.CodeColumnDenied, c, "pages", func(r *client.Read) { r.Purpose = "customer_support" })
		ask(client.CodeInvalid, c, "pages", func(r *client.Read) { r.Limit = -1 })
		ask(client.CodeTooLong, c, "pages", func(r *client.Read) { r.Filters = []client.Filter{client.Is("path", strings.Repeat("x", 600))} })
		stranger, err := client.New(server.URL, "sk_0123abcd_"+strings.Repeat("x", 43))
		if err != nil {
			t.Fatal(err)
		}
		ask(client.CodeUnauthenticated, stranger, "pages", func(*client.Read) {})
		for _, err := range analyst.Rows(t.Context(), "pages", read) {
			refusals[client.CodeForbidden] = err
		}
		for code, err := range refusals {
			var refused *client.Error
			if !errors.As(err, &refused) || refused.Code != code || refused.RequestID == "" {
				t.Errorf("%s: %v", code, err)
			}
		}
	})
}

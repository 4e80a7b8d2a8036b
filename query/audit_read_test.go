package query_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc/oidctest"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/query"
	"github.com/sekisho/sekisho/query/access"
)

// auditor makes a key for auditing sites.
func (d *desk) auditor(sites ...string) string {
	d.t.Helper()
	key, err := access.CreateKey(d.grants, "auditor", access.Grant{Roles: []access.Role{access.Auditor}, Sites: sites}, rand.Reader, noon)
	if err != nil {
		d.t.Fatal(err)
	}
	return key
}

// page reads the audit; it must be answered.
func (d *desk) page(key, parameters string) query.AuditPage {
	d.t.Helper()
	status, body := d.get(key, "/v1/audit?"+parameters)
	if status != http.StatusOK {
		d.t.Fatalf("%s: %d %s", parameters, status, body)
	}
	var p query.AuditPage
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		d.t.Fatal(err)
	}
	return p
}

// entry is a record that a test stores.
type entry struct {
	id                          uuid.UUID
	at                          time.Time
	actor, site, report, result string
}

func store(t *testing.T, db *clickhouse.DB, token string, entries []entry) {
	t.Helper()
	none := func(entry) []string { return []string{} }
	zero := func(entry) time.Time { return time.Unix(0, 0).UTC() }
	err := db.Insert(t.Context(), "audit", token, []clickhouse.Column{
		clickhouse.Gather("id", entries, func(e entry) uuid.UUID { return e.id }),
		clickhouse.Gather("time", entries, func(e entry) time.Time { return e.at.UTC() }),
		clickhouse.Gather("actor", entries, func(e entry) string { return e.actor }),
		clickhouse.Gather("site", entries, func(e entry) string { return e.site }),
		clickhouse.Gather("purpose", entries, func(entry) string { return "" }),
		clickhouse.Gather("report", entries, func(e entry) string { return e.report }),
		clickhouse.Gather("policy", entries, func(entry) string { return "" }),
		clickhouse.Gather("period_from", entries, zero), clickhouse.Gather("period_to", entries, zero),
		clickhouse.Gather("dimensions", entries, none), clickhouse.Gather("filters", entries, none), clickhouse.Gather("columns", entries, none),
		clickhouse.Gather("row_count", entries, func(entry) uint32 { return 0 }),
		clickhouse.Gather("suppressed", entries, func(entry) uint32 { return 0 }),
		clickhouse.Gather("result", entries, func(e entry) string { return e.result }),
		clickhouse.Gather("duration_us", entries, func(entry) uint64 { return 0 }),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ids are those of records.
func ids(records []query.AuditRecord) []string {
	all := make([]string, len(records))
	for i, r := range records {
		all[i] = r.ID
	}
	return all
}

func TestTheAuditTellsWhatWasRead(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d, doc := newDesk(t, db), testkit.ReadContract(t, "query.v1.yaml")
	key := d.auditor("shop")
	a := d.read("/v1/reports/devices?purpose=usage_based_development&filter=browser~CANARY&" + period)
	p := d.page(key, "")
	if len(p.Records) != 1 || p.Next != "" {
		t.Fatalf("%+v", p)
	}
	r := p.Records[0]
	id, from, to := r.ID, time.Date(2026, 10, 29, 0, 0, 0, 0, location).UTC(), time.Date(2026, 11, 6, 0, 0, 0, 0, location).UTC()
	want := query.AuditRecord{
		ID: id, Time: noon.UTC(), Actor: d.key[3:11], Site: "shop", Purpose: "usage_based_development", Report: "devices", Policy: "default/2022-09-15",
		From: &from, To: &to, Dimensions: []string{"device", "browser", "os"}, Filters: []string{"browser~"}, Columns: r.Columns,
		Rows: uint32(len(a.Rows)), Suppressed: uint32(a.Suppressed.Groups), Result: "ok",
	}
	if !reflect.DeepEqual(r, want) || !slices.Contains(r.Columns, "browser") {
		t.Errorf("%+v, want %+v", r, want)
	}

	// Reading it was read, too, and the one after it sees that.
	p = d.page(key, "report=audit&result=ok&actor="+key[3:11]+"&from=2026-11-01&to=2026-11-05")
	if len(p.Records) != 1 || p.Records[0].Actor != key[3:11] || p.Records[0].Rows != 1 || p.Records[0].Purpose != "" || p.Records[0].From != nil {
		t.Errorf("%+v", p.Records)
	}
	if p.Records[0].Filters == nil || len(p.Records[0].Filters) != 0 || p.Records[0].Site != "" {
		t.Errorf("%+v", p.Records)
	}
	d.page(key, "site=shop&from=2026-11-05")
	if p = d.page(key, "site=shop&limit=1"); len(p.Records) != 1 || p.Next == "" {
		t.Errorf("%+v", p)
	}
	p = d.page(key, "report=audit")
	if !slices.ContainsFunc(p.Records, func(r query.AuditRecord) bool {
		return slices.Equal(r.Filters, []string{"actor", "report", "result"}) && r.From.Equal(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	}) || !slices.ContainsFunc(p.Records, func(r query.AuditRecord) bool {
		return r.Site == "shop" && r.From != nil && r.From.Equal(time.Date(2026, 11, 5, 0, 0, 0, 0, location)) && r.To == nil
	}) {
		t.Errorf("%+v", p.Records)
	}
	for _, path := range []string{"/v1/audit", "/v1/audit?limit=1", "/v1/audit?site=other", "/v1/audit?limit=0", "/v1/audit?to=2026-11-05T12:00:00Z"} {
		d.ask(t, doc, key, path)
	}
	d.ask(t, doc, d.key, "/v1/audit")
	d.ask(t, doc, "", "/v1/audit")
}

func TestOnlyAnAuditorReadsTheAudit(t *testing.T) {
	db := testkit.ClickHouse(t)
	d := newDesk(t, db)
	here, there, both := d.auditor("shop"), d.auditor("other", "gone"), d.auditor("shop", "other")
	store(t, db, "roles", []entry{
		{uuid.New(), noon.Add(-time.Hour), "00000001", "shop", "pages", "ok"},
		{uuid.New(), noon.Add(-2 * time.Hour), "00000001", "other", "pages", "ok"},
		{uuid.New(), noon.Add(-3 * time.Hour), "00000002", "", "", "forbidden"},
		{uuid.New(), noon.Add(-4 * time.Hour), "00000002", "gone", "pages", "ok"},
	})
	for name, tc := range map[string]struct {
		key, parameters string
		status          int
		field           string
		sites           []string
		audited         bool
	}{
		"nobody":                  {"", "", 401, "Authorization", nil, false},
		"an analyst and exporter": {d.key, "", 403, "", nil, true},
		"an analyst, of the site": {d.key, "&site=shop", 403, "", nil, true},
		"an auditor":              {here, "", 200, "", []string{"shop", ""}, true},
		"of the site":             {here, "&site=shop", 200, "", []string{"shop"}, true},
		"of another site":         {here, "&site=other", 403, "site", nil, true},
		"of no site there is":     {here, "&site=canary", 403, "site", nil, true},
		"of all sites":            {both, "", 200, "", []string{"shop", "other", ""}, true},
		"of a site that was":      {there, "&site=gone", 200, "", []string{"gone"}, true},
		"of what was and is":      {there, "", 200, "", []string{"other", "", "gone"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(audits(t, db))
			status, body := d.get(tc.key, "/v1/audit?to=2026-11-05T11:30:00-05:00"+tc.parameters)
			var got struct {
				Records []query.AuditRecord
				Field   string
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			var sites []string
			for _, r := range got.Records {
				sites = append(sites, r.Site)
			}
			if status != tc.status || got.Field != tc.field || !slices.Equal(sites, tc.sites) {
				t.Errorf("%d %s", status, body)
			}
			if after := audits(t, db); (len(after)-before == 1) != tc.audited || strings.Contains(fmt.Sprint(after), "canary") || strings.Contains(body, "canary") {
				t.Errorf("%d records more: %+v", len(after)-before, after)
			}
		})
	}
	// And by that role it reads nothing else.
	if status, body := d.get(here, "/v1/reports/overview?site=shop&purpose=customer_support"); status != 403 || !strings.Contains(body, "purpose_denied") {
		t.Errorf("%d %s", status, body)
	}
}

func TestPagesOfTheAuditStandStillWhileReadsGoOn(t *testing.T) {
	db := testkit.ClickHouse(t)
	d := newDesk(t, db)
	key := d.auditor("shop")
	var entries []entry
	for i := range 57 {
		// Moments shared by several, so that the id has to decide.
		entries = append(entries, entry{uuid.New(), noon.Add(-time.Duration(i/9) * time.Microsecond), "00000001", "shop", "pages", "ok"})
	}
	store(t, db, "pages", entries)
	whole := ids(d.page(key, "actor=00000001&limit=1000").Records)
	if len(whole) != len(entries) {
		t.Fatalf("%d records", len(whole))
	}
	for _, limit := range []int{1, 4, 9, 10, 56, 57, 58} {
		var seen []string
		parameters := url.Values{"actor": {"00000001"}, "limit": {fmt.Sprint(limit)}}
		for pages := 0; ; pages++ {
			p := d.page(key, parameters.Encode())
			if len(p.Records) > limit || pages > len(entries) {
				t.Fatalf("%d records on page %d", len(p.Records), pages)
			}
			seen = append(seen, ids(p.Records)...)
			// Others read meanwhile: they stand before what was read already.
			store(t, db, fmt.Sprintf("more/%d/%d", limit, pages), []entry{{uuid.New(), noon.Add(time.Duration(pages+1) * time.Second), "00000001", "shop", "pages", "ok"}})
			if p.Next == "" {
				break
			}
			parameters.Set("cursor", p.Next)
		}
		// The first page has what came in the tries before this one, the newest first.
		if i := slices.Index(seen, whole[0]); i < 0 || !slices.Equal(seen[i:], whole) {
			t.Errorf("limit %d: %d records, or in another order, of %d", limit, len(seen), len(whole))
		}
	}
}

func TestNoPageOfTheAuditLeavesWithoutItsRecord(t *testing.T) {
	db := testkit.ClickHouse(t)
	id := uuid.New()
	store(t, db, "kept", []entry{{id, noon, "00000001", "shop", "pages", "ok"}})
	d := newDesk(t, deaf{Store: db, insert: errors.New("canary")})
	if status, body := d.get(d.auditor("shop"), "/v1/audit"); status != http.StatusServiceUnavailable || strings.Contains(body, id.String()) || strings.Contains(body, "canary") {
		t.Errorf("no record: %d %s", status, body)
	}
	d = newDesk(t, deaf{Store: db, selects: errors.New("canary")})
	if status, body := d.get(d.auditor("shop"), "/v1/audit"); status != http.StatusInternalServerError || strings.Contains(body, "canary") {
		t.Errorf("a broken store: %d %s", status, body)
	}
	if all := audits(t, db); len(all) != 2 || all[0].report != "audit" && all[1].report != "audit" {
		t.Errorf("the failed read left %+v", all)
	}
}

func TestTheAuditIsNotTalkedInto(t *testing.T) {
	db := testkit.ClickHouse(t)
	d, doc := newDesk(t, db), testkit.ReadContract(t, "query.v1.yaml")
	key := d.auditor("shop")
	other := uuid.New()
	store(t, db, "kept", []entry{{uuid.New(), noon, "00000001", "shop", "pages", "ok"}, {other, noon, "00000001", "other", "pages", "ok"}})
	for parameters, field := range map[string]string{
		"actor=' OR 1=1 --":               "actor",
		"actor=0000000":                   "actor",
		"actor=oidc:taro":                 "actor",
		"report=pages' OR '1'='1":         "report",
		"report=PAGES":                    "report",
		"result=fine":                     "result",
		"limit=0":                         "limit",
		"limit=1001":                      "limit",
		"limit=1 OR 1":                    "limit",
		"from=yesterday":                  "from",
		"to=1999-12-31":                   "to",
		"cursor=x":                        "cursor",
		"cursor=MTIz":                     "cursor",
		"cursor=LTEuMDAwMDAwMDAtMDAwMC0w": "cursor",
		"actor=00000001&actor=00000002":   "actor",
		"purpose=customer_support":        "",
	} {
		values, err := url.ParseQuery(parameters)
		if err != nil {
			t.Fatal(err)
		}
		w := d.ask(t, doc, key, "/v1/audit?"+values.Encode())
		var problem struct{ Field string }
		if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil || w.Code != http.StatusBadRequest || problem.Field != field {
			t.Errorf("%s: %d %s", parameters, w.Code, w.Body)
		}
	}
	const mark = "CANARY7f3a"
	value := rapid.OneOf(
		rapid.SampledFrom([]string{"", "shop", "other", "00000001", "oidc:0123456789abcdef", "pages", "audit", "ok", "forbidden", "2026-11-01", "1", "shop,other", "{sites:String}", "' OR 1 --", "\\", "\x00"}),
		rapid.Custom(func(t *rapid.T) string { return rapid.String().Draw(t, "text") + mark }),
	)
	rapid.Check(t, func(t *rapid.T) {
		values := url.Values{}
		for range rapid.IntRange(0, 4).Draw(t, "parameters") {
			values.Add(rapid.SampledFrom([]string{"site", "from", "to", "actor", "report", "result", "limit", "cursor", mark}).Draw(t, "name"), value.Draw(t, "value"))
		}
		w := d.ask(t, doc, key, "/v1/audit?"+values.Encode())
		if w.Code >= 500 || strings.Contains(w.Body.String(), mark) || strings.Contains(w.Body.String(), other.String()) {
			t.Errorf("%s: %d %s", values.Encode(), w.Code, w.Body)
		}
	})
	if strings.Contains(d.log.String(), mark) || strings.Contains(fmt.Sprint(audits(t, db)), mark) {
		t.Error("the log or the audit echoes")
	}
}

func TestAFileTakesARoleOfItsOwn(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d := newDesk(t, db)
	analyst, err := access.CreateKey(d.grants, "analyst", access.Grant{Purposes: []string{"usage_based_development"}, Sites: []string{"shop"}}, rand.Reader, noon)
	if err != nil {
		t.Fatal(err)
	}
	const path = "/v1/reports/locations?purpose=usage_based_development&" + period
	if status, body := d.get(analyst, path); status != http.StatusOK {
		t.Errorf("JSON: %d %s", status, body)
	}
	for _, form := range []string{"csv", "ndjson", "parquet"} {
		status, body := d.get(analyst, path+"&format="+form)
		if status != http.StatusForbidden || !strings.Contains(body, `"field":"format"`) || strings.Contains(body, "JP") {
			t.Errorf("%s: %d %s", form, status, body)
		}
		if status, _ := d.get(d.key, path+"&format="+form); status != http.StatusOK {
			t.Errorf("%s, with the role: %d", form, status)
		}
	}
	if all := audits(t, db); len(all) != 7 {
		t.Errorf("%d records", len(all))
	}
}

func TestAPersonReadsByWhatTheIssuerSaysOfThem(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	provider := &oidctest.Server{PublicKeys: []oidctest.PublicKey{{PublicKey: public, KeyID: "one", Algorithm: "EdDSA"}}}
	server := httptest.NewServer(provider)
	t.Cleanup(server.Close)
	provider.SetIssuer(server.URL)
	issuers := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(issuers, []byte("issuers:\n  - issuer: "+server.URL+`
    audience: sekisho
    roles_claim: groups
    map:
      - {value: development, roles: [analyst], sites: [shop], purposes: [usage_based_development]}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDeskOf(t, db, query.Config{Threshold: threshold, FineThreshold: threshold, Issuers: issuers})
	token := func(group string) string {
		return oidctest.SignIDToken(private, "one", "EdDSA", fmt.Sprintf(
			`{"iss":%q,"aud":"sekisho","sub":"taro.canary@example.jp","email":"taro.canary@example.jp","groups":[%q],"iat":%d,"exp":%d}`,
			server.URL, group, noon.Unix(), noon.Add(time.Minute).Unix()))
	}
	const path = "/v1/reports/locations?purpose=usage_based_development&" + period
	if status, body := d.get(token("development"), path); status != http.StatusOK || !strings.Contains(body, "JP") {
		t.Errorf("%d %s", status, body)
	}
	if status, body := d.get(token("sales"), path); status != http.StatusForbidden || !strings.Contains(body, `"field":"site"`) {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := d.get(token("development")+"A", path); status != http.StatusUnauthorized {
		t.Errorf("%d", status)
	}
	all := audits(t, db)
	if len(all) != 2 || all[0].actor != access.CallerID(server.URL, "taro.canary@example.jp") || all[1].actor != all[0].actor {
		t.Errorf("%+v", all)
	}
	if strings.Contains(fmt.Sprint(all)+d.log.String(), "canary") {
		t.Error("somebody is named")
	}
}

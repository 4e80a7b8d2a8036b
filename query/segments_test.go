package query_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/query"
)

// send asks with a method and a body, and holds the answer against the contract.
func (d *desk) send(t interface{ Errorf(string, ...any) }, doc testkit.Contract, key, method, path, body string) *httptest.ResponseRecorder {
	request := func() *http.Request {
		r := httptest.NewRequestWithContext(d.t.Context(), method, path, strings.NewReader(body))
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		return r
	}
	w := httptest.NewRecorder()
	d.query.Handler().ServeHTTP(w, request())
	if err := doc.Holds(request(), w); err != nil {
		t.Errorf("%s %s: %d is no answer of the contract: %v", method, path, w.Code, err)
	}
	return w
}

const ofDevelopment = "?site=shop&purpose=usage_based_development"

func segmentNames(t *testing.T, w *httptest.ResponseRecorder) (names []string) {
	t.Helper()
	var list query.Segments
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, s := range list.Segments {
		names = append(names, s.Name)
	}
	return names
}

func TestASegmentIsKeptReplacedUsedAndDeleted(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d, doc := newDesk(t, db), testkit.ReadContract(t, "query.v1.yaml")
	const one = "/v1/segments/japan-mobile" + ofDevelopment

	if w := d.send(t, doc, d.key, http.MethodGet, one, ""); w.Code != http.StatusNotFound {
		t.Errorf("before it is there: %d", w.Code)
	}
	for _, filters := range []string{`"country:FR"`, `"country:JP", "!device:desktop"`} {
		w := d.send(t, doc, d.key, http.MethodPut, one, `{"filters": [`+filters+`]}`)
		var s query.Segment
		if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if s.Name != "japan-mobile" || s.CreatedBy != strings.Split(d.key, "_")[1] || s.Time.IsZero() {
			t.Errorf("%+v", s)
		}
	}
	d.send(t, doc, d.key, http.MethodPut, "/v1/segments/a"+ofDevelopment, `{"filters": ["browser:Safari"]}`)
	w := d.send(t, doc, d.key, http.MethodGet, one, "")
	var s query.Segment
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || !slices.Equal(s.Filters, []string{"country:JP", "!device:desktop"}) {
		t.Errorf("%s", w.Body)
	}
	if names := segmentNames(t, d.send(t, doc, d.key, http.MethodGet, "/v1/segments"+ofDevelopment, "")); !slices.Equal(names, []string{"a", "japan-mobile"}) {
		t.Errorf("%v", names)
	}

	const report = "/v1/reports/devices?purpose=usage_based_development&" + period
	with, without := d.read(report+"&segment=japan-mobile"), d.read(report+"&filter=country:JP&filter=!device:desktop")
	compare(t, with.Rows, without.Rows)
	if len(with.Rows) == 0 || len(d.read(report).Rows) == len(with.Rows) {
		t.Error("the segment picks nothing, or all")
	}
	compare(t, d.read(report+"&segment=japan-mobile&filter=browser:Safari").Rows, d.read(report+"&filter=country:JP&filter=!device:desktop&filter=browser:Safari").Rows)

	if w := d.send(t, doc, d.key, http.MethodDelete, one, ""); w.Code != http.StatusNoContent {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if w := d.send(t, doc, d.key, method, one, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s after it is deleted: %d", method, w.Code)
		}
	}
	if status, body := d.get(d.key, report+"&segment=japan-mobile"); status != http.StatusBadRequest || !strings.Contains(body, `"field":"segment"`) {
		t.Errorf("a report by a deleted segment: %d %s", status, body)
	}
	if names := segmentNames(t, d.send(t, doc, d.key, http.MethodGet, "/v1/segments"+ofDevelopment, "")); !slices.Equal(names, []string{"a"}) {
		t.Errorf("%v", names)
	}
	d.send(t, doc, d.key, http.MethodPut, one, `{"filters": ["country:US"]}`)
	if w := d.send(t, doc, d.key, http.MethodGet, one, ""); !strings.Contains(w.Body.String(), "country:US") {
		t.Errorf("written again: %s", w.Body)
	}

	// The audit knows what was done and the shape of the filters, never a value or the name.
	changed := 0
	for _, a := range audits(t, db) {
		if a.report == "segments_changed" {
			changed++
		}
		if strings.Contains(fmt.Sprint(a), "JP") || strings.Contains(fmt.Sprint(a), "japan-mobile") {
			t.Errorf("the audit tells a value: %v", a)
		}
	}
	if changed != 5 { // what was not there could not be deleted
		t.Errorf("%d changes are recorded, want 5", changed)
	}
	if !slices.ContainsFunc(audits(t, db), func(a record) bool {
		return a.report == "devices" && slices.Equal(a.filters, []string{"segment", "country", "!device"}) && slices.Contains(a.columns, "country")
	}) {
		t.Error("the report by the segment is not recorded as one")
	}
}

func TestASegmentIsOfItsSiteAndOfPurposesThatMayUseIt(t *testing.T) {
	db := testkit.ClickHouse(t)
	d, doc := newDesk(t, db), testkit.ReadContract(t, "query.v1.yaml")
	other := d.create([]string{"usage_based_development"}, "other")
	d.send(t, doc, d.key, http.MethodPut, "/v1/segments/readers"+ofDevelopment, `{"filters": ["path:/canary"]}`)
	d.send(t, doc, d.key, http.MethodPut, "/v1/segments/japan"+ofDevelopment, `{"filters": ["country:JP"]}`)
	const support = "?site=shop&purpose=customer_support"
	for name, tc := range map[string]struct {
		key, method, path, body string
		status                  int
		field                   string
	}{
		"another site's caller":                   {other, "GET", "/v1/segments/readers" + ofDevelopment, "", 403, "site"},
		"another site":                            {other, "GET", "/v1/segments/readers?site=other&purpose=usage_based_development", "", 404, ""},
		"a purpose that may not use it":           {d.key, "GET", "/v1/segments/readers" + support, "", 403, "path"},
		"written for a purpose that may not":      {d.key, "PUT", "/v1/segments/more" + support, `{"filters":["country:JP","path:/canary"]}`, 403, "path"},
		"replaced by a purpose that may not":      {d.key, "PUT", "/v1/segments/readers" + support, `{"filters":["country:JP"]}`, 403, "path"},
		"deleted by a purpose that may not":       {d.key, "DELETE", "/v1/segments/readers" + support, "", 403, "path"},
		"used by a purpose that may not":          {d.key, "GET", "/v1/reports/operations" + support + "&segment=readers", "", 403, "path"},
		"used by one that may":                    {d.key, "GET", "/v1/reports/operations" + support + "&segment=japan", "", 200, ""},
		"widened by the request":                  {d.key, "GET", "/v1/reports/operations" + support + "&segment=japan&filter=country:US", "", 400, "filter"},
		"narrowed by the request":                 {d.key, "GET", "/v1/reports/operations" + support + "&segment=japan&filter=!country:US", "", 200, ""},
		"another purpose that may":                {d.key, "GET", "/v1/segments/japan" + support, "", 200, ""},
		"a purpose without a grant":               {other, "GET", "/v1/segments/japan?site=other&purpose=customer_support", "", 403, "purpose"},
		"no key":                                  {"", "GET", "/v1/segments/japan" + ofDevelopment, "", 401, "Authorization"},
		"no site":                                 {d.key, "GET", "/v1/segments?purpose=usage_based_development", "", 400, "site"},
		"no purpose":                              {d.key, "GET", "/v1/segments?site=shop", "", 400, "purpose"},
		"an unknown parameter":                    {d.key, "GET", "/v1/segments" + ofDevelopment + "&canary=1", "", 400, ""},
		"a parameter twice":                       {d.key, "GET", "/v1/segments" + ofDevelopment + "&site=shop", "", 400, "site"},
		"a bad name":                              {d.key, "GET", "/v1/segments/Canary" + ofDevelopment, "", 400, "name"},
		"a long name":                             {d.key, "PUT", "/v1/segments/" + strings.Repeat("a", 41) + ofDevelopment, `{"filters":["country:JP"]}`, 400, "name"},
		"no filter":                               {d.key, "PUT", "/v1/segments/x" + ofDevelopment, `{"filters":[]}`, 400, "/filters"},
		"too many filters":                        {d.key, "PUT", "/v1/segments/x" + ofDevelopment, `{"filters":[` + strings.Repeat(`"country:JP",`, 10) + `"country:JP"]}`, 400, "/filters"},
		"a broken filter":                         {d.key, "PUT", "/v1/segments/x" + ofDevelopment, `{"filters":["country:JP","canary:1"]}`, 400, "/filters/1"},
		"a body that is none":                     {d.key, "PUT", "/v1/segments/x" + ofDevelopment, `{"filters":["country:JP"]`, 400, ""},
		"a body with more":                        {d.key, "PUT", "/v1/segments/x" + ofDevelopment, `{"filters":["country:JP"],"canary":1}`, 400, ""},
		"a body with another behind":              {d.key, "PUT", "/v1/segments/x" + ofDevelopment, `{"filters":["country:JP"]}{}`, 400, ""},
		"a body too large":                        {d.key, "PUT", "/v1/segments/x" + ofDevelopment, `{"filters":["country:` + strings.Repeat("x", 20_000) + `"]}`, 413, ""},
		"no body":                                 {d.key, "PUT", "/v1/segments/x" + ofDevelopment, "", 415, "Content-Type"},
		"a report by a segment that is not there": {d.key, "GET", "/v1/reports/operations" + support + "&segment=canary", "", 400, "segment"},
		"a report by a name that is none":         {d.key, "GET", "/v1/reports/operations" + support + "&segment=", "", 400, "segment"},
		"a report by two":                         {d.key, "GET", "/v1/reports/operations" + support + "&segment=japan&segment=japan", "", 400, "segment"},
		"a report with too many filters by then":  {d.key, "GET", "/v1/reports/operations" + support + "&segment=japan" + strings.Repeat("&filter=country:JP", 10), "", 400, "segment"},
		"a method that is none":                   {d.key, "POST", "/v1/segments/x" + ofDevelopment, `{}`, 405, ""},
	} {
		t.Run(name, func(t *testing.T) {
			contract := doc
			w := httptest.NewRecorder()
			if tc.method == "POST" || name == "no body" { // no request of the contract
				r := httptest.NewRequestWithContext(t.Context(), tc.method, tc.path, strings.NewReader(tc.body))
				r.Header.Set("Authorization", "Bearer "+tc.key)
				d.query.Handler().ServeHTTP(w, r)
			} else {
				w = d.send(t, contract, tc.key, tc.method, tc.path, tc.body)
			}
			if w.Code != tc.status || tc.field != "" && !strings.Contains(w.Body.String(), `"field":"`+tc.field+`"`) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if strings.Contains(w.Body.String(), "canary") {
				t.Errorf("it echoes: %s", w.Body)
			}
		})
	}
	if names := segmentNames(t, d.send(t, doc, d.key, http.MethodGet, "/v1/segments"+support, "")); !slices.Equal(names, []string{"japan"}) {
		t.Errorf("support sees %v", names)
	}
	if names := segmentNames(t, d.send(t, doc, other, http.MethodGet, "/v1/segments?site=other&purpose=usage_based_development", "")); len(names) != 0 {
		t.Errorf("another site has %v", names)
	}
	if strings.Contains(d.log.String(), "canary") {
		t.Error("the log echoes")
	}
}

func TestASiteHasOnlySoManySegments(t *testing.T) {
	db, doc := testkit.ClickHouse(t), testkit.ReadContract(t, "query.v1.yaml")
	d := newDesk(t, db)
	var many []string
	for n := range 199 {
		many = append(many, fmt.Sprintf("s-%d", n))
	}
	err := db.Insert(t.Context(), "segments", "many", []clickhouse.Column{
		clickhouse.Gather("site", many, func(string) string { return "shop" }),
		clickhouse.Gather("name", many, func(name string) string { return name }),
		clickhouse.Gather("filters", many, func(string) []string { return []string{"country:JP"} }),
		clickhouse.Gather("created_by", many, func(string) string { return "" }),
		clickhouse.Gather("time", many, func(string) time.Time { return noon.UTC() }),
		clickhouse.Gather("deleted", many, func(string) bool { return false }),
	})
	if err != nil {
		t.Fatal(err)
	}
	put := func(n int) int {
		return d.send(t, doc, d.key, http.MethodPut, fmt.Sprintf("/v1/segments/s-%d%s", n, ofDevelopment), `{"filters": ["country:JP"]}`).Code
	}
	if status := put(199); status != http.StatusOK {
		t.Errorf("the last one: %d", status)
	}
	if status := put(200); status != http.StatusBadRequest {
		t.Errorf("one more: %d", status)
	}
	if status := put(7); status != http.StatusOK {
		t.Errorf("one that is there: %d", status)
	}
}

func TestNoSegmentIsAnsweredWithoutItsRecord(t *testing.T) {
	db, doc := testkit.ClickHouse(t), testkit.ReadContract(t, "query.v1.yaml")
	d := newDesk(t, db)
	d.send(t, doc, d.key, http.MethodPut, "/v1/segments/japan"+ofDevelopment, `{"filters": ["country:JP"]}`)
	d = newDesk(t, deaf{Store: db, insert: errors.New("canary")})
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		w := d.send(t, doc, d.key, method, "/v1/segments/japan"+ofDevelopment, "")
		if method == http.MethodGet && w.Code != http.StatusServiceUnavailable || w.Code < 500 || strings.Contains(w.Body.String(), "JP") || strings.Contains(w.Body.String(), "canary") {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
	d = newDesk(t, deaf{Store: db, selects: errors.New("canary")})
	if status, body := d.get(d.key, "/v1/reports/operations"+ofDevelopment+"&segment=japan"); status != http.StatusServiceUnavailable || strings.Contains(body, "canary") {
		t.Errorf("a segment that cannot be read: %d %s", status, body)
	}
}

// Whatever is sent: no 500, nothing that comes back in a refusal, and what is kept comes back as it was.
func TestNoSegmentIsAnsweredOutsideTheContract(t *testing.T) {
	d, doc := newDesk(t, testkit.ClickHouse(t)), testkit.ReadContract(t, "query.v1.yaml")
	const mark = "CANARY7f3a"
	filter := rapid.OneOf(
		rapid.SampledFrom([]string{"country:JP", "!path~item", "path*/*", `path:\`, "path:' OR 1=1 --", "path:{f0:String}", "path:日本", "x", "", mark + ":1", "path:\x00"}),
		rapid.Custom(func(t *rapid.T) string { return "path:" + rapid.String().Draw(t, "text") + mark }),
	)
	rapid.Check(t, func(t *rapid.T) {
		filters := rapid.SliceOfN(filter, 0, 3).Draw(t, "filters")
		body, err := json.Marshal(map[string]any{"filters": filters})
		if err != nil {
			t.Fatal(err)
		}
		name := rapid.StringMatching(`[a-z0-9-]{1,40}`).Draw(t, "name")
		path := "/v1/segments/" + name + ofDevelopment
		w := d.send(t, doc, d.key, http.MethodPut, path, string(body))
		if w.Code >= 500 || w.Code != http.StatusOK && strings.Contains(w.Body.String(), mark) {
			t.Fatalf("%s: %d %s", body, w.Code, w.Body)
		}
		if w.Code != http.StatusOK {
			return
		}
		var kept query.Segment
		if err := json.Unmarshal(d.send(t, doc, d.key, http.MethodGet, path, "").Body.Bytes(), &kept); err != nil || !slices.Equal(kept.Filters, filters) {
			t.Fatalf("%q came back as %q", filters, kept.Filters)
		}
		if w := d.send(t, doc, d.key, http.MethodDelete, path, ""); w.Code != http.StatusNoContent {
			t.Fatalf("%d", w.Code)
		}
	})
	if strings.Contains(d.log.String(), mark) {
		t.Error("the log echoes")
	}
}

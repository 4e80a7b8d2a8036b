package query_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/query"
)

// ask serves a request and holds the answer against the contract.
func (d *desk) ask(t interface{ Errorf(string, ...any) }, doc testkit.Contract, key, path string) *httptest.ResponseRecorder {
	request := func() *http.Request {
		r := httptest.NewRequestWithContext(d.t.Context(), http.MethodGet, path, nil)
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		return r
	}
	w := httptest.NewRecorder()
	d.query.Handler().ServeHTTP(w, request())
	if err := doc.Holds(request(), w); err != nil {
		t.Errorf("%s: %d is no answer of the contract: %v", path, w.Code, err)
	}
	return w
}

func TestAnswersAreThoseOfTheContract(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d, doc := newDesk(t, db), testkit.ReadContract(t, "query.v1.yaml")
	for _, report := range query.Reports() {
		path := "/v1/reports/" + report + "?purpose=usage_based_development&" + period + needs[report]
		if slices.Contains(timeless, report) {
			path = "/v1/reports/" + report + "?purpose=usage_based_development&site=shop"
		}
		if err := doc.Permits(httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)); err != nil {
			t.Errorf("the contract does not permit %s: %v", path, err)
		}
		if w := d.ask(t, doc, d.key, path); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	for path, want := range map[string]int{
		"/v1/reports/overview?site=shop":                                                                400,
		"/v1/reports/overview?site=other&purpose=usage_based_development":                               403,
		"/v1/reports/pages?site=shop&purpose=customer_support":                                          403,
		"/v1/reports/timeseries?site=shop&purpose=usage_based_development&interval=week":                200,
		"/v1/reports/overview?site=shop&purpose=usage_based_development&compare=previous_period":        200,
		"/v1/reports/pages?site=shop&purpose=usage_based_development&sample=0.5&limit=1&filter=path*/*": 200,
		"/v1/reports/overview?site=shop&purpose=customer_support&explain=true&filter=country~J":         200,
		"/v1/reports/overview?site=shop&purpose=usage_based_development&compare_from=2026-01-01":        400,
		"/v1/reports/timeseries?site=shop&purpose=usage_based_development&sample=NaN":                   400,
		"/v1/catalogue": 200, "/healthz": 200, "/readyz": 200,
	} {
		if w := d.ask(t, doc, d.key, path); w.Code != want {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := d.ask(t, doc, "", "/v1/reports/overview?site=shop&purpose=usage_based_development"); w.Code != 401 {
		t.Errorf("%d", w.Code)
	}
}

// Whatever is asked: no 500, no value that comes back, and no status that the contract does not name.
func TestNoQuestionIsAnsweredOutsideTheContract(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeFacts()
	f.store(t, db, "shop")
	d, doc := newDesk(t, db), testkit.ReadContract(t, "query.v1.yaml")
	const mark = "CANARY7f3a"
	value := rapid.OneOf(
		rapid.SampledFrom([]string{"", "shop", "usage_based_development", "customer_support", "2026-11-01", "2026-11-01T00:00:00Z", "country:JP", "!path:/", "1", "1000", "-1", "day", "hour", "path~item", "path*/*", "!country~%", "previous_period", "previous_year", "true", "0.5", "NaN", "MTAw", "' OR 1=1 --", "{f0:String}", "\\", "\x00", "日本"}),
		rapid.Custom(func(t *rapid.T) string { return rapid.String().Draw(t, "text") + mark }),
	)
	rapid.Check(t, func(t *rapid.T) {
		values := url.Values{}
		if rapid.Bool().Draw(t, "sound") { // get past the first checks
			values.Set("site", "shop")
			values.Set("purpose", "usage_based_development")
		}
		for range rapid.IntRange(0, 5).Draw(t, "parameters") {
			values.Add(rapid.SampledFrom([]string{"site", "purpose", "from", "to", "filter", "limit", "interval", "compare", "compare_from", "compare_to", "sample", "cursor", "explain", mark}).Draw(t, "name"), value.Draw(t, "value"))
		}
		report := rapid.SampledFrom(query.Reports()).Draw(t, "report")
		w := d.ask(t, doc, d.key, "/v1/reports/"+report+"?"+values.Encode())
		if w.Code >= 500 || strings.Contains(w.Body.String(), mark) {
			t.Errorf("%s: %d %s", values.Encode(), w.Code, w.Body)
		}
	})
	if strings.Contains(d.log.String(), mark) {
		t.Error("the log echoes")
	}
}

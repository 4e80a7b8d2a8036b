package report

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/web/kit"
	"github.com/sekisho/sekisho/web/kit/kittest"
	"github.com/sekisho/sekisho/web/report/stage"
)

// states are pages as their readers come to see them, by the query.
var states = map[string]string{
	"the start":                 "",
	"one number each":           "report=overview&compare=previous_year",
	"a series":                  "report=timeseries&period=28&p.interval=day",
	"a series compared":         "report=timeseries&compare=previous_period",
	"a series by the hour":      "report=timeseries&period=today&p.interval=hour",
	"a series of one step":      "report=timeseries&period=today",
	"a ranking":                 "report=pages",
	"a ranking compared":        "report=pages&compare=previous_period&limit=10",
	"the last page":             "report=pages&cursor=MTAw",
	"filtered":                  "report=pages&d=country&o=is&v=JP&d=path&o=unlike&v=%2F*&segment=japan",
	"words for codes":           "report=devices",
	"money":                     "report=purchases",
	"a funnel":                  "report=funnel&p.step=page:/list&p.step=operation:cart_add&p.step=purchase",
	"a funnel without steps":    "report=funnel",
	"cohorts":                   "report=retention&p.unit=week&period=90",
	"series by name":            "report=operation_adoption",
	"rows within a row":         "report=live",
	"everything withheld":       "report=searches",
	"nothing":                   "report=ads",
	"a failure":                 "report=broken",
	"a report that is not":      "report=nothing",
	"dates that are none":       "report=pages&period=custom&from=2026-13-01&to=x",
	"a purpose that may not":    "purpose=customer_support&report=pages",
	"a site that is not theirs": "site=blog&report=pages",
}

func address(language, query string) string {
	values, err := url.ParseQuery(query)
	if err != nil {
		panic(err)
	}
	if query != "" && !values.Has("site") {
		query += "&site=shop"
	}
	if query != "" && !values.Has("purpose") {
		query += "&purpose=usage_based_development"
	}
	return "/ui/" + language + "/?" + query
}

func TestEveryStateIsSoundInBothLanguages(t *testing.T) {
	r := signedIn(t)
	for name, query := range states {
		for _, language := range kit.Languages() {
			w := r.get(address(language, query))
			if w.Header().Get("Content-Type") != "text/html; charset=utf-8" || w.Header().Get("Content-Language") != language {
				t.Errorf("%s, %s: %v", name, language, w.Header())
			}
			for _, fault := range faults(t, w.Body.String(), language) {
				t.Errorf("%s, %s: %s", name, language, fault)
			}
		}
	}
	for _, target := range []string{"/ui/ja/nothing", "/ui/en/nothing"} {
		if w := r.get(target); w.Code != http.StatusNotFound || len(faults(t, w.Body.String(), target[4:6])) > 0 {
			t.Errorf("%s: %d %v", target, w.Code, faults(t, w.Body.String(), target[4:6]))
		}
	}
	r.post("/ui/en/sign-out", nil)
	for _, language := range kit.Languages() {
		if w := r.get("/ui/" + language + "/"); w.Code != http.StatusOK || len(faults(t, w.Body.String(), language)) > 0 {
			t.Errorf("%d %v", w.Code, faults(t, w.Body.String(), language))
		}
	}
}

func TestTheChecksFindWhatIsWrong(t *testing.T) {
	for _, page := range []string{
		`<html lang="ja"><head><title>t</title></head><body><h1>h</h1></body></html>`,
		`<html lang="en"><head><title>t</title></head><body><h1>h</h1><p></body></html>`,
		`<html lang="en"><head><title>t</title></head><body><h1>h</h1><h3>h</h3></body></html>`,
		`<html lang="en"><head><title>t</title></head><body><h1>h</h1><p style="x">t</p></body></html>`,
		`<html lang="en"><head><title>t</title></head><body><h1>h</h1><input name="x"></body></html>`,
		`<html lang="en"><head><title>t</title></head><body><h1>h</h1><p aria-labelledby="x">t</p></body></html>`,
		`<html lang="en"><head><title>t</title></head><body><h1>h</h1><svg></svg></body></html>`,
		`<html lang="en"><head><title>t</title></head><body><h1>h</h1><table><thead><tr><th scope="col">a</th></tr></thead></table></body></html>`,
	} {
		if len(faults(t, page, "en")) != 1 {
			t.Errorf("%v in %s", faults(t, page, "en"), page)
		}
	}
	if all := faults(t, `<html lang="en"><head><title>t</title></head><body><h1>h</h1></body></html>`, "en"); len(all) > 0 {
		t.Error(all)
	}
}

// TestEveryLinkLeadsSomewhere follows every link from the start and from every state, below the root and below a path
// that a proxy takes away.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	r := signedIn(t)
	own := r.handler
	for _, path := range []string{"", "/measure/it"} {
		r.handler = http.StripPrefix(path, own)
		queue := []string{path + "/", path + "/ui", path + "/ui/", path + "/ui/en"}
		for _, query := range states {
			queue = append(queue, path+address("en", query))
		}
		seen := map[string]bool{}
		for len(queue) > 0 && len(seen) < 300 {
			target := queue[0]
			queue = queue[1:]
			if seen[target] {
				continue
			}
			seen[target] = true
			w := r.get(target)
			base, _ := url.Parse(target)
			if w.Code == http.StatusFound {
				to, _ := base.Parse(w.Header().Get("Location"))
				queue = append(queue, to.RequestURI())
				continue
			}
			if w.Code == http.StatusNotFound && !strings.Contains(target, "report=nothing") || w.Code >= 500 && !strings.Contains(target, "report=broken") {
				t.Errorf("%s: %d", target, w.Code)
			}
			if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
				continue
			}
			for _, n := range kittest.Elements(kittest.Parse(t, w.Body.String()), "a", "link") {
				href := kittest.Attr(n, "href")
				if strings.HasPrefix(href, "data:") || strings.HasPrefix(href, "#") {
					continue
				}
				to, err := base.Parse(href)
				if err != nil || to.Host != "" || !strings.HasPrefix(to.Path, path+"/ui/") {
					t.Errorf("%s leads to %s", target, href)
					continue
				}
				queue = append(queue, to.RequestURI())
			}
		}
		if len(seen) < 80 {
			t.Errorf("only %d pages were seen", len(seen))
		}
	}
}

func TestTheStageSpeaksTheContract(t *testing.T) {
	doc, api := testkit.ReadContract(t, "query.v1.yaml"), stage.API()
	r := signedIn(t)
	for _, query := range states {
		r.get(address("en", query))
	}
	for _, c := range append(r.calls, call{key: "x", path: "/v1/catalogue"}, call{key: stage.Stranger, path: "/v1/catalogue"}) {
		request := func() *http.Request {
			q := httptest.NewRequest(http.MethodGet, c.path+"?"+c.values.Encode(), nil)
			q.Header.Set("Authorization", "Bearer "+c.key)
			return q
		}
		w := httptest.NewRecorder()
		api.ServeHTTP(w, request())
		if err := doc.Holds(request(), w); err != nil {
			t.Errorf("%s?%s: %v", c.path, c.values.Encode(), err)
		}
	}
}

// TestTheContractHasWhatTheFormOffers holds every choice of the form against the API's own document.
func TestTheContractHasWhatTheFormOffers(t *testing.T) {
	doc := testkit.ReadContract(t, "query.v1.yaml")
	permits := func(report, query string) error {
		return doc.Permits(httptest.NewRequest(http.MethodGet, "/v1/reports/"+report+"?site=shop&purpose=p&"+query, nil))
	}
	sample := map[string]string{"step": "purchase", "start": "page:/", "end": "page:/", "operation": "x"}
	for name, c := range controls {
		for _, option := range append(c.options, sample[name]) {
			if option == "" {
				continue
			}
			if err := permits("funnel", name+"="+url.QueryEscape(option)); err != nil {
				t.Errorf("%s=%s: %v", name, option, err)
			}
		}
		if len(c.options) > 0 && permits("funnel", name+"=nonsense") == nil && name != "window" {
			t.Errorf("%s may be anything, and the form offers a choice", name)
		}
	}
	for _, name := range slices.Concat(comparisons[1:], limits[1:]) {
		parameter := "limit"
		if strings.HasPrefix(name, "previous") {
			parameter = "compare"
		}
		if err := permits("pages", parameter+"="+name); err != nil {
			t.Errorf("%s=%s: %v", parameter, name, err)
		}
	}
	if err := permits("pages", "format=csv&segment=japan&limit="+fileRows); err != nil {
		t.Error(err)
	}
	for _, name := range recent {
		if err := permits(name, ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheFormBecomesARequest(t *testing.T) {
	for query, want := range map[string]string{
		"report=pages":                                                      "from=2026-11-14&to=2026-11-20",
		"report=pages&period=28&limit=25":                                   "from=2026-10-24&to=2026-11-20&limit=25",
		"report=pages&period=forever&limit=7":                               "from=2026-11-14&to=2026-11-20",
		"report=pages&period=custom&from=2026-01-01&to=2026-02-03":          "from=2026-01-01&to=2026-02-03",
		"report=pages&period=custom":                                        "",
		"report=pages&from=2026-01-01&to=2026-02-03":                        "from=2026-11-14&to=2026-11-20",
		"report=pages&compare=previous_year&cursor=MTAw":                    "from=2026-11-14&to=2026-11-20&compare=previous_year&cursor=MTAw",
		"report=pages&compare=the_moon&p.interval=hour&p.step=x":            "from=2026-11-14&to=2026-11-20",
		"report=timeseries&p.interval=hour":                                 "from=2026-11-14&to=2026-11-20&interval=hour",
		"report=pages&segment=+japan+":                                      "from=2026-11-14&to=2026-11-20&segment=japan",
		"report=live&compare=previous_year&period=28":                       "",
		"report=funnel&p.step=search&p.step=&p.step=+purchase+&p.window=7d": "from=2026-11-14&to=2026-11-20&step=search&step=purchase&window=7d",
		"report=pages&d=path&o=has&v=a%3Ab&d=&o=is&v=x&d=country&o=not&v=":  "from=2026-11-14&to=2026-11-20&filter=path~a:b&filter=!country:",
		"report=pages&d=a&o=is&v=1&d=b&o=lacks&v=2&d=c&o=like&v=3&d=d&o=unlike&v=4&d=e&o=what&v=5&d=f&o=is&v=6": "from=2026-11-14&to=2026-11-20&filter=a:1&filter=!b~2&filter=c*3&filter=!d*4&filter=e:5",
		"report=pages&d=path&o=is&v=" + strings.Repeat("x", maxText+1):                                          "from=2026-11-14&to=2026-11-20",
		"report=pages&d=path&o=is": "from=2026-11-14&to=2026-11-20",
	} {
		r := signedIn(t)
		r.get(address("ja", query))
		expected, _ := url.ParseQuery(want + "&site=shop&purpose=usage_based_development")
		if got := r.asked(); got.Encode() != expected.Encode() {
			t.Errorf("%s:\n%s\nwant\n%s", query, got.Encode(), expected.Encode())
		}
		if c := r.calls[len(r.calls)-1]; c.key != stage.Reader || c.language != "ja" {
			t.Errorf("%v", c)
		}
	}
}

func TestNothingIsReadBeforeAPurposeIsNamed(t *testing.T) {
	for _, query := range []string{"", "report=pages", "report=pages&site=shop", "site=shop&purpose=usage_based_development", "report=&site=shop&purpose=usage_based_development"} {
		r := signedIn(t)
		for _, path := range []string{"/ui/en/?", "/ui/en/report.csv?"} {
			if w := r.get(path + query); w.Code != http.StatusOK || len(r.calls) != 1 || !strings.Contains(said(t, w), "Choose a report") {
				t.Errorf("%s: %d %v", query, w.Code, r.calls)
			}
			r.calls = nil
		}
	}
}

func TestAReportOutsideTheCatalogueIsNotAskedFor(t *testing.T) {
	for _, name := range []string{"..%2Fcatalogue", "pages%2F..%2Fpages", "Pages", "pages%3Flimit%3D1", "%00"} {
		for _, path := range []string{"/ui/en/?", "/ui/en/report.csv?"} {
			r := signedIn(t)
			w := r.get(path + "site=shop&purpose=usage_based_development&report=" + name)
			if w.Code != http.StatusNotFound || len(r.calls) != 1 || !strings.Contains(said(t, w), "There is no such report.") {
				t.Errorf("%s: %d %v", name, w.Code, r.calls)
			}
		}
	}
}

func TestPeriodsFollowTheSitesCalendar(t *testing.T) {
	tokyo, _ := time.LoadLocation("Asia/Tokyo")
	honolulu, _ := time.LoadLocation("Pacific/Honolulu")
	now := time.Date(2026, 3, 31, 20, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		zone           *time.Location
		period         string
		from, to, note string
	}{
		{tokyo, "today", "2026-04-01", "2026-04-01", "it is tomorrow there"},
		{honolulu, "today", "2026-03-31", "2026-03-31", ""},
		{tokyo, "yesterday", "2026-03-31", "2026-03-31", ""},
		{tokyo, "7", "2026-03-26", "2026-04-01", ""},
		{tokyo, "28", "2026-03-05", "2026-04-01", ""},
		{tokyo, "90", "2026-01-02", "2026-04-01", ""},
		{tokyo, "month", "2026-04-01", "2026-04-01", ""},
		{honolulu, "month", "2026-03-01", "2026-03-31", ""},
		{tokyo, "last_month", "2026-03-01", "2026-03-31", ""},
		{honolulu, "last_month", "2026-02-01", "2026-02-28", "not the 31st of February"},
	} {
		f := form{Period: c.period}
		if from, to := f.dates(now.In(c.zone)); from != c.from || to != c.to {
			t.Errorf("%s in %s: %s to %s, want %s to %s %s", c.period, c.zone, from, to, c.from, c.to, c.note)
		}
	}
	if _, err := time.LoadLocation("Asia/Tokyo"); err != nil {
		t.Fatal(err)
	}
}

func TestWhatPeopleSentIsText(t *testing.T) {
	r := signedIn(t)
	hostile := url.QueryEscape(stage.Hostile)
	for _, language := range kit.Languages() {
		for _, query := range []string{
			"report=pages", "report=pages&d=path&o=is&v=" + hostile, "report=operation_adoption", "report=" + hostile, "site=" + hostile + "&report=pages",
			"purpose=" + hostile + "&report=pages", "report=pages&segment=" + hostile, "report=funnel&p.step=" + hostile + "&p.step=" + hostile,
			"report=pages&period=custom&from=" + hostile + "&to=" + hostile, "report=pages&cursor=" + hostile, "report=broken&p.whatever=" + hostile, "report=operation_adoption&p.operation=" + hostile,
		} {
			w := r.get(address(language, query))
			for _, fault := range faults(t, w.Body.String(), language) {
				t.Errorf("%s: %s", query, fault)
			}
			if strings.Contains(w.Body.String(), "\u202e") && !strings.Contains(query, hostile) {
				t.Errorf("%s: a mark that turns text around", query)
			}
		}
	}
	if text := said(t, r.report("en", "pages", "")); !strings.Contains(text, `</td><script>alert(1)</script><img src=x onerror="alert(2)">'"&{{.}}`) {
		t.Errorf("the text itself is lost: %s", text)
	}
}

func TestEveryProblemIsSaidInBothLanguages(t *testing.T) {
	r := signedIn(t)
	for _, code := range core.Codes() {
		if code == core.CodeUnauthenticated { // ends the session
			continue
		}
		r.answers["/v1/reports/pages"] = func() (int, []byte) {
			body, _ := json.Marshal(problem{Status: code.Status(), Code: string(code), Field: "filter", Detail: "what the API says"})
			return code.Status(), body
		}
		for _, language := range kit.Languages() {
			w := r.report(language, "pages", "")
			want, ok := texts(t)[language]["problem."+string(code)]
			all := said(t, w)
			if !ok || w.Code != code.Status() || !strings.Contains(all, want) || !strings.Contains(all, texts(t)[language]["field.filter"]) ||
				!strings.Contains(all, string(code)+": filter: what the API says") {
				t.Errorf("%s, %s: %d %s", code, language, w.Code, all)
			}
			if strings.Contains(all, texts(t)[language]["notes.title"]) {
				t.Errorf("%s: a result beside the problem", code)
			}
		}
		if w := r.get("/ui/en/report.csv?site=shop&purpose=usage_based_development&report=pages"); w.Code != code.Status() ||
			!strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || w.Header().Get("Content-Disposition") != "" {
			t.Errorf("%s as a file: %d %v", code, w.Code, w.Header())
		}
	}
	for body, want := range map[string]string{
		`{"code":"of_tomorrow","status":418,"field":"path"}`: "It is about: Page", `{"code":"of_tomorrow"}`: "The API refused the request.",
		"": "Something went wrong inside the service.", "<html>": "Something went wrong inside the service.", `{"code":7}`: "Something went wrong inside the service.",
	} {
		r.answers["/v1/reports/pages"] = func() (int, []byte) { return 418, []byte(body) }
		if w := r.report("en", "pages", ""); w.Code != 418 || !strings.Contains(said(t, w), want) {
			t.Errorf("%s: %d %s", body, w.Code, said(t, w))
		}
	}
	r.answers["/v1/reports/pages"] = func() (int, []byte) { return 304, nil }
	if w := r.report("en", "pages", ""); w.Code != http.StatusInternalServerError {
		t.Errorf("%d", w.Code)
	}
}

func TestAnAnswerThatIsNoneIsAnError(t *testing.T) {
	r := signedIn(t)
	for _, body := range []string{``, `null`, `[]`, `{}`, `{"columns":[]}`, `{"columns":[{"name":"a"}],"time_zone":"Mars/Base"}`, `{"columns":"x"}`, `{"rows":[1]}`, `{} {}`} {
		r.answers["/v1/reports/pages"] = func() (int, []byte) { return 200, []byte(body) }
		if w := r.report("en", "pages", ""); w.Code != http.StatusInternalServerError || !strings.Contains(said(t, w), "Something went wrong inside the service.") {
			t.Errorf("%s: %d", body, w.Code)
		}
	}
	r.answers["/v1/catalogue"] = func() (int, []byte) { return 200, []byte("nonsense") }
	if w := r.get("/ui/en/"); w.Code != http.StatusInternalServerError {
		t.Errorf("%d", w.Code)
	}
}

// Whatever an answer holds, the page is whole and well formed, or an error.
func TestNoAnswerBreaksThePage(t *testing.T) {
	r := signedIn(t)
	value := rapid.OneOf(
		rapid.Just[any](nil), rapid.Custom(func(t *rapid.T) any { return rapid.String().Draw(t, "text") }),
		rapid.SampledFrom([]any{
			"JPY", "12.5", "-3", "1e9", "2026-11-14T00:00:00+09:00", "2026-11-15T01:30:00Z", json.Number("1e300"), json.Number("-5"), json.Number("0.25"),
			json.Number("123456789012345678901234567890"), json.Number("1e-300"), 17, true, "<b>", stage.Hostile,
			[]any{},
			[]any{map[string]any{"currency": "USD", "revenue": "3"}},
			[]any{1, "x"},
			map[string]any{"a": 1},
			"JP", "mobile", "",
		}),
	)
	names := []string{"time", "name", "path", "country", "visitors", "revenue", "revenue_before", "revenue_change", "visitors_before", "visitors_change", "currency", "rate", "seconds", "step", "offset", "share", "purpose", "scroll_depth", "minutes"}
	kinds := []string{"", "text", "count", "ratio", "money", "clock", "ordinal", "rows"}
	rapid.Check(t, func(t *rapid.T) {
		chosen := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 7, rapid.ID).Draw(t, "columns")
		var columns []map[string]any
		for _, name := range chosen {
			columns = append(columns, map[string]any{"name": name, "kind": rapid.SampledFrom(kinds).Draw(t, "kind"), "label": map[string]any{"ja": "列" + name, "en": "Column " + name}})
		}
		rows := []map[string]any{}
		for range rapid.IntRange(0, 12).Draw(t, "rows") {
			fields := map[string]any{}
			for _, name := range append(chosen, "extra") {
				if v := value.Draw(t, name); v != "absent" {
					fields[name] = v
				}
			}
			rows = append(rows, fields)
		}
		body, err := json.Marshal(map[string]any{
			"report": rapid.SampledFrom([]string{"pages", "funnel", "overview", "retention"}).Draw(t, "report"), "site": "shop", "purpose": "usage_based_development", "policy": "p",
			"from": "2026-11-14T00:00:00+09:00", "to": rapid.SampledFrom([]string{"2026-11-21T00:00:00+09:00", "2026-11-14T00:00:00+09:00", "1999-01-01T00:00:00Z", "2926-11-21T00:00:00+09:00"}).Draw(t, "to"),
			"time_zone": rapid.SampledFrom([]string{"Asia/Tokyo", "America/New_York", "UTC"}).Draw(t, "zone"), "interval": rapid.SampledFrom([]string{"", "hour", "day", "week", "month", "minute"}).Draw(t, "interval"),
			"threshold": 10, "columns": columns, "rows": rows, "truncated": false, "suppressed": map[string]any{"groups": 0}, "coverage": map[string]any{"included": nil, "left_out": []any{}},
		})
		if err != nil {
			t.Fatal(err)
		}
		r.answers["/v1/reports/pages"] = func() (int, []byte) { return 200, body }
		language := rapid.SampledFrom(kit.Languages()).Draw(t, "language")
		w := r.report(language, "pages", "&p.step=a&p.step=b")
		if w.Code != http.StatusOK {
			t.Fatalf("%d for %s", w.Code, body)
		}
		for _, fault := range faults(r.t, w.Body.String(), language) {
			if !strings.Contains(fault, "is empty") && !strings.HasPrefix(fault, "holds ") { // a text of nothing but marks; a text that says so
				t.Errorf("%s: %s", fault, body)
			}
		}
	})
}

func TestAFileComesThroughThePage(t *testing.T) {
	r := signedIn(t)
	w := r.get("/ui/ja/report.csv?site=shop&purpose=usage_based_development&report=pages&cursor=MTAw&period=28")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/csv; charset=utf-8; header=present" ||
		w.Header().Get("Content-Disposition") != `attachment; filename="shop-pages-2026-10-24-2026-11-20.csv"` || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	language, query, _ := strings.Cut(strings.TrimSpace(w.Body.String()), ";")
	values, _ := url.ParseQuery(query)
	if language != "ja" || values.Get("format") != "csv" || values.Get("limit") != fileRows || values.Has("cursor") {
		t.Errorf("%s", w.Body)
	}
	if w := r.get("/ui/ja/report.csv?site=shop&purpose=usage_based_development&report=pages&limit=25"); !strings.Contains(w.Body.String(), "limit=25") {
		t.Errorf("%s", w.Body)
	}
	f := form{Site: `a"b`, Report: "pages"}
	if got := f.fileName(url.Values{"from": {"2026-01-01\r\nx"}, "to": {"日"}}); got != "pages.csv" {
		t.Errorf("%q", got)
	}
	r.post("/ui/ja/sign-out", nil)
	if w := r.get("/ui/ja/report.csv?site=shop&purpose=usage_based_development&report=pages"); !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
		t.Errorf("%v", w.Header())
	}
}

func TestRowsGoOnPageByPage(t *testing.T) {
	r := signedIn(t)
	first := r.report("en", "pages", "&limit=10&compare=previous_period")
	links := map[string]string{}
	for _, n := range kittest.Elements(kittest.Parse(t, first.Body.String()), "a") {
		links[kittest.Name(n)] = kittest.Attr(n, "href")
	}
	next, _ := url.Parse(links["Next rows"])
	if links["Back to the first rows"] != "" || next.Query().Get("cursor") != "MTA" || next.Query().Get("compare") != "previous_period" || next.Query().Get("limit") != "10" {
		t.Errorf("%v", links)
	}
	second := r.get("/ui/en/?" + next.RawQuery)
	all := said(t, second)
	if !strings.Contains(all, "/product/005") || strings.Contains(all, "/product/004 ") || !strings.Contains(all, "Back to the first rows") {
		t.Errorf("%s", all)
	}
}

func TestWhatANumberRestsOnIsSaid(t *testing.T) {
	r := signedIn(t)
	for _, c := range []struct{ language, report, more, want string }{
		{"en", "retention", "", "3 groups are withheld: fewer than 10 people."},
		{"ja", "retention", "", "3の集まりを伏せています。人数が10人に満たないためです。"},
		{"en", "pages", "", "Groups of about 10 people or fewer, and groups that would give those away, are withheld: about 12."},
		{"ja", "pages", "", "人数がおよそ10人以下の集まりと、差し引きでその人数がわかる集まりを伏せています（およそ12）。"},
		{"en", "pages", "", "numbers are uncertain by a few people"},
		{"ja", "pages", "", "数人分のゆらぎ"},
		{"en", "overview", "", "This purpose may see 61,377 events of this period."},
		{"ja", "overview", "", "この目的で見られる、この期間のできごとは61,377件です。"},
		{"en", "overview", "", "1,204 events are left out: Refused or withdrawn"},
		{"ja", "overview", "", "1,204件は含みません：断られたか、取り消されました"},
		{"en", "overview", "", "A few events are left out, of too few people to count them: Withdrawn later"},
		{"en", "pages", "", "There are more rows than these."},
		{"en", "pages", "", "“–” means that there is no value, or that too few people are behind it."},
		{"en", "pages", "", "This is the answer of 20 November 2026, 15:30."},
		{"en", "pages", "&d=path&o=is&v=x", "A filter that leaves out very few people has no effect"},
		{"ja", "pages", "&d=path&o=is&v=x", "この期間とごくわずかな人数しか違わない、2026年11月13日（金）〜2026年11月20日（金）の答えです。"},
		{"ja", "funnel", "&p.step=search&p.step=purchase", "期限が1日を超えるファネルには、Cookieなしの訪問者は含まれません"},
		{"en", "funnel", "&p.step=search&p.step=purchase", "A window of more than a day counts no visitors without a cookie."},
		{"ja", "retention", "", "2026年11月14日（土） 100.0% 800"},
		{"en", "devices", "&segment=japan", "Saved segment japan"},
		{"en", "searches", "", "Every row is withheld"},
		{"ja", "searches", "", "人数が少ないため、すべての行を伏せています"},
		{"en", "ads", "", "There is nothing to show of this period"},
		{"ja", "ads", "", "この期間に示せるものがありません"},
		{"ja", "pages", "", "このレポートを見たことは記録されました。"},
		{"en", "pages", "", "The picture shows the first 10 rows, the table 100."},
		{"en", "pages", "&d=country&o=not&v=JP", "Country is not “JP”"},
		{"ja", "pages", "&d=country&o=not&v=JP", "国が「JP」でない"},
		{"ja", "overview", "", "2026年11月14日（土）〜2026年11月20日（金）（Asia/Tokyo）"},
		{"en", "overview", "&compare=previous_period", "Sat, 7 November 2026 – Fri, 13 November 2026"},
	} {
		if all := said(t, r.report(c.language, c.report, c.more)); !strings.Contains(all, c.want) {
			t.Errorf("%s, %s%s does not say %q:\n%s", c.language, c.report, c.more, c.want, all)
		}
	}
	body := `{"columns":[{"name":"visitors","label":{"ja":"訪問者","en":"Visitors"}}],"rows":[{"visitors":7}],"time_zone":"UTC","sample":0.1,"suppressed":{"groups":1},"threshold":10,
		"coverage":{"included":null,"left_out":[{"reason":"x","count":0,"text":{"ja":"零","en":"zero"}}]},"noise":{"deviation":5}}`
	r.answers["/v1/reports/overview"] = func() (int, []byte) { return 200, []byte(body) }
	all := said(t, r.report("en", "overview", ""))
	for _, want := range []string{"Read from a sample of 10.0% of the people", "How many events this purpose may see is withheld", "numbers are uncertain", "1 group is withheld"} {
		if !strings.Contains(all, want) {
			t.Errorf("not said: %s in %s", want, all)
		}
	}
	if strings.Contains(all, "zero") {
		t.Error("nothing is left out, and it is said")
	}
}

func TestValuesAreWrittenAsTheirReadersDo(t *testing.T) {
	r := signedIn(t)
	for _, c := range []struct{ language, report, more, want string }{
		{"en", "overview", "", "Visitors 12,843"},
		{"ja", "overview", "", "直帰率 41.3%"},
		{"en", "overview", "", "Average visible time 1 min 23 s"},
		{"ja", "overview", "", "平均表示時間 1分23秒"},
		{"ja", "overview", "", "JPY 731 2,184,300円"},
		{"en", "overview", "", "JPY 731 ¥2,184,300"},
		{"en", "overview", "", "USD 42 $1,209.50"},
		{"en", "overview", "&compare=previous_year", "11,558 before (+11.1%)"},
		{"ja", "overview", "&compare=previous_year", "前 51.6% (−20.0%)"},
		{"en", "purchases", "", "KWD 63.125"},
		{"en", "purchases", "", "XXQ 20 20 12.50"},
		{"ja", "purchases", "", "$799.60"},
		{"ja", "devices", "", "スマートフォン Safari 日本 510 640"},
		{"en", "devices", "", "Mobile Safari Japan 510 640"},
		{"ja", "devices", "", "タブレット （なし） アメリカ合衆国"},
		{"en", "pages", "", "2 h 0 min"},
		{"en", "pages", "", "shop.example (none) 3,999 2,711 640 –"},
		{"ja", "timeseries", "", "2026年11月14日（土） 900"},
		{"en", "timeseries", "&p.interval=hour&period=today", "20 November 2026, 01:00"},
		{"en", "timeseries", "&p.interval=week", "week of 14 November 2026"},
		{"ja", "timeseries", "&p.interval=month", "2026年11月 900"},
		{"en", "funnel", "&p.step=page*:/x*&p.step=purchase", "1. page*:/x* 4,000 (100.0%)"},
		{"en", "funnel", "&p.step=page*:/x*&p.step=purchase", "1. page*:/x* Page 4,000"},
		{"ja", "funnel", "&p.step=search&p.step=purchase", "2. purchase 購入 1,714 42.9% 42.9% 1分35秒"},
		{"en", "funnel", "&p.step=search&p.step=purchase", "1. search Search 4,000 100.0% 100.0% 0 s"},
		{"en", "retention", "&p.unit=month&period=90", "August 2026 100.0% 800"},
	} {
		if all := said(t, r.report(c.language, c.report, c.more)); !strings.Contains(all, c.want) {
			t.Errorf("%s, %s%s does not say %q:\n%s", c.language, c.report, c.more, c.want, all)
		}
	}
}

func TestTheLanguageSwitchKeepsEverythingElse(t *testing.T) {
	r := signedIn(t)
	w := r.report("ja", "pages", "&period=28&d=path&o=has&v=%26%3D%3F&p.step=a&p.step=b")
	for _, n := range kittest.Elements(kittest.Parse(t, w.Body.String()), "a") {
		if kittest.Attr(n, "hreflang") != "en" {
			continue
		}
		to, _ := url.Parse(kittest.Attr(n, "href"))
		if q := to.Query(); to.Path != "../en/" || q.Get("report") != "pages" || q.Get("period") != "28" || q.Get("v") != "&=?" || len(q["p.step"]) != 2 || kittest.Attr(n, "lang") != "en" {
			t.Errorf("%s", to)
		}
		return
	}
	t.Error("there is no switch")
}

func TestTheFormKeepsWhatWasChosen(t *testing.T) {
	r := signedIn(t)
	doc := kittest.Parse(t, r.report("en", "funnel", "&period=custom&from=2026-01-02&to=2026-01-03&compare=previous_year&limit=25&d=country&o=lacks&v=J%22P&p.step=search&p.step=purchase&p.window=7d&p.strict=any&segment=s-1").Body.String())
	chosen := map[string][]string{}
	for _, n := range kittest.Elements(doc, "option") {
		if strings.Contains(fmt.Sprint(n.Attr), "selected") {
			name := n.Parent
			for name.Data != "select" {
				name = name.Parent
			}
			chosen[kittest.Attr(name, "name")] = append(chosen[kittest.Attr(name, "name")], kittest.Attr(n, "value"))
		}
	}
	for _, n := range kittest.Elements(doc, "input") {
		chosen[kittest.Attr(n, "name")] = append(chosen[kittest.Attr(n, "name")], kittest.Attr(n, "value"))
	}
	for name, want := range map[string][]string{
		"site": {"shop"}, "purpose": {"usage_based_development"}, "report": {"funnel"}, "period": {"custom"}, "from": {"2026-01-02"}, "to": {"2026-01-03"}, "compare": {"previous_year"},
		"limit": {"25"}, "d": {"country"}, "o": {"lacks", "is"}, "v": {`J"P`, ""}, "p.step": {"search", "purchase", ""}, "p.window": {"7d"}, "p.strict": {"any"}, "p.interval": {"day"}, "segment": {"s-1"},
	} {
		if !slices.Equal(chosen[name], want) {
			t.Errorf("%s: %q, want %q", name, chosen[name], want)
		}
	}
	// A report that the purpose may not read is told apart before it is asked for.
	doc = kittest.Parse(t, r.get("/ui/en/?site=shop&purpose=customer_support").Body.String())
	groups := kittest.Elements(doc, "optgroup")
	if len(groups) != 1 || !strings.Contains(kittest.Name(groups[0]), "Pages") || strings.Contains(kittest.Name(groups[0]), "Overview") {
		t.Errorf("%d", len(groups))
	}
}

func TestWhereThereIsOneChoiceItIsMade(t *testing.T) {
	r := signedIn(t)
	one := `{"sites":[{"id":"shop","name":"Shop","time_zone":"UTC","purposes":[{"id":"only","label":{"ja":"目的","en":"Purpose"},"reports":["pages"]}]}],"reports":[{"name":"pages","label":{"ja":"頁","en":"Pages"}}],"dimensions":[]}`
	r.answers["/v1/catalogue"] = func() (int, []byte) { return 200, []byte(one) }
	r.get("/ui/en/?report=pages")
	if v := r.asked(); v.Get("site") != "shop" || v.Get("purpose") != "only" {
		t.Errorf("%v", v)
	}
}

func TestAKeyWithoutAGrantIsTold(t *testing.T) {
	r := newReader(t)
	r.post("/ui/ja/sign-in", url.Values{"key": {stage.Stranger}})
	w := r.get("/ui/ja/")
	if w.Code != http.StatusOK || !strings.Contains(said(t, w), "このキーで見られるサイトがありません") || len(faults(t, w.Body.String(), "ja")) > 0 {
		t.Errorf("%d %s %v", w.Code, w.Body, faults(t, w.Body.String(), "ja"))
	}
}

func TestEveryAnswerForbidsScriptsAndStaysWithItsReader(t *testing.T) {
	r := signedIn(t)
	for _, target := range []string{"/", "/ui/", "/ui/ja/", "/ui/ja/report.csv?site=shop&purpose=usage_based_development&report=pages", "/ui/nothing", "/ui/ja/nothing", "/elsewhere"} {
		h := r.get(target).Header()
		if h.Get("Content-Security-Policy") != contentPolicy || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" ||
			h.Get("Cache-Control") != "no-store" || h.Get("Cross-Origin-Opener-Policy") != "same-origin" {
			t.Errorf("%s: %v", target, h)
		}
	}
	for _, directive := range []string{"default-src 'none'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(contentPolicy, directive) {
			t.Error(directive)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		if w := r.send(method, "/ui/ja/", ""); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	doc := kittest.Parse(t, r.get("/ui/ja/").Body.String())
	for _, n := range kittest.Elements(doc, "link") {
		if kittest.Attr(n, "rel") == "stylesheet" {
			w := r.get("/ui/" + strings.TrimPrefix(kittest.Attr(n, "href"), "../"))
			if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/css") || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") ||
				!strings.HasPrefix(w.Body.String(), string(kit.Style(nil))) {
				t.Errorf("%d %v", w.Code, w.Header())
			}
		}
	}
}

func TestAnAddressWithoutALanguageFollowsTheBrowsers(t *testing.T) {
	r := newReader(t)
	for accept, want := range map[string]string{"": "ja", "en-GB,en;q=0.9": "en", "ja-JP": "ja", "fr": "en", "fr,ja;q=0.5": "ja", "nonsense;;": "en"} {
		for target, below := range map[string]string{"/": "ui/", "/ui": "ui/", "/ui/": ""} {
			w := r.get(target, "Accept-Language", accept)
			if w.Code != http.StatusFound || w.Header().Get("Location") != below+want+"/" || w.Header().Get("Vary") != "Accept-Language" {
				t.Errorf("%s, %q: %d %v", target, accept, w.Code, w.Header())
			}
		}
		if w := r.get("/ui/elsewhere", "Accept-Language", accept); w.Code != http.StatusNotFound || w.Header().Get("Content-Language") != want {
			t.Errorf("%q: %d %v", accept, w.Code, w.Header())
		}
	}
}

// --- Texts ------------------------------------------------------------------------------------------------------------

func texts(t testing.TB) map[string]map[string]string {
	t.Helper()
	d := &desk{}
	if err := d.read(); err != nil {
		t.Fatal(err)
	}
	return d.texts
}

func TestTheLanguagesAgree(t *testing.T) {
	all := texts(t)
	// Signs, and what is called the same in both.
	alike := regexp.MustCompile(`^(zone|join|missing|span|step|form\.own|value\.share|chart\.of|cohorts\.caption|table\.caption|language\.switch)$`)
	for _, fault := range (kittest.Messages{JA: all["ja"], EN: all["en"], Alike: alike, Moved: true}).Faults() {
		t.Error(fault)
	}
}

func TestEveryTextIsUsedAndEveryKeyHasOne(t *testing.T) {
	all := texts(t)["en"]
	source := kittest.Sources(t, "*.go", "templates/*")
	// Keys that are put together: of choices, of what the API names, of what it says.
	together := regexp.MustCompile(`^(period|compare|operator|filter|option|own|value|field|problem|advice|refused)\.|^(enter|missing)\.title$`)
	for key := range all {
		if !strings.Contains(source, `"`+key+`"`) && !together.MatchString(key) {
			t.Errorf("%s is used nowhere", key)
		}
	}
	for _, m := range regexp.MustCompile(`(?:\.T|say) "([a-z._]+)"|say\("([a-z._]+)"`).FindAllStringSubmatch(source, -1) {
		if key := m[1] + m[2]; all[key] == "" && !strings.HasSuffix(key, ".") {
			t.Errorf("there is no text %s", key)
		}
	}
	for name, c := range controls {
		if all["own."+name] == "" {
			t.Errorf("there is no text for %s", name)
		}
		for _, option := range c.options {
			if all["option."+name+"."+option] == "" {
				t.Errorf("there is no text for %s of %s", option, name)
			}
		}
	}
	for _, reason := range core.Reasons() {
		if s := reason.String(); all["value.reason."+s] == "" && !slices.Contains([]string{"consent", "opt_out", "notified"}, s) {
			t.Errorf("there is no text for the reason %s", s)
		}
	}
	for _, e := range core.EventTypes() {
		if all["value.type."+e.String()] == "" {
			t.Errorf("there is no text for the event %s", e)
		}
	}
}

func TestAMissingTextIsAnErrorAndNoHalfPage(t *testing.T) {
	for _, key := range []string{"footer.gate", "notes.title", "coverage.included", "chart.bars", "own.interval"} {
		d := &desk{ask: Through(stage.API()), options: Options{Now: time.Now}}
		if err := d.read(); err != nil {
			t.Fatal(err)
		}
		r := newReader(t)
		var err error
		if d.sessions, err = newSessions(r.options().Random, time.Now); err != nil {
			t.Fatal(err)
		}
		r.handler = d.routes()
		r.signIn()
		delete(d.texts["en"], key)
		if w := r.report("en", "pages", ""); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "<") {
			t.Errorf("%s: %d %s", key, w.Code, w.Body)
		}
	}
}

// --- Look -------------------------------------------------------------------------------------------------------------

func TestColoursHaveEnoughContrast(t *testing.T) {
	css, err := files.ReadFile("style.css")
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range kittest.ReadColours(kit.Style(css)).Faults(
		kittest.Pair{Front: "ink", Least: 4.5, Back: []string{"paper", "sheet", "note", "shade-a", "shade-b", "shade-c", "shade-d", "shade-e"}},
		kittest.Pair{Front: "soft", Least: 4.5, Back: []string{"paper", "sheet"}},
		kittest.Pair{Front: "matcha", Least: 4.5, Back: []string{"paper", "sheet", "note"}},
		kittest.Pair{Front: "on-matcha", Least: 4.5, Back: []string{"matcha"}},
		kittest.Pair{Front: "vermilion", Least: 3, Back: []string{"paper", "sheet", "note"}},
		kittest.Pair{Front: "focus", Least: 3, Back: []string{"paper", "sheet", "note"}},
		kittest.Pair{Front: "matcha", Least: 3, Back: []string{"rail"}},
		kittest.Pair{Front: "control", Least: 3, Back: []string{"sheet", "paper"}},
	) {
		t.Error(fault)
	}
}

func TestTheStyleShowsEveryControlWithItsReports(t *testing.T) {
	css, err := files.ReadFile("style.css")
	if err != nil {
		t.Fatal(err)
	}
	for name := range controls {
		if !strings.Contains(string(css), fmt.Sprintf(`.ask:has(option[data-takes~="%s"]:checked) [data-own="%s"]`, name, name)) {
			t.Errorf("%s stays hidden", name)
		}
	}
	for _, outside := range []string{"@import", "url(", "http:", "https:"} {
		if strings.Contains(string(kit.Style(css)), outside) {
			t.Errorf("the style holds %s", outside)
		}
	}
}

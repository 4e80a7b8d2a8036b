package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sekisho/sekisho/client"
	"github.com/sekisho/sekisho/internal/testkit"
)

const key = "sk_0123abcd_CANARY7f3a"

// locations is what most tests ask for.
var locations = client.Read{Site: "shop", Purpose: "usage_based_development"}

const answered = `{"report":"locations","site":"shop","purpose":"usage_based_development","policy":"default/2022-09-15",
	"from":"2026-11-19T00:00:00+09:00","to":"2026-11-26T00:00:00+09:00","time_zone":"Asia/Tokyo","threshold":50,
	"columns":[{"name": "country", "kind": "text", "label":{"ja":"国","en":"Country"}},{"name": "visitors", "kind": "count", "label":{"ja":"訪問者","en":"Visitors"}}],
	"rows":[{"country":"JP","visitors":148,"share":0.125,"time":"2026-11-19T00:00:00+09:00","revenue":[{"currency":"JPY","revenue":"12800.5"}],"withheld":null}],
	"release":{"id":"01989cbb-0000-7000-8000-000000000000","as_of":"2026-11-25T09:00:00Z","reused":true,"dropped_filters":["!device"]},
	"remarks":[{"name":"noisy","text":{"ja":"数値はおおよそです","en":"Figures are approximate"}}],
	"truncated":%t,%s"suppressed":{"groups":2,"reason":"fewer than 50 subjects"},
	"coverage":{"included":2210,"left_out":[{"reason":"refused","count":null,"text":{"ja":"断られたか、取り消されました","en":"Refused or withdrawn"}}]}}`

// service answers as its contract says, or the test fails: requests and answers are held against it.
func service(t *testing.T, answer http.HandlerFunc) *client.Client {
	t.Helper()
	contract := testkit.ReadContract(t, "query.v1.yaml")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := contract.Permits(r.Clone(r.Context())); err != nil {
			t.Errorf("the contract does not permit %s: %v", r.URL, err)
		}
		if r.Header.Get("Authorization") != "Bearer "+key {
			t.Errorf("asked with %q", r.Header.Get("Authorization"))
		}
		recorded := httptest.NewRecorder()
		answer(recorded, r)
		if err := contract.Holds(r.Clone(r.Context()), recorded); err != nil {
			t.Errorf("the contract has no such answer: %v", err)
		}
		for name, values := range recorded.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(recorded.Code)
		_, _ = w.Write(recorded.Body.Bytes())
	}))
	t.Cleanup(server.Close)
	return dial(t, server)
}

func dial(t *testing.T, server *httptest.Server, options ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(server.URL, key, options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func writeJSON(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, body)
}

func TestAReportIsReadWithAllItSaysOfItself(t *testing.T) {
	c := service(t, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, fmt.Sprintf(answered, false, "")) })
	a, err := c.Report(t.Context(), "locations", locations)
	if err != nil {
		t.Fatal(err)
	}
	if a.Report != "locations" || a.Policy != "default/2022-09-15" || a.Threshold != 50 || a.Suppressed.Groups != 2 || *a.Coverage.Included != 2210 ||
		a.Coverage.LeftOut[0].Count != nil || a.Coverage.LeftOut[0].Text.JA == "" || a.Columns[1].Label.EN != "Visitors" || a.To.Sub(a.From) != 7*24*time.Hour {
		t.Errorf("%+v", a)
	}
	if a.Release == nil || !a.Release.Reused || a.Release.DroppedFilters[0] != "!device" || a.Release.Period != nil || a.Remarks[0].Name != "noisy" {
		t.Errorf("%+v %+v", a.Release, a.Remarks)
	}
	row := a.Rows[0]
	if country, ok := row.Text("country"); !ok || country != "JP" {
		t.Error(country, ok)
	}
	if visitors, ok := row.Count("visitors"); !ok || visitors != 148 {
		t.Error(visitors, ok)
	}
	if share, ok := row.Ratio("share"); !ok || share != 0.125 {
		t.Error(share, ok)
	}
	if at, ok := row.Time("time"); !ok || !at.Equal(a.From) {
		t.Error(at, ok)
	}
	revenue, ok := row.Rows("revenue")
	if !ok || len(revenue) != 1 {
		t.Fatal(revenue, ok)
	}
	if amount, ok := revenue[0].Text("revenue"); !ok || amount != "12800.5" {
		t.Error(amount, ok)
	}
	for _, column := range []string{"withheld", "unknown"} {
		_, text := row.Text(column)
		_, count := row.Count(column)
		_, ratio := row.Ratio(column)
		_, at := row.Time(column)
		_, rows := row.Rows(column)
		if text || count || ratio || at || rows {
			t.Errorf("%s has a value", column)
		}
	}
	if _, ok := row.Count("share"); ok {
		t.Error("a ratio is a count")
	}
	if _, ok := row.Time("country"); ok {
		t.Error("a country is a time")
	}
}

func TestAReadBecomesTheRequestOfTheContract(t *testing.T) {
	var asked url.Values
	c := service(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query()
		writeJSON(w, fmt.Sprintf(answered, false, ""))
	})
	tokyo := time.FixedZone("", 9*60*60)
	read := client.Read{
		Site: "shop", Purpose: "usage_based_development",
		From: client.Day(time.Date(2026, 11, 19, 23, 0, 0, 0, tokyo)), To: client.At(time.Date(2026, 11, 25, 12, 0, 0, 500_000_000, tokyo)),
		Filters: []client.Filter{client.Is("country", "JP"), client.Not(client.Contains("path", "a&b=c")), client.Like("referrer", "*.example")},
		Compare: client.PreviousPeriod, Interval: "week", Segment: "phones", Sample: 0.2, Limit: 10, Cursor: "MTA",
		More: url.Values{"filter": {"device:mobile"}},
	}
	if _, err := c.Report(t.Context(), "timeseries", read); err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"site": {"shop"}, "purpose": {"usage_based_development"}, "from": {"2026-11-19"}, "to": {"2026-11-25T12:00:00.5+09:00"},
		"filter":  {"device:mobile", "country:JP", "!path~a&b=c", "referrer**.example"},
		"compare": {"previous_period"}, "interval": {"week"}, "segment": {"phones"}, "sample": {"0.2"}, "limit": {"10"}, "cursor": {"MTA"},
	}
	if asked.Encode() != want.Encode() {
		t.Errorf("asked %v, want %v", asked, want)
	}
	if len(read.More["filter"]) != 1 {
		t.Error("the caller's values were changed")
	}
	asked = nil
	if _, err := c.Report(t.Context(), "locations", locations); err != nil || len(asked) != 2 {
		t.Errorf("asked %v, %v", asked, err)
	}
	read = locations
	read.CompareFrom, read.CompareTo = "2026-10-01", "2026-10-07"
	if _, err := c.Report(t.Context(), "locations", read); err != nil || asked.Get("compare_from") != "2026-10-01" || asked.Get("compare_to") != "2026-10-07" {
		t.Errorf("asked %v, %v", asked, err)
	}
}

func TestWhatAKeyMayAskAndHowAReportIsReadAreTold(t *testing.T) {
	c := service(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("explain") == "true" {
			writeJSON(w, `{"report":"pages","site":"shop","purpose":"p","policy":"v","source":"raw","why":"few rows","threshold":10,"statements":["pages"],"left_out":[],"columns":["path"],"filters":["!path~"]}`)
			return
		}
		writeJSON(w, `{"sites":[{"id":"shop","name":"Shop","time_zone":"Asia/Tokyo","policy":"v","purposes":[{"id":"p","label":{"ja":"あ","en":"a"},"reports":["pages"]}]}],
			"reports":[{"name":"pages","label":{"ja":"ページ","en":"Pages"},"columns":[{"name": "path", "kind": "text", "label":{"ja":"ページ","en":"Page"}}],"parameters":["interval"]}],"dimensions":[]}`)
	})
	e, err := c.Explain(t.Context(), "pages", locations)
	if err != nil || e.Source != "raw" || e.Statements[0] != "pages" || e.Filters[0] != "!path~" {
		t.Errorf("%+v, %v", e, err)
	}
	all, err := c.Catalogue(t.Context())
	if err != nil || all.Sites[0].Purposes[0].Reports[0] != "pages" || all.Reports[0].Columns[0].Label.JA != "ページ" || all.Reports[0].Parameters[0] != "interval" {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestARefusalIsAnErrorWithACode(t *testing.T) {
	c := service(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Sekisho-Request-Id", "5f0c")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"type":"urn:sekisho:problem:column_denied","title":"Forbidden","status":403,"code":"column_denied","field":"search_query","detail":"the purpose may not use data of category search_history"}`)
	})
	_, err := c.Report(t.Context(), "searches", locations)
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Status != 403 || refused.Code != client.CodeColumnDenied || refused.Field != "search_query" || refused.RequestID != "5f0c" {
		t.Fatal(err)
	}
	if want := "read report: 403 Forbidden: column_denied: search_query: the purpose may not use data of category search_history (request 5f0c)"; err.Error() != want {
		t.Error(err)
	}
}

// transport answers without a network, so that time can stand still between the tries.
type transport func(r *http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func reply(status int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body))}
}

func through(t *testing.T, f transport, options ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New("http://query.example/below", key, append([]client.Option{client.WithHTTPClient(&http.Client{Transport: f})}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestABusyServiceIsAskedAgainAfterTheWaitItAsksFor(t *testing.T) {
	for name, after := range map[string]func() string{
		"seconds": func() string { return "7" },
		"a date":  func() string { return time.Now().Add(7 * time.Second).UTC().Format(http.TimeFormat) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries, started := 0, time.Now()
				c := through(t, func(r *http.Request) (*http.Response, error) {
					if r.URL.Path != "/below/v1/reports/locations" {
						t.Errorf("asked %s", r.URL)
					}
					tries++
					if status := []int{503, 429, 504, 200}[tries-1]; status != 200 {
						return reply(status, http.Header{"Retry-After": {after()}}, ""), nil
					}
					return reply(200, nil, fmt.Sprintf(answered, false, "")), nil
				})
				if _, err := c.Report(t.Context(), "locations", locations); err != nil {
					t.Fatal(err)
				}
				// Three waits of 7 s, and a jitter of less than 0.5, 1 and 2 s.
				if took := time.Since(started); tries != 4 || took < 21*time.Second-time.Second || took > 24500*time.Millisecond {
					t.Errorf("%d tries in %v", tries, took)
				}
			})
		})
	}
}

func TestTheLastRefusalIsToldWhenTheTriesAreUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for tries, status := range map[int]int{1: 503, 2: 429, 4: 504} {
			asked := 0
			c := through(t, func(*http.Request) (*http.Response, error) { asked++; return reply(status, nil, ""), nil }, client.WithTries(tries))
			_, err := c.Report(t.Context(), "locations", locations)
			var refused *client.Error
			if !errors.As(err, &refused) || refused.Status != status || asked != tries {
				t.Errorf("%d tries: %d, %v", tries, asked, err)
			}
		}
		for _, status := range []int{301, 400, 401, 403, 404, 500, 502} {
			asked := 0
			c := through(t, func(*http.Request) (*http.Response, error) {
				asked++
				return reply(status, http.Header{"Content-Type": {"text/html"}}, "<p>"), nil
			})
			if _, err := c.Report(t.Context(), "locations", locations); err == nil || asked != 1 {
				t.Errorf("%d: asked %d times, %v", status, asked, err)
			}
		}
	})
}

func TestNoWaitIsLongerThanTheCallersTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		started := time.Now()
		c := through(t, func(*http.Request) (*http.Response, error) {
			return reply(503, http.Header{"Retry-After": {"60"}}, ""), nil
		})
		_, err := c.Report(ctx, "locations", locations)
		var refused *client.Error
		if !errors.As(err, &refused) || time.Since(started) != 0 {
			t.Errorf("waited %v for %v", time.Since(started), err)
		}
		left, leave := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, leave)
		_, err = c.Report(left, "locations", locations)
		if !errors.Is(err, context.Canceled) || !errors.As(err, &refused) || time.Since(started) != 3*time.Second {
			t.Errorf("left after %v: %v", time.Since(started), err)
		}
	})
}

func TestNoErrorHoldsAKeyAFilterOrAnAnswer(t *testing.T) {
	const mark = "CANARY7f3a"
	read := locations
	read.Filters = []client.Filter{client.Is("path", mark)}
	for name, f := range map[string]transport{
		"no network": func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
		"no JSON":    func(*http.Request) (*http.Response, error) { return reply(200, nil, mark), nil },
		"no problem": func(*http.Request) (*http.Response, error) { return reply(400, nil, mark), nil },
		"a broken one": func(*http.Request) (*http.Response, error) {
			return reply(400, http.Header{"Content-Type": {"application/problem+json"}}, mark), nil
		},
		"another schema": func(*http.Request) (*http.Response, error) { return reply(200, nil, `{"rows":"`+mark+`"}`), nil },
	} {
		c := through(t, f)
		_, err := c.Report(t.Context(), "pages", read)
		if err == nil || strings.Contains(err.Error(), mark) {
			t.Errorf("%s: %v", name, err)
		}
		for _, err := range c.Rows(t.Context(), "pages", read) {
			if err != nil && strings.Contains(err.Error(), mark) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := c.Export(t.Context(), "pages", read, client.CSV, io.Discard); err != nil && strings.Contains(err.Error(), mark) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range [][2]string{{"://", key}, {"query.example", key}, {"http://", key}, {"ftp://host", key}, {"http://user:" + mark + "@host", key}, {"http://host?a=" + mark, key}, {"http://host", ""}, {"http://host", mark + "\n"}, {"http://host#" + mark, key}} {
		if _, err := client.New(bad[0], bad[1]); err == nil || strings.Contains(err.Error(), mark) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := client.New("http://host", key, client.WithTries(0)); err == nil {
		t.Error("no try at all")
	}
	if _, err := client.New("http://host", key, client.WithHTTPClient(nil)); err == nil {
		t.Error("no HTTP client")
	}
}

// A redirect could lead the key elsewhere.
func TestTheKeyGoesToTheServiceOnly(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked elsewhere: %s", r.URL) }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer server.Close()
	_, err := dial(t, server).Report(t.Context(), "locations", locations)
	var refused *client.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusFound {
		t.Error(err)
	}
}

func TestANameStaysInItsPlace(t *testing.T) {
	for _, name := range []string{"..", "../../healthz", "a/b", "a?b=c", "a#b", ".", "日本"} {
		c := through(t, func(r *http.Request) (*http.Response, error) {
			if r.URL.Path != "/below/v1/reports/"+name || strings.Count(r.URL.EscapedPath(), "/") != 4 || r.URL.RawQuery != "purpose=usage_based_development&site=shop" {
				t.Errorf("%s is asked as %s", name, r.URL)
			}
			return reply(404, nil, ""), nil
		})
		_, _ = c.Report(t.Context(), name, locations)
	}
}

func TestPagesFollowEachOther(t *testing.T) {
	var cursors []string
	c := service(t, func(w http.ResponseWriter, r *http.Request) {
		cursor := r.URL.Query().Get("cursor")
		cursors = append(cursors, cursor)
		switch cursor {
		case "":
			writeJSON(w, fmt.Sprintf(answered, true, `"next":"MQ",`))
		case "MQ":
			writeJSON(w, fmt.Sprintf(answered, true, `"next":"Mg",`))
		default:
			writeJSON(w, fmt.Sprintf(answered, false, ""))
		}
	})
	pages := 0
	for a, err := range c.Pages(t.Context(), "locations", locations) {
		if err != nil || len(a.Rows) != 1 {
			t.Fatal(a, err)
		}
		pages++
	}
	if pages != 3 || !slices.Equal(cursors, []string{"", "MQ", "Mg"}) {
		t.Errorf("%d pages, asked %q", pages, cursors)
	}
	for range c.Pages(t.Context(), "locations", locations) {
		break
	}
	if len(cursors) != 4 {
		t.Errorf("asked on after the caller had enough: %q", cursors)
	}
}

func ndjson(next string, lines ...string) *http.Response {
	h := http.Header{"Content-Type": {client.NDJSON}}
	if next != "" {
		h.Set("Sekisho-Next", next)
	}
	return reply(200, h, strings.Join(lines, "\n")+"\n")
}

func TestRowsComeOneByOneThroughAllPages(t *testing.T) {
	var asked []string
	c := through(t, func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Accept") != "application/x-ndjson" {
			t.Error(r.Header)
		}
		asked = append(asked, r.URL.Query().Get("cursor"))
		switch r.URL.Query().Get("cursor") {
		case "":
			return ndjson(`"a\"\\b"`, `{"path":"/","views":9007199254740993}`, `{"path":"/list","views":2}`), nil
		case `a"\b`:
			return ndjson("", `{"path":"/last","views":null}`), nil
		}
		return reply(404, nil, ""), nil
	})
	var got []string
	for row, err := range c.Rows(t.Context(), "pages", locations) {
		if err != nil {
			t.Fatal(err)
		}
		path, _ := row.Text("path")
		views, ok := row.Count("views")
		got = append(got, fmt.Sprint(path, " ", views, " ", ok))
	}
	if want := []string{"/ 9007199254740993 true", "/list 2 true", "/last 0 false"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	asked = nil
	for range c.Rows(t.Context(), "pages", locations) {
		break
	}
	if len(asked) != 1 {
		t.Errorf("asked on after the caller had enough: %q", asked)
	}
}

func TestRowsThatBreakOffEndInAnError(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"path":"/"}`+"\n")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	for name, c := range map[string]*client.Client{
		"cut off":    dial(t, server),
		"no row":     through(t, func(*http.Request) (*http.Response, error) { return ndjson("", `{"path":"/"}`, "null"), nil }),
		"half a row": through(t, func(*http.Request) (*http.Response, error) { return ndjson("", `{"path":"/"}`, `{"path`), nil }),
		"a row too long": through(t, func(*http.Request) (*http.Response, error) {
			return ndjson("", `{"path":"/"}`, `{"path":"`+strings.Repeat("x", 5<<20)+`"}`), nil
		}),
		"round in circle": through(t, func(r *http.Request) (*http.Response, error) { return ndjson(`"a"`, `{"path":"/"}`), nil }),
	} {
		rows, failed := 0, 0
		for _, err := range c.Rows(t.Context(), "pages", locations) {
			if err == nil {
				rows++
			} else {
				failed++
			}
		}
		if rows < 1 || rows > 2 || failed != 1 {
			t.Errorf("%s: %d rows, %d errors", name, rows, failed)
		}
	}
}

func TestAnExportIsWhatTheServiceSends(t *testing.T) {
	c := through(t, func(r *http.Request) (*http.Response, error) {
		return reply(200, nil, "in "+r.Header.Get("Accept")), nil
	})
	for _, media := range []string{client.CSV, client.NDJSON, client.Parquet} {
		var out bytes.Buffer
		if err := c.Export(t.Context(), "pages", locations, media, &out); err != nil || out.String() != "in "+media {
			t.Errorf("%s: %s, %v", media, &out, err)
		}
	}
}

// What the service may add to its answers does not break a client of today.
func TestAnAnswerMayHaveMoreThanTheClientKnows(t *testing.T) {
	var body map[string]any
	if err := json.Unmarshal(fmt.Appendf(nil, answered, false, ""), &body); err != nil {
		t.Fatal(err)
	}
	body["news"] = map[string]any{"a": 1}
	text, _ := json.Marshal(body)
	c := through(t, func(*http.Request) (*http.Response, error) { return reply(200, nil, string(text)), nil })
	if a, err := c.Report(t.Context(), "locations", locations); err != nil || len(a.Rows) != 1 {
		t.Error(a, err)
	}
}

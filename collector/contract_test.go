package collector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/testkit"
)

// fakeScripts holds the tracker.
type fakeScripts map[string]string

func (s fakeScripts) Script(name string) ([]byte, bool) { body, ok := s[name]; return []byte(body), ok }
func (fakeScripts) Version() string                     { return "v1" }

// emptyLedger knows nothing of any act.
type emptyLedger struct{}

func (emptyLedger) Ask(_ context.Context, what string, _ url.Values) (int, string, []byte, error) {
	if what == "proof" {
		return http.StatusOK, applicationJSON, []byte(`{"receipts":[]}`), nil
	}
	return http.StatusOK, "text/plain; charset=utf-8", []byte("sekisho\n"), nil
}

func complete(_ *Config, d *Deps) {
	d.Ledger = emptyLedger{}
	d.States = &fakeStates{}
	d.Scripts = fakeScripts{"s.js": "// tracker"}
}

func TestAnswersAreThoseOfTheContract(t *testing.T) {
	doc := testkit.ReadContract(t, "collector.v1.yaml")
	act := `{"site":"shop","subject":{"cookie_id":"c"},"policy_version":"default/2022-09-15","granted":["service_development"],` +
		`"text_hash":"sha256:` + strings.Repeat("0a", 32) + `","language":"ja","surface":"banner","time":"2026-04-01T11:59:00Z"}`
	every := `{"events":[` +
		`{"id":"01890a5d-ac96-774b-bcce-b302099a8057","type":"page_view","time":1775041200000,"url":"https://shop.example/","referrer":"","title":"茶","view_id":"v"},` +
		`{"type":"engagement","engagement":{"ms":86400000,"scroll":100}},` +
		`{"type":"operation","operation":{"name":"export","target":"csv"}},` +
		`{"type":"purchase","purchase":{"order_id":"o","currency":"JPY","total":"1200.5","items":[{"sku":"s","name":"n","category":"c","quantity":1000000,"price":1200}]}},` +
		`{"type":"ad_view","ad":{"id":"a","slot":"s","campaign":"c","action":"click","visible_ms":1}},` +
		`{"type":"search","search":{"query":"","results":4294967295,"category":"c"}},` +
		`{"type":"environment","source":"third_party","provenance":"record 1","time":"2026-04-01T11:59:00.5+09:00"},` +
		`{"type":"custom","custom":{"name":"signup","properties":{"plan":"a"}}}],` +
		`"site":"shop","sent_at":1775041201000,"cookie_id":"c","device_id":"d","user_id":"u","deny":["*"],"lib":"web/1",` +
		`"env":{"language":"ja","screen":"1920x1080","viewport":"1x1","connection":"4g","save_data":true,"color_scheme":"dark","reduced_motion":false,"time_zone":"Asia/Tokyo"}}`
	limited := func(cfg *Config, d *Deps) { cfg.Rate, cfg.Burst = 1e-9, 1; complete(cfg, d) }
	alone := func(*Config, *Deps) {}
	for name, tc := range map[string]struct {
		method, target, body string
		header               []string
		build                func(*Config, *Deps)
		status               int
	}{
		"every kind of event":          {http.MethodPost, "/v1/events", every, nil, complete, 202},
		"an event":                     {http.MethodPost, "/v1/events", view, nil, complete, 202},
		"an array":                     {http.MethodPost, "/v1/events", "[" + view + "]", nil, complete, 202},
		"lines":                        {http.MethodPost, "/v1/events", view + "\n" + view, []string{"Content-Type", ndjson}, complete, 202},
		"text":                         {http.MethodPost, "/v1/events", view, []string{"Content-Type", textPlain}, complete, 202},
		"of a server":                  {http.MethodPost, "/v1/events", view, []string{"Origin", "", "Sekisho-Write-Key", key}, complete, 202},
		"a good one and a bad one":     {http.MethodPost, "/v1/events", `[` + view + `,{"type":"page_view"}]`, nil, complete, 207},
		"undeclared fields":            {http.MethodPost, "/v1/events", `{"site":"shop","type":"page_view","x":1,"location":{"lat":1,"lon":2}}`, nil, complete, 202},
		"a bad event":                  {http.MethodPost, "/v1/events", `{"site":"shop"}`, nil, complete, 400},
		"no JSON":                      {http.MethodPost, "/v1/events", `{`, nil, complete, 400},
		"nobody's event":               {http.MethodPost, "/v1/events", view, []string{"Origin", ""}, complete, 401},
		"a foreign page's event":       {http.MethodPost, "/v1/events", view, []string{"Origin", "https://evil.example"}, complete, 403},
		"a large body":                 {http.MethodPost, "/v1/events", strings.Repeat(" ", maxBody+1), nil, complete, 413},
		"a form":                       {http.MethodPost, "/v1/events", view, []string{"Content-Type", "text/html"}, complete, 415},
		"a second event too soon":      {http.MethodPost, "/v1/events", view, nil, limited, 429},
		"an act":                       {http.MethodPost, "/v1/consent", act, nil, complete, 202},
		"a server's act":               {http.MethodPost, "/v1/consent", act, []string{"Origin", "", "Sekisho-Write-Key", key}, complete, 202},
		"an act as text":               {http.MethodPost, "/v1/consent", act, []string{"Content-Type", textPlain}, complete, 202},
		"a bad act":                    {http.MethodPost, "/v1/consent", `{"site":"shop"}`, nil, complete, 400},
		"nobody's act":                 {http.MethodPost, "/v1/consent", act, []string{"Origin", ""}, complete, 401},
		"a foreign page's act":         {http.MethodPost, "/v1/consent", act, []string{"Origin", "https://evil.example"}, complete, 403},
		"a large act":                  {http.MethodPost, "/v1/consent", strings.Repeat(" ", maxBody+1), nil, complete, 413},
		"an act as lines":              {http.MethodPost, "/v1/consent", act, []string{"Content-Type", ndjson}, complete, 415},
		"a second act too soon":        {http.MethodPost, "/v1/consent", act, nil, limited, 429},
		"a state":                      {http.MethodGet, "/v1/consent?site=shop", "", []string{"Sekisho-Cookie-Id", "c"}, complete, 200},
		"nobody's state":               {http.MethodGet, "/v1/consent?site=shop", "", nil, complete, 400},
		"a state for a foreign page":   {http.MethodGet, "/v1/consent?site=shop", "", []string{"Sekisho-Cookie-Id", "c", "Origin", "https://evil.example"}, complete, 403},
		"a second state too soon":      {http.MethodGet, "/v1/consent?site=shop", "", []string{"Sekisho-Cookie-Id", "c"}, limited, 429},
		"a state without a pipeline":   {http.MethodGet, "/v1/consent?site=shop", "", []string{"Sekisho-Cookie-Id", "c"}, alone, 503},
		"a pixel":                      {http.MethodGet, "/v1/pixel.gif?site=shop&u=" + url.QueryEscape(origin), "", nil, complete, 200},
		"an ad's pixel":                {http.MethodGet, "/v1/pixel.gif?site=shop&e=ad_view&ad=a&u=" + url.QueryEscape(origin), "", nil, complete, 200},
		"a pixel that is not taken":    {http.MethodGet, "/v1/pixel.gif?site=other", "", nil, complete, 200},
		"a second pixel too soon":      {http.MethodGet, "/v1/pixel.gif?site=shop", "", nil, limited, 429},
		"the tracker":                  {http.MethodGet, "/s.js?site=shop", "", nil, complete, 200},
		"the tracker of another site":  {http.MethodGet, "/s.js?site=other", "", nil, complete, 404},
		"a tracker that was not built": {http.MethodGet, "/s.js?site=shop", "", nil, alone, 404},
		"a second tracker too soon":    {http.MethodGet, "/s.js?site=shop", "", nil, limited, 429},
		"the notice":                   {http.MethodGet, "/v1/notice?site=shop&lang=ja", "", nil, complete, 200},
		"a notice of another site":     {http.MethodGet, "/v1/notice?site=other&lang=ja", "", nil, complete, 404},
		"a notice nobody can read":     {http.MethodGet, "/v1/notice?site=shop&lang=tlh", "", nil, complete, 404},
		"a second notice too soon":     {http.MethodGet, "/v1/notice?site=shop&lang=ja", "", nil, limited, 429},
		"a checkpoint":                 {http.MethodGet, "/v1/ledger/checkpoint", "", nil, complete, 200},
		"the ledger's key":             {http.MethodGet, "/v1/ledger/key", "", nil, complete, 200},
		"a proof":                      {http.MethodGet, "/v1/ledger/proof?from=1&to=2", "", nil, complete, 200},
		"a proof without a pipeline":   {http.MethodGet, "/v1/ledger/proof?from=1&to=2", "", nil, alone, 503},
		"a second proof too soon":      {http.MethodGet, "/v1/ledger/proof?from=1&to=2", "", nil, limited, 429},
		"life":                         {http.MethodGet, "/healthz", "", nil, complete, 200},
		"readiness":                    {http.MethodGet, "/readyz", "", nil, complete, 200},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, _ := build(t, 1<<20, tc.build)
			r := func() *http.Request {
				r := httptest.NewRequest(tc.method, tc.target, strings.NewReader(tc.body))
				r.Header.Set("Origin", origin)
				if tc.method == http.MethodPost {
					r.Header.Set("Content-Type", applicationJSON)
				}
				return request(r, tc.header...)
			}
			if tc.status == 429 {
				serve(c, r())
			}
			w := serve(c, r())
			if w.Code != tc.status {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if err := doc.Holds(r(), w); err != nil {
				t.Error(err)
			}
			if tc.status == 202 {
				if err := doc.Permits(r()); err != nil {
					t.Errorf("it was taken, and the contract does not permit it: %v", err)
				}
			}
		})
	}
	t.Run("a full spool", func(t *testing.T) {
		c, broker, _ := build(t, 1, complete)
		broker.set(core.Retryable{Err: errors.New("away")})
		for _, r := range []func() *http.Request{
			func() *http.Request {
				return httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(view))
			},
			func() *http.Request {
				return httptest.NewRequest(http.MethodPost, "/v1/consent", strings.NewReader(act))
			},
			func() *http.Request {
				return httptest.NewRequest(http.MethodGet, "/v1/pixel.gif?site=shop&u="+url.QueryEscape(origin), nil)
			},
		} {
			w := serve(c, request(r(), "Content-Type", applicationJSON, "Origin", origin))
			if err := doc.Holds(r(), w); err != nil || w.Code != 503 {
				t.Errorf("%s: %d, %v", r().URL.Path, w.Code, err)
			}
		}
	})
}

// mark is in everything a generated request says, whichever way it is written.
const mark = "CANARY7f3a"

// fields are the contract's names, and names it does not have.
var fields = []string{
	"id", "site", "type", "time", "sent_at", "source", "provenance", "url", "referrer", "title", "view_id", "cookie_id", "device_id",
	"user_id", "deny", "lib", "env", "operation", "engagement", "purchase", "ad", "search", "custom", "location", "events", "subject",
	"granted", "refused", "withdrawn", "policy_version", "text_hash", "language", "surface", "name", "target", "ms", "scroll", "currency",
	"total", "items", "sku", "price", "quantity", "action", "query", "results", "properties", "screen", "connection", "save_data",
	"renewed", "expired", "method", "actor", "tc_string", "consent_mode", "link",
	"my_number", "employee_name", mark, "my " + mark, "employee_" + mark,
}

// words are values that some field takes, and values that none does; wild are no JSON strings at all, or barely.
var (
	words = []string{
		"shop", "page_view", "purchase", "custom", "operation", "third_party", "signup", "JPY", "default/2022-09-15", "service_development",
		"impression", "banner", "2026-04-01T12:00:00Z", "01890a5d-ac96-774b-bcce-b302099a8057", "", "1.5", "1920x1080", mark,
		mark + strings.Repeat("x", 3000), `\u0043\u0041NARY7f3a`, "Taro " + mark + "@example.jp", "</script>" + mark, mark + `\n\u0000`, mark + `\ud800`,
	}
	wild = []string{mark + "\xff\xfe", mark + `\x`, mark + "\n", mark + `\u12`}
)

// queries are values that the parameters of an address take.
var queries = map[string][]string{
	"site": {"shop", "shop", "shop"}, "lang": {"ja", "en"}, "e": {"page_view", "ad_view"}, "u": {origin, origin + "/" + mark, "https://" + mark + ".example/"},
}

// forger writes what a caller may send: right or, when it is not tame, wrong.
type forger struct {
	*rapid.T
	tame bool
}

func (f forger) pick(name string, tame, wild []string) string {
	if !f.tame && rapid.IntRange(0, 9).Draw(f.T, name+" is wild") == 0 {
		return rapid.SampledFrom(wild).Draw(f.T, name)
	}
	return rapid.SampledFrom(tame).Draw(f.T, name)
}

func (f forger) several(least, most int, separator string, one func() string) string {
	parts := make([]string, rapid.IntRange(least, most).Draw(f.T, "several"))
	for i := range parts {
		parts[i] = one()
	}
	return strings.Join(parts, separator)
}

func (f forger) value(depth int) string {
	kind := rapid.IntRange(0, 9).Draw(f.T, "kind")
	if depth == 0 {
		kind %= 6
	}
	switch kind {
	case 0, 1, 2:
		return `"` + f.pick("word", words, wild) + `"`
	case 3:
		return f.pick("number", []string{"0", "-1", "1.5", "1e400", "1775041200000", "99999999999999999999", "1.23456"}, []string{"01", "NaN", "-", "1.", "+1"})
	case 4:
		return f.pick("literal", []string{"true", "false", "null"}, []string{"tru", mark, "True"})
	case 5:
		return f.pick("nothing", []string{"[]", "{}"}, []string{"", "[,]", "{,}", "]"})
	case 6:
		return "[" + f.several(0, 4, ",", func() string { return f.value(depth - 1) }) + "]"
	default:
		return f.object(depth)
	}
}

func (f forger) object(depth int) string {
	return "{" + f.several(0, 6, ",", func() string {
		return `"` + f.pick("field", fields, wild) + `":` + f.value(depth-1)
	}) + "}"
}

// admitted is an object that gets past the door.
func (f forger) admitted() string {
	start := f.pick("start", []string{
		`"site":"shop","type":"page_view"`, `"site":"shop","type":"custom","custom":{"name":"signup","properties":{"plan":"a"}}`,
		`"site":"shop","type":"purchase","purchase":{"currency":"JPY","items":[{"sku":"a","price":1}]}`,
		`"site":"shop","policy_version":"default/2022-09-15","subject":{"cookie_id":"c"},"granted":["service_development"]`,
	}, []string{`"site":"shop"`})
	rest := f.object(3)
	if rest == "{}" || rapid.Bool().Draw(f.T, "nothing more") {
		return "{" + start + "}"
	}
	return "{" + start + "," + rest[1:]
}

func (f forger) body() []byte {
	body := []byte(f.object(9))
	if rapid.IntRange(0, 3).Draw(f.T, "admitted") > 0 {
		body = []byte(f.admitted())
	}
	switch rapid.IntRange(0, 3).Draw(f.T, "form") {
	case 0:
		body = []byte("[" + string(body) + "," + f.several(1, 30, ",", f.admitted) + "]")
	case 1:
		body = []byte(`{"site":"shop","events":[` + string(body) + `]}`)
	}
	if f.tame {
		return body
	}
	switch rapid.IntRange(0, 9).Draw(f.T, "shape") {
	case 0:
		body = body[:rapid.IntRange(0, len(body)).Draw(f.T, "cut")]
	case 1:
		body = append(body, rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(f.T, "tail")...)
	case 2:
		body = rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(f.T, "noise")
	case 3:
		body = []byte(strings.Repeat(`{"`+mark+`":`, rapid.IntRange(1, 100_000).Draw(f.T, "depth")))
	case 4:
		body = append(body, bytes.Repeat([]byte(" "), rapid.IntRange(0, 5<<20).Draw(f.T, "space"))...)
	case 5:
		body = bytes.Repeat(append(body, '\n'), rapid.IntRange(1, 30).Draw(f.T, "lines"))
	}
	return body
}

// Whatever a caller sends, the answer is the contract's, never a fault of the server, and repeats nothing of it.
func TestNoInputIsAnsweredOutsideTheContract(t *testing.T) {
	doc := testkit.ReadContract(t, "collector.v1.yaml")
	c, broker, log := build(t, 1<<20, complete)
	rapid.Check(t, func(t *rapid.T) {
		f := forger{t, rapid.Bool().Draw(t, "tame")}
		some := func(name string, tame []string, wild ...string) string { return f.pick(name, tame, append(wild, mark)) }
		method, target := http.MethodPost, rapid.SampledFrom([]string{
			"/v1/events", "/v1/events", "/v1/events", "/v1/consent", "/v1/consent", "/v1/consent?", "/v1/pixel.gif", "/v1/notice", "/v1/ledger/proof", "/s.js",
		}).Draw(t, "path")
		var body []byte
		switch path, _, query := strings.Cut(target, "?"); {
		case path == "/v1/events" || path == "/v1/consent" && !query:
			body = f.body()
		default:
			method = http.MethodGet
			q := url.Values{}
			for _, name := range []string{"site", "lang", "e", "u", "r", "t", "ad", "slot", "act", "from", "wait", mark} {
				if rapid.IntRange(0, 3).Draw(t, "query") > 0 {
					q.Add(name, some(name, append([]string{mark}, queries[name]...), "", "\xff", strings.Repeat(mark, 300), "https://"+mark+".example/%zz"))
				}
			}
			target = path + "?" + q.Encode()
		}
		encoding := some("encoding", []string{"", "gzip", "zstd", "identity"}, "br")
		sent := body
		if f.tame || rapid.IntRange(0, 9).Draw(t, "honest") > 0 {
			sent = []byte(compressed(t, encoding, body))
		}
		header := []string{
			"Content-Encoding", encoding,
			"Content-Type", some("media", []string{applicationJSON, textPlain, ndjson}, "text/html; "+mark, ""),
			"Origin", some("origin", []string{origin}, "https://"+mark+".example", "null", "\xff", ""),
			"Sekisho-Write-Key", some("key", []string{"", key, mark}, "\xff"),
			"Sekisho-Cookie-Id", some("cookie", []string{"", mark}, mark+"\xff", strings.Repeat(mark, 50)),
			"Sekisho-Device-Id", some("device", []string{"", mark}),
			"Referer", some("referer", []string{"", origin + "/" + mark}, "https://"+mark+".example/", "%zz"+mark),
			"User-Agent", some("agent", []string{"", mark}, mark+"\xff", strings.Repeat(mark, 200)),
			"X-Forwarded-For", some("forwarded", []string{"", "203.0.113.77"}),
			"Sec-Gpc", some("gpc", []string{"", "1"}), "Sec-Ch-Ua-Platform", some("platform", []string{`"` + mark + `"`}), "Accept-Language", some("language", []string{mark}),
		}
		r := func() *http.Request {
			return request(httptest.NewRequest(method, target, bytes.NewReader(sent)), header...)
		}
		w := serve(c, r())
		if w.Code >= 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if err := doc.Holds(r(), w); err != nil {
			t.Errorf("%d: %v", w.Code, err)
		}
		for name, values := range w.Header() {
			if strings.Contains(strings.Join(values, " "), mark) {
				t.Errorf("the answer's %s repeats what was sent: %q", name, values)
			}
		}
		if said := w.Body.String() + log.String(); strings.Contains(said, mark) || strings.Contains(said, "203.0.113.77") {
			t.Errorf("the answer or the log repeats what was sent: %.500s", said)
		}
		if w.Code == 202 && w.Header().Get("Content-Type") == applicationJSON && json.Valid(body) && len(broker.messages) == 0 {
			t.Error("an accepted event is nowhere")
		}
		log.Reset()
		broker.messages = nil
	})
}

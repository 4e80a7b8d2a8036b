package collector

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

const (
	origin = "https://shop.example"
	key    = "a-write-key"
)

var now = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

// clearSealer leaves the body readable, so that a test can look at it.
type clearSealer struct{}

func (clearSealer) Seal(e *sekishov1.Envelope, body proto.Message) ([]byte, error) {
	b, err := proto.Marshal(body)
	if err != nil {
		return nil, err
	}
	e.Sealed = b
	return proto.Marshal(e)
}

type fakeBroker struct {
	mu       sync.Mutex
	fault    error
	messages []kafka.Message
}

func (b *fakeBroker) Produce(_ context.Context, m []kafka.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fault == nil {
		b.messages = append(b.messages, m...)
	}
	return b.fault
}

func (b *fakeBroker) set(fault error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = fault
}

func (b *fakeBroker) events(t testing.TB) (all []*sekishov1.Event) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		var env sekishov1.Envelope
		var e sekishov1.Event
		if err := errors.Join(proto.Unmarshal(m.Value, &env), proto.Unmarshal(env.Sealed, &e)); err != nil {
			t.Fatal(err)
		}
		all = append(all, &e)
	}
	return all
}

func build(t testing.TB, spoolBytes int64, change ...func(*Config, *Deps)) (*Collector, *fakeBroker, *bytes.Buffer) {
	t.Helper()
	sites, err := site.Parse([]byte(`{sites: [{id: shop, name: Shop, time_zone: Asia/Tokyo, jurisdiction: jp, policy: default,
		origins: ["` + origin + `"], write_keys: ["` + site.HashKey(key) + `"],
		events: {signup: {category: operation_log, properties: [plan]}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	broker, log := &fakeBroker{}, &bytes.Buffer{}
	config := Config{
		Rate: 1e9, Burst: 1e9, SpoolDir: t.TempDir(), SpoolBytes: spoolBytes, Partitions: 8, Retry: time.Millisecond,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}
	deps := Deps{
		Sites: sites, Policies: policies, Producer: broker, Sealer: clearSealer{}, Metrics: prometheus.NewRegistry(),
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Random: rand.Reader,
		Now: func() time.Time { return now },
	}
	for _, c := range change {
		c(&config, &deps)
	}
	c, err := New(config, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, broker, log
}

// request sets headers on a request; the empty value takes one away.
func request(r *http.Request, header ...string) *http.Request {
	for i := 0; i < len(header); i += 2 {
		if r.Header.Del(header[i]); header[i+1] != "" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	return r
}

func serve(c *Collector, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, r)
	return w
}

func post(c *Collector, path, body string, header ...string) *httptest.ResponseRecorder {
	r := request(httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)), "Content-Type", "application/json", "Origin", origin)
	return serve(c, request(r, header...))
}

func get(c *Collector, target string, header ...string) *httptest.ResponseRecorder {
	return serve(c, request(httptest.NewRequest(http.MethodGet, target, nil), header...))
}

func TestEventsAreTakenOrRefusedByTheField(t *testing.T) {
	for name, tc := range map[string]struct {
		body, header string
		status       int
		say          string
	}{
		"a page view":                      {`{"site":"shop","type":"page_view"}`, "", 202, `"accepted":1`},
		"an array":                         {`[{"site":"shop","type":"page_view"},{"site":"shop","type":"page_view"}]`, "", 202, `"accepted":2`},
		"a batch with its site at the end": {`{"events":[{"type":"page_view"}],"site":"shop"}`, "", 202, `"accepted":1`},
		"a bad one beside a good one":      {`[{"site":"shop","type":"page_view"},{"site":"shop","type":"x"}]`, "", 207, `"index":1,"code":"invalid","field":"/type"`},
		"unknown fields":                   {`{"site":"shop","type":"page_view","x":{"y":[1]},"location":{"lat":1,"lon":2}}`, "", 202, `"undeclared":2`},
		"an undeclared property":           {`{"site":"shop","type":"custom","custom":{"name":"signup","properties":{"plan":"a","x":1}}}`, "", 202, `"undeclared":1`},
		"an undeclared custom event":       {`{"site":"shop","type":"custom","custom":{"name":"nope"}}`, "", 400, `"field":"/custom/name"`},
		"a my number":                      {`{"site":"shop","type":"custom","custom":{"name":"signup","properties":{"myNumber":"1"}}}`, "", 400, `"code":"forbidden_data"`},
		"an employee's field":              {`{"site":"shop","type":"page_view","employee_spouse":"1"}`, "", 400, `"code":"forbidden_data"`},
		"a third party without provenance": {`{"site":"shop","type":"page_view","source":"third_party"}`, "", 400, `"field":"/provenance"`},
		"a price that is no decimal":       {`{"site":"shop","type":"purchase","purchase":{"currency":"JPY","items":[{"sku":"a","price":1.23456}]}}`, "", 400, `"field":"/purchase/items/0/price"`},
		"a time of last year":              {`{"site":"shop","type":"page_view","time":"2025-04-01T00:00:00Z"}`, "", 400, `"field":"/time"`},
		"an unknown site":                  {`{"site":"other","type":"page_view"}`, "", 400, `"field":"/site"`},
		"no object":                        {`7`, "", 400, `"code":"malformed"`},
		"broken JSON":                      {`{"site":"shop","type":"page_view"`, "", 400, `"code":"malformed"`},
		"too deep":                         {`{"x":` + strings.Repeat("[", 9) + strings.Repeat("]", 9) + `}`, "", 400, `"code":"malformed"`},
		"a foreign origin":                 {`{"site":"shop","type":"page_view"}`, "Origin=https://evil.example", 403, `"code":"forbidden"`},
		"no credentials":                   {`{"site":"shop","type":"page_view"}`, "Origin=", 401, `"code":"unauthenticated"`},
		"a form":                           {`{}`, "Content-Type=text/html", 415, `"code":"media_type"`},
		"lines as text":                    {"{\"site\":\"shop\",\"type\":\"page_view\"}\n{\"site\":\"shop\",\"type\":\"page_view\"}\n", "Content-Type=text/plain", 202, `"accepted":2`},
		"lines of which one is broken":     {"{\"site\":\"shop\",\"type\":\"page_view\"}\n{\"\n", "Content-Type=application/x-ndjson", 207, `"rejected":1`},
		"1001 events":                      {"[" + strings.Repeat("{},", 1000) + "{}]", "", 413, `"code":"too_large"`},
		"a body over the limit":            {strings.Repeat(" ", maxBody+1), "", 413, `"code":"too_large"`},
		"something that is no gzip":        {"x", "Content-Encoding=gzip", 400, `"code":"malformed"`},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, _ := build(t, 1<<20)
			k, v, _ := strings.Cut(tc.header, "=")
			w := post(c, "/v1/events", tc.body, append([]string{}, k, v)...)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.say) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

func TestAServerIsAdmittedByItsKeyOnly(t *testing.T) {
	c, _, _ := build(t, 1<<20)
	for k, want := range map[string]int{key: 202, "another": 403} {
		if w := post(c, "/v1/events", `{"site":"shop","type":"page_view"}`, "Origin", "", "Sekisho-Write-Key", k); w.Code != want {
			t.Errorf("%d, want %d", w.Code, want)
		}
	}
}

func TestTheReceiptComesFromTheRequest(t *testing.T) {
	c, broker, _ := build(t, 1<<20)
	post(c, "/v1/events", `{"site":"shop","type":"page_view","client_ip":"1.1.1.1","ip":"1.1.1.1","time":1775041200000,"sent_at":1775041201000}`,
		"Sec-GPC", "1", "DNT", "1", "X-Forwarded-For", "9.9.9.9", "Sec-CH-UA-Platform", `"Linux"`)
	e := broker.events(t)[0]
	if r := e.Receipt; !r.Gpc || !r.Dnt || r.UaPlatform != "Linux" || !bytes.Equal(r.ClientIp, []byte{192, 0, 2, 1}) {
		t.Errorf("receipt %v", r)
	}
	if want := now.Add(-time.Second).UnixMicro(); e.TimeUs != want {
		t.Errorf("time %d, want %d", e.TimeUs, want)
	}
}

func TestABrokerThatIsAwayKeepsOrderThroughTheSpool(t *testing.T) {
	c, broker, _ := build(t, 1<<20)
	send := func(id string) {
		if w := post(c, "/v1/events", `{"site":"shop","type":"page_view","cookie_id":"c","view_id":"`+id+`"}`); w.Code != 202 {
			t.Fatalf("%s: %d %s", id, w.Code, w.Body)
		}
	}
	send("1")
	broker.set(core.Retryable{Err: errors.New("away")})
	send("2")
	broker.set(nil)
	send("3") // behind the second, though the broker is back
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	testkit.Eventually(t, 10*time.Second, c.spool.Empty)
	send("4")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	var got []string
	for _, e := range broker.events(t) {
		got = append(got, e.ViewId)
	}
	if !slices.Equal(got, []string{"1", "2", "3", "4"}) {
		t.Errorf("order %v", got)
	}
	for _, m := range broker.messages {
		if m.Key != nil || m.Partition != broker.messages[0].Partition {
			t.Error("one subject's messages have a key or are in two partitions")
		}
	}
}

func TestWhatCannotBeKeptIsNotAcknowledged(t *testing.T) {
	const view = `{"site":"shop","type":"page_view"}`
	c, broker, _ := build(t, 400)
	broker.set(core.Retryable{Err: errors.New("away")})
	kept := 0
	for ; post(c, "/v1/events", view).Code == 202; kept++ {
		if kept == 100 {
			t.Fatal("a spool of 400 bytes took 100 events")
		}
	}
	if kept == 0 {
		t.Error("an empty spool took nothing")
	}
	act := `{"site":"shop","subject":{"cookie_id":"c"},"policy_version":"default/2022-09-15","granted":["service_development"]}`
	for path, body := range map[string]string{"/v1/events": view, "/v1/consent": act} {
		w := post(c, path, body)
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `"code":"unavailable"`) {
			t.Errorf("%s with a full spool: %d %s", path, w.Code, w.Body)
		}
	}
	if w := get(c, "/v1/pixel.gif?site=shop&u="+origin); w.Code != 503 || w.Body.String() != gif || w.Header().Get("Sekisho-Error") != "unavailable" {
		t.Errorf("the pixel with a full spool: %d, %q", w.Code, w.Header())
	}
	if stored := len(broker.events(t)); stored != 0 {
		t.Fatalf("%d events reached a broker that is away", stored)
	}

	broker.set(nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	testkit.Eventually(t, 10*time.Second, c.spool.Empty)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if w := post(c, "/v1/events", view); w.Code != 202 {
		t.Errorf("after the drain: %d", w.Code)
	}
	if stored := len(broker.events(t)); stored != kept+1 {
		t.Errorf("%d events at the broker, %d acknowledged", stored, kept+1)
	}
}

func TestACollectorThatTakesNothingIsNotReady(t *testing.T) {
	c, _, _ := build(t, 1<<20)
	if w := get(c, "/readyz"); w.Code != 200 {
		t.Errorf("ready: %d", w.Code)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if w := get(c, "/readyz"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("closed: %d", w.Code)
	}
	if w := get(c, "/healthz"); w.Code != 200 {
		t.Errorf("the process lives: %d", w.Code)
	}
}

func TestAFaultOfTheBrokerThatStaysIsNotTheCallers(t *testing.T) {
	c, broker, _ := build(t, 1<<20)
	broker.set(errors.New("refused"))
	if w := post(c, "/v1/events", `{"site":"shop","type":"page_view"}`); w.Code != 500 || strings.Contains(w.Body.String(), "refused") {
		t.Errorf("permanent fault: %d %s", w.Code, w.Body)
	}
	if !c.spool.Empty() {
		t.Error("what the broker refuses for good went to the spool, where it would block everything behind it")
	}
}

func TestTheMetricsAreNotOnThePublicSide(t *testing.T) {
	c, _, _ := build(t, 1<<20)
	post(c, "/v1/events", `{"site":"shop","type":"page_view"}`)
	if w := get(c, "/metrics"); w.Code != 404 || strings.Contains(w.Body.String(), "sekisho_") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	families, err := c.deps.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "sekisho_collector_events_accepted_total" && f.GetMetric()[0].GetCounter().GetValue() == 1 {
			return
		}
	}
	t.Errorf("the accepted event is not counted in %d families", len(families))
}

func TestAConsentActIsHeldAgainstThePolicy(t *testing.T) {
	for name, tc := range map[string]struct {
		field, value string
		status       int
		say          string
	}{
		"granted":            {"granted", `["development_marketing"]`, 202, `"policy_version":"default/2022-09-15"`},
		"an unknown purpose": {"granted", `["x"]`, 400, `"field":"/granted/0"`},
		"nothing":            {"granted", `[]`, 400, `"field":"/granted"`},
		"no such version":    {"policy_version", `"default/1999-01-01"`, 400, `"field":"/policy_version"`},
		"no subject":         {"subject", `{}`, 400, `"field":"/subject"`},
	} {
		t.Run(name, func(t *testing.T) {
			c, broker, _ := build(t, 1<<20)
			act := map[string]json.RawMessage{
				"site": []byte(`"shop"`), "subject": []byte(`{"cookie_id":"c"}`), "policy_version": []byte(`"default/2022-09-15"`),
				"granted": []byte(`["service_development"]`),
			}
			act[tc.field] = []byte(tc.value)
			body, _ := json.Marshal(act)
			w := post(c, "/v1/consent", string(body))
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.say) {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if tc.status != 202 {
				return
			}
			var env sekishov1.Envelope
			var got sekishov1.ConsentAct
			if err := errors.Join(proto.Unmarshal(broker.messages[0].Value, &env), proto.Unmarshal(env.Sealed, &got)); err != nil {
				t.Fatal(err)
			}
			if want := []string{"development_marketing", "service_development", "marketing_use"}; !slices.Equal(got.Granted, want) || env.Kind != sekishov1.Kind_KIND_CONSENT {
				t.Errorf("granted %v", got.Granted)
			}
		})
	}
}

func TestNoAnswerAndNoLogRepeatsASubmittedValue(t *testing.T) {
	const mark = "CANARY7f3a"
	c, _, log := build(t, 1<<20)
	long := mark + strings.Repeat("x", 3000)
	for _, field := range []string{
		"id", "site", "type", "time", "sent_at", "source", "provenance", "url", "referrer", "title", "view_id", "cookie_id",
		"device_id", "user_id", "deny", "lib", "env", "operation", "engagement", "purchase", "ad", "search", "custom", mark, "employee_" + mark,
	} {
		for _, value := range []string{`"` + long + `"`, `{"` + mark + `":"` + mark + `","name":"` + long + `","properties":{"` + mark + `":[]}}`, `["` + long + `"]`} {
			for path, body := range map[string]string{
				"/v1/events":  `{"` + field + `":` + value + `}`,
				"/v1/consent": `{"site":"shop","granted":["` + mark + `"],"` + field + `":` + value + `}`,
			} {
				w := post(c, path, body, "User-Agent", mark, "Sekisho-Write-Key", mark)
				if strings.Contains(w.Body.String(), mark) || w.Code < 400 {
					t.Errorf("%s %s: %d %s", path, field, w.Code, w.Body)
				}
			}
		}
	}
	if strings.Contains(log.String(), mark) || strings.Contains(log.String(), "192.0.2.1") || log.Len() == 0 {
		t.Error("the log holds a submitted value, or nothing")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"site":"shop","type":"purchase","purchase":{"currency":"JPY","items":[{"sku":"\u3042","price":"1.5"}]}}`))
	f.Add([]byte(`{"events":[{"type":"custom","custom":{"name":"a","properties":{"b":1e5}}}]}`))
	f.Add([]byte(viewed))
	f.Add([]byte(`[{"deny":["*",1],"env":{"screen":"1x"},"search":{"query":"","results":-1},"ad":{"action":""}},[],"",{"events":[]}]`))
	f.Add([]byte("{\"type\":\"page_view\"}\r\n\n{\"time\":\"2026-04-01T12:00:00Z\",\"title\":\"\\ud83d\\ude00\\u0000\"}\n{"))
	f.Fuzz(func(t *testing.T, body []byte) {
		b, fault := decode(body, false)
		if fault == nil && !json.Valid(body) {
			t.Fatal("accepted what is no JSON")
		}
		if fault == nil {
			for i := range b.items {
				if _, err := proto.Marshal(b.items[i].event); b.items[i].fault == nil && err != nil {
					t.Fatal(err)
				}
			}
		}
		_, _ = decode(body, true)
	})
}

const viewed = `{"site":"shop","sent_at":1775041201000,"cookie_id":"0123456789abcdef","lib":"web/1","env":{"language":"ja","screen":"1920x1080"},` +
	`"events":[{"id":"01890a5d-ac96-774b-bcce-b302099a8057","type":"page_view","time":1775041200000,"url":"https://shop.example/items/1?utm_source=x","title":"Item","view_id":"abc"}]}`

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, fault := decode([]byte(viewed), false); fault != nil {
			b.Fatal(fault)
		}
	}
}

type nowhere struct{}

func (nowhere) Produce(context.Context, []kafka.Message) error { return nil }

func BenchmarkHandler(b *testing.B) {
	c, _, _ := build(b, 1<<20)
	c.deps.Producer = nowhere{}
	bare := gin.New()
	bare.POST("/v1/events", func(g *gin.Context) { g.Status(http.StatusNoContent) })
	for name, h := range map[string]http.Handler{"Collector": c.Handler(), "BareGin204": bare} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(viewed))
				r.Header.Set("Content-Type", "text/plain")
				r.Header.Set("Origin", origin)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code >= 300 {
					b.Fatal(w.Code)
				}
			}
		})
	}
}

package query_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/query"
	"github.com/sekisho/sekisho/query/access"
)

// makeNow plays the last hour before noon: enough people in some minutes, too few in others.
func makeNow() *facts {
	f := &facts{masks: []mask{{1, bitDevelopment, noon}}}
	var id uint64
	for v := range uint64(40) {
		path := []string{"/", "/", "/list"}[v%3]
		if v%13 == 0 {
			path = "/rare"
		}
		for n := range v%3 + 1 {
			id++
			at := noon.Add(-time.Duration([]int{0, 0, 0, 3, 3, 3, 12, 12, 28, 40}[v%10]) * time.Minute).Add(time.Duration(n) * time.Second)
			f.events = append(f.events, event{
				id: id, at: at, received: at, kind: []string{"page_view", "operation", "page_view"}[n], purposes: 1 << bitDevelopment,
				linkage: "visitor", visitor: v + 1, session: v + 1, host: "shop.example", path: path,
				channel: []string{"search", "direct"}[v%2], source: "s", country: "JP", results: -1,
			})
		}
	}
	return f
}

// recent are the visible events from a time on.
func (f *facts) recent(from time.Time) []event {
	seen, _ := f.visible(bitDevelopment, from, noon.Add(time.Minute))
	return seen
}

func TestLive(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeNow()
	f.store(t, db, "shop")
	d := newDesk(t, db)
	seen := f.recent(noon.Add(-29 * time.Minute))
	a := d.read("/v1/reports/live?site=shop&purpose=usage_based_development")
	if !a.To.Equal(noon.Add(time.Minute)) || !a.From.Equal(noon.Add(-29*time.Minute)) {
		t.Errorf("from %v to %v", a.From, a.To)
	}
	part := func(rows []row, counts []int, order ...string) []any {
		shown, withheld := ranked(rows, counts, order...)
		if len(shown) == 0 || withheld == 0 {
			t.Fatalf("%d rows, %d withheld: the data set proves nothing", len(shown), withheld)
		}
		list := []any{}
		for _, r := range shown {
			list = append(list, r)
		}
		return list
	}
	var minutes, pages, sources []row
	var ofMinutes, ofPages, ofSources []int
	for at, g := range group(seen, func(e event) (int64, bool) { return e.at.Truncate(time.Minute).Unix(), true }) {
		minutes = append(minutes, row{"time": time.Unix(at, 0).In(location).Format(time.RFC3339), "visitors": people(g), "page_views": countIf(g, is("page_view"))})
		ofMinutes = append(ofMinutes, subjects(g))
	}
	for path, g := range group(only(seen, "page_view"), func(e event) (string, bool) { return e.path, true }) {
		pages = append(pages, row{"path": path, "visitors": people(g), "page_views": len(g)})
		ofPages = append(ofPages, subjects(g))
	}
	for channel, g := range group(seen, func(e event) (string, bool) { return e.channel, true }) {
		sources = append(sources, row{"channel": channel, "source": "s", "referrer": "", "visitors": people(g), "sessions": len(sessionsOf(g))})
		ofSources = append(ofSources, subjects(g))
	}
	shownSources, _ := ranked(sources, ofSources, "-sessions", "channel")
	compare(t, a.Rows, []row{{
		"visitors": people(seen), "sessions": len(sessionsOf(seen)), "page_views": countIf(seen, is("page_view")),
		"minutes": part(minutes, ofMinutes, "time"), "pages": part(pages, ofPages, "-page_views", "path"), "sources": shownSources,
	}})
}

// station is a query service on a port, whose clock is the test's.
type station struct {
	*desk
	url string
	now atomic.Pointer[time.Time]
	// selects counts the reads.
	selects atomic.Int64
	broken  atomic.Bool
}

// counting counts the reads of reports, and fails when told to.
type counting struct {
	query.Store
	s *station
}

func (c counting) Select(ctx context.Context, sql string, params map[string]string, limits clickhouse.Limits, scan func(clickhouse.Rows) error) error {
	if strings.Contains(sql, "grouped") {
		c.s.selects.Add(1)
		if c.s.broken.Load() {
			return errors.New("canary")
		}
	}
	return c.Store.Select(ctx, sql, params, limits, scan)
}

func newStation(t *testing.T, store query.Store, every time.Duration) *station {
	t.Helper()
	registry, err := site.Parse([]byte(sites))
	if err != nil {
		t.Fatal(err)
	}
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	s := &station{desk: &desk{t: t, grants: filepath.Join(t.TempDir(), "grants.json"), log: &strings.Builder{}}}
	s.now.Store(&noon)
	s.key = s.create([]string{"usage_based_development", "customer_support"}, "shop")
	s.query, err = query.New(query.Config{
		Grants: s.grants, Threshold: threshold, FineThreshold: threshold, Exact: true, Bare: true, LiveEvery: every,
	}, query.Deps{
		Store: counting{store, s}, Sites: registry, Policies: policies, Log: slog.New(slog.NewTextHandler(&locked{w: s.log}, nil)),
		Metrics: prometheus.NewRegistry(), Random: rand.Reader, Now: func() time.Time { return *s.now.Load() },
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(s.query.Handler())
	server.Config.ReadTimeout = 300 * time.Millisecond // as in production, only shorter: no stream may end by it
	server.Start()
	t.Cleanup(server.Close) // waits for the streams: none may be left
	s.url = server.URL
	return s
}

// later moves the clock.
func (s *station) later(by time.Duration) {
	now := s.now.Load().Add(by)
	s.now.Store(&now)
}

// told is an event of a stream.
type told struct {
	name, data string
	pulse      struct {
		At       time.Time
		Visitors *uint64 `json:"visitors_last_5_minutes"`
		Sessions *uint64 `json:"sessions_last_5_minutes"`
		Views    *uint64 `json:"page_views_last_5_minutes"`
	}
}

// listener is one who listens to a stream.
type listener struct {
	t     *testing.T
	lines *bufio.Scanner
	leave context.CancelFunc
}

func (s *station) listen(t *testing.T, key, query string) *listener {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/live"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Body.Close() })
	if w.StatusCode != http.StatusOK || w.Header.Get("Content-Type") != "text/event-stream" || w.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", w.StatusCode, w.Header)
	}
	return &listener{t, bufio.NewScanner(w.Body), cancel}
}

// next is the next event, and the comments and fields before it; an event without a name is the end of the stream.
func (l *listener) next() (e told, before []string) {
	l.t.Helper()
	for l.lines.Scan() {
		switch name, value, _ := strings.Cut(l.lines.Text(), ": "); {
		case name == "event":
			e.name = value
		case name == "data":
			e.data = value
			if err := json.Unmarshal([]byte(value), &e.pulse); e.name == "visitors" && err != nil {
				l.t.Fatal(err)
			}
		case l.lines.Text() == "" && e.name != "":
			return e, before
		case l.lines.Text() != "":
			before = append(before, l.lines.Text())
		}
	}
	return e, before
}

func TestALiveStreamTellsWhatIsNow(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeNow()
	f.store(t, db, "shop")
	s := newStation(t, db, 50*time.Millisecond)
	l := s.listen(t, s.key, ofDevelopment)
	began := time.Now()
	first, before := l.next()
	if !slices.Equal(before, []string{"retry: 50"}) {
		t.Errorf("it begins with %q", before)
	}
	seen := slices.DeleteFunc(f.recent(noon.Add(-5*time.Minute)), func(e event) bool { return !e.at.Before(noon) })
	if subjects(seen) < threshold || first.name != "visitors" || first.pulse.Visitors == nil || int(*first.pulse.Visitors) != people(seen) ||
		int(*first.pulse.Sessions) != len(sessionsOf(seen)) || int(*first.pulse.Views) != countIf(seen, is("page_view")) || !first.pulse.At.Equal(noon) {
		t.Errorf("%s %s, want %d visitors", first.name, first.data, people(seen))
	}
	// Too few are no number.
	s.later(4 * time.Minute)
	for e, _ := l.next(); !e.pulse.At.Equal(noon.Add(4 * time.Minute)); e, _ = l.next() {
		if e.name != "visitors" || time.Since(began) > 20*time.Second {
			t.Fatalf("%+v", e)
		}
	}
	s.later(30 * time.Minute)
	var e told
	for ; !e.pulse.At.Equal(noon.Add(34 * time.Minute)); e, _ = l.next() {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%+v", e)
		}
	}
	if e.pulse.Visitors != nil || e.pulse.Views != nil || !strings.Contains(e.data, `"visitors_last_5_minutes":null`) {
		t.Errorf("nobody is there, and it tells %s", e.data)
	}
	// The store is away: the stream lives.
	s.broken.Store(true)
	s.later(time.Minute)
	for quiet := 0; quiet < 3 && l.lines.Scan(); {
		if strings.HasPrefix(l.lines.Text(), ":") {
			quiet++
		}
	}
	s.broken.Store(false)
	s.later(time.Minute)
	if e, _ := l.next(); e.name != "visitors" || time.Since(began) < 300*time.Millisecond {
		t.Errorf("after the store came back: %+v", e)
	}
	if strings.Contains(s.log.String(), s.key) {
		t.Error("the log tells the key")
	}
}

func TestListenersShareOneRead(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeNow()
	f.store(t, db, "shop")
	s := newStation(t, db, 20*time.Millisecond)
	var all sync.WaitGroup
	for range 8 {
		l := s.listen(t, s.key, ofDevelopment)
		all.Go(func() {
			for range 10 {
				l.next()
			}
		})
	}
	all.Wait()
	if n := s.selects.Load(); n != 1 { // the clock stands still
		t.Errorf("%d reads, want 1", n)
	}
	l := s.listen(t, s.key, "?site=shop&purpose=customer_support")
	if e, _ := l.next(); e.pulse.Visitors != nil || s.selects.Load() != 2 {
		t.Errorf("another purpose: %s, %d reads", e.data, s.selects.Load())
	}
}

func TestALiveStreamEndsWithTheGrant(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeNow()
	f.store(t, db, "shop")
	s := newStation(t, db, 20*time.Millisecond)
	key := s.create([]string{"usage_based_development"}, "shop")
	l, stays := s.listen(t, key, ofDevelopment), s.listen(t, s.key, ofDevelopment)
	l.next()
	if err := access.RevokeKey(s.grants, strings.Split(key, "_")[1]); err != nil {
		t.Fatal(err)
	}
	var last told
	for e, _ := l.next(); e.name != ""; e, _ = l.next() {
		last = e
	}
	if last.name != "end" || !strings.Contains(last.data, `"code":"unauthenticated"`) || strings.Contains(last.data, key) {
		t.Errorf("%+v", last)
	}
	if e, _ := stays.next(); e.name != "visitors" {
		t.Errorf("another caller: %+v", e)
	}
	s.query.EndStreams()
	var e told
	for e, _ = stays.next(); e.name != ""; e, _ = stays.next() {
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/live"+ofDevelopment, nil)
	r.Header.Set("Authorization", "Bearer "+s.key)
	w := httptest.NewRecorder()
	s.query.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("after the end: %d", w.Code)
	}
}

func TestALiveStreamIsRecorded(t *testing.T) {
	db, f := testkit.ClickHouse(t), makeNow()
	f.store(t, db, "shop")
	s := newStation(t, db, 20*time.Millisecond)
	l := s.listen(t, s.key, ofDevelopment)
	count := func() (n int) {
		for _, a := range audits(t, db) {
			if a.report == "live" && a.result == "ok" && a.site == "shop" && a.purpose == "usage_based_development" {
				n++
			}
		}
		return n
	}
	for range 5 {
		l.next()
	}
	if n := count(); n != 1 {
		t.Errorf("%d records when it began", n)
	}
	s.later(59 * time.Minute)
	for range 5 {
		l.next()
	}
	if n := count(); n != 1 {
		t.Errorf("%d records before an hour", n)
	}
	s.later(2 * time.Minute)
	for range 5 {
		l.next()
	}
	if n := count(); n != 2 {
		t.Errorf("%d records after an hour", n)
	}
	l.leave()

	// No stream without its record.
	s = newStation(t, deaf{Store: db, insert: errors.New("canary")}, 20*time.Millisecond)
	if status, body := s.get(s.key, "/v1/live"+ofDevelopment); status != http.StatusServiceUnavailable || strings.Contains(body, "visitors") {
		t.Errorf("%d %s", status, body)
	}
}

// leaving is a caller that leaves after the first event.
type leaving struct {
	*httptest.ResponseRecorder
	leave context.CancelFunc
}

func (l *leaving) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "event: ") {
		defer l.leave()
	}
	return l.ResponseRecorder.Write(b)
}

func TestALiveStreamIsRefusedLikeAReport(t *testing.T) {
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.PlainBodyDecoder)
	db := testkit.ClickHouse(t)
	d, doc := newDesk(t, db), testkit.ReadContract(t, "query.v1.yaml")
	narrow := d.create([]string{"customer_support"}, "shop")
	for name, tc := range map[string]struct {
		key, query  string
		status      int
		code, field string
	}{
		"no key":               {"", ofDevelopment, 401, "unauthenticated", "Authorization"},
		"no site":              {d.key, "?purpose=usage_based_development", 400, "missing", "site"},
		"no purpose":           {d.key, "?site=shop", 400, "purpose_missing", "purpose"},
		"another site":         {d.key, "?site=other&purpose=usage_based_development", 403, "forbidden", "site"},
		"another purpose":      {narrow, ofDevelopment, 403, "purpose_denied", "purpose"},
		"an unknown purpose":   {d.key, "?site=shop&purpose=canary", 400, "invalid", "purpose"},
		"an unknown parameter": {d.key, ofDevelopment + "&canary=1", 400, "undeclared", ""},
		"a parameter twice":    {d.key, ofDevelopment + "&site=shop", 400, "invalid", "site"},
	} {
		t.Run(name, func(t *testing.T) {
			w := d.send(t, doc, tc.key, http.MethodGet, "/v1/live"+tc.query, "")
			if w.Code != tc.status || !strings.Contains(w.Body.String(), `"code":"`+tc.code+`"`) || tc.field != "" && !strings.Contains(w.Body.String(), `"field":"`+tc.field+`"`) ||
				strings.Contains(w.Body.String(), "canary") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	// One that is answered is of the contract, too.
	d.query.EndStreams()
	if w := d.send(t, doc, d.key, http.MethodGet, "/v1/live"+ofDevelopment, ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d", w.Code)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d = newDesk(t, db)
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/live"+ofDevelopment, nil)
	r.Header.Set("Authorization", "Bearer "+d.key)
	w := httptest.NewRecorder()
	d.query.Handler().ServeHTTP(&leaving{w, cancel}, r)
	if err := doc.Holds(r.WithContext(t.Context()), w); err != nil || w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "event: visitors\n") {
		t.Errorf("%d %v %s", w.Code, err, w.Body)
	}
}

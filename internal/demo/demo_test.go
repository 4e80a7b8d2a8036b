package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/html"
	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/collector"
	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/enrich/channel"
	"github.com/sekisho/sekisho/internal/enrich/device"
	"github.com/sekisho/sekisho/internal/enrich/geo"
	"github.com/sekisho/sekisho/internal/enrich/geodb"
	"github.com/sekisho/sekisho/internal/fetch"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/schemas/sekishov1"
	"github.com/sekisho/sekisho/web/sample"
)

const page = "http://localhost:8090"

var (
	tokyo = time.FixedZone("JST", 9*3600)
	now   = time.Date(2026, 11, 25, 17, 0, 0, 0, tokyo)
)

// clearSealer leaves the body readable.
type clearSealer struct{}

func (clearSealer) Seal(e *sekishov1.Envelope, body proto.Message) ([]byte, error) {
	b, err := proto.Marshal(body)
	if err != nil {
		return nil, err
	}
	e.Sealed = b
	return proto.Marshal(e)
}

// stage is the real collector before a broker that remembers.
type stage struct {
	t         *testing.T
	handler   http.Handler
	pack      *policy.Pack
	mu        sync.Mutex
	messages  []kafka.Message
	bodies    []string // as they were sent
	undeclare int
}

func (s *stage) Produce(_ context.Context, m []kafka.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m...)
	return nil
}

// Script and Version stand in for the built tracker.
func (s *stage) Script(name string) ([]byte, bool) { return []byte("// " + name), true }
func (s *stage) Version() string                   { return "1" }

// RoundTrip calls the collector without a network, as a proxy in front of it would.
func (s *stage) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	inner := httptest.NewRequest(r.Method, r.URL.Path, bytes.NewReader(body))
	inner.Header, inner.RemoteAddr = r.Header, "10.0.0.1:1"
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, inner)
	if w.Code >= http.StatusMultipleChoices {
		s.t.Errorf("%s: %d %s", r.URL.Path, w.Code, w.Body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, fmt.Sprintln(r.URL.Path, r.Header, string(body)))
	if strings.Contains(w.Body.String(), "undeclared") {
		s.undeclare++
	}
	return w.Result(), nil
}

func newStage(t *testing.T) *stage {
	t.Helper()
	sites, err := site.Parse([]byte(`{sites: [{id: shop, name: Shop, time_zone: Asia/Tokyo, jurisdiction: jp, policy: default,
		origins: ["` + page + `"], events: {newsletter_signup: {category: operation_log, properties: [plan, placement]}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t}
	var ok bool
	if s.pack, ok = policies.At("default", now); !ok {
		t.Fatal("no policy is in force")
	}
	c, err := collector.New(collector.Config{
		Rate: 1e9, Burst: 1e9, SpoolDir: t.TempDir(), SpoolBytes: 1 << 20, Partitions: 4,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}, collector.Deps{
		Sites: sites, Policies: policies, Producer: s, Sealer: clearSealer{}, Scripts: s, Metrics: prometheus.NewRegistry(),
		Log: slog.New(slog.DiscardHandler), Random: rand.Reader, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s.handler = c.Handler()
	return s
}

func (s *stage) player(change func(*Config)) *Player {
	s.t.Helper()
	config := Config{
		Collector: "http://collector.example", Page: page, Site: "shop", Terms: TermsOf(s.pack, "jp"), Location: tokyo, Seed: 7,
		Client: &http.Client{Transport: s}, Now: func() time.Time { return now },
	}
	if change != nil {
		change(&config)
	}
	p, err := New(config)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (s *stage) play(change func(*Config)) Summary {
	s.t.Helper()
	summary, err := s.player(change).Play(s.t.Context(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return summary
}

// message is what reached the broker: an event or an act.
type message struct {
	event *sekishov1.Event
	act   *sekishov1.ConsentAct
}

func (s *stage) read() (all []message) {
	s.t.Helper()
	for _, m := range s.messages {
		var envelope sekishov1.Envelope
		if err := proto.Unmarshal(m.Value, &envelope); err != nil {
			s.t.Fatal(err)
		}
		var read message
		var err error
		if envelope.Kind == sekishov1.Kind_KIND_CONSENT {
			read.act = &sekishov1.ConsentAct{}
			err = proto.Unmarshal(envelope.Sealed, read.act)
		} else {
			read.event = &sekishov1.Event{}
			err = proto.Unmarshal(envelope.Sealed, read.event)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, read)
	}
	return all
}

func TestTheCollectorTakesEverything(t *testing.T) {
	s := newStage(t)
	last := 0
	summary, err := s.player(nil).Play(t.Context(), func(done, total int) {
		if done != last+1 || done > total {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
	})
	if err != nil {
		t.Fatal(err)
	}
	events, acts := map[core.EventType]int{}, 0
	for _, m := range s.read() {
		if m.act != nil {
			acts++
			continue
		}
		events[core.EventType(m.event.Type)]++
	}
	total := 0
	for _, kind := range core.EventTypes() {
		if kind != core.Environment && summary.Events[kind] == 0 || summary.Events[kind] != events[kind] {
			t.Errorf("%s: %d sent, %d arrived", kind, summary.Events[kind], events[kind])
		}
		total += events[kind]
	}
	if summary.Accepted != total || summary.Rejected != 0 || summary.Acts != acts || s.undeclare != 0 || summary.Requests != last || last != len(s.bodies) {
		t.Errorf("summary %+v: %d events and %d acts arrived in %d requests, %d with undeclared fields", summary, total, acts, last, s.undeclare)
	}
	for choice, want := range map[Choice]int{Granted: 248, Granular: 40, Refused: 44, Undecided: 36, Withdrew: 20, Robot: 12} {
		if summary.Visitors[choice] != want {
			t.Errorf("%d visitors %s, want %d", summary.Visitors[choice], choice, want)
		}
	}
	if acts != 248+40+2*20 || summary.GPC < 10 || summary.Signed < 30 {
		t.Errorf("%d acts, %d with GPC, %d with an account", acts, summary.GPC, summary.Signed)
	}
	t.Logf("%+v", summary)
}

func TestASeedAlwaysPlaysTheSame(t *testing.T) {
	play := func(seed uint64) string {
		s := newStage(t)
		s.play(func(c *Config) { c.Seed, c.Visitors = seed, 60 })
		slices.Sort(s.bodies) // visitors who send at once may overtake each other
		return strings.Join(s.bodies, "")
	}
	first := play(1)
	if first != play(1) {
		t.Error("the same seed played something else")
	}
	if first == play(2) {
		t.Error("another seed played the same")
	}
}

func TestTermsAreWhatTheTrackerIsTold(t *testing.T) {
	s := newStage(t)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/s.js?site=shop", nil))
	line, _, _ := strings.Cut(w.Body.String(), ";\n")
	var told struct {
		Policy                 string
		Free, Ask, OptOut, GPC []string
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "self.sekisho=")), &told); err != nil {
		t.Fatal(err)
	}
	terms := TermsOf(s.pack, "jp")
	var free []string
	for _, kind := range terms.Free {
		free = append(free, kind.String())
	}
	if told.Policy != terms.Policy || !slices.Equal(told.Free, free) || !slices.Equal(told.Ask, terms.Ask) || !slices.Equal(told.OptOut, terms.OptOut) || !slices.Equal(told.GPC, terms.GPC) {
		t.Errorf("the tracker is told %+v, the demo %+v", told, terms)
	}
	if len(told.Ask) == 0 || len(told.OptOut) == 0 || len(told.GPC) == 0 {
		t.Error("the policy has nothing to compare")
	}
}

// decisions holds every event against the policy and the acts that arrived before it, as the pipeline will.
func decisions(t *testing.T, s *stage, see func(e *sekishov1.Event, d consent.Decision)) {
	t.Helper()
	rules, ok := s.pack.Rules("jp")
	if !ok {
		t.Fatal("no rules")
	}
	states := map[string]consent.Subject{}
	bits := func(ids []string, f func(core.Purpose)) {
		for _, id := range ids {
			p, ok := s.pack.Purpose(id)
			if !ok {
				t.Fatalf("no purpose %s", id)
			}
			f(p.Bit)
		}
	}
	for _, m := range s.read() {
		if a := m.act; a != nil {
			state := states[a.Subject.CookieId]
			if state == nil {
				state = consent.Subject{}
				states[a.Subject.CookieId] = state
			}
			bits(a.Granted, func(p core.Purpose) { state[p] = state[p].Grant(a.TimeUs) })
			bits(append(a.Refused, a.Withdrawn...), func(p core.Purpose) { state[p] = state[p].Deny(a.TimeUs) })
			continue
		}
		e := m.event
		in := consent.Inputs{Type: core.EventType(e.Type), Time: e.TimeUs, GPC: e.Receipt.Gpc}
		if id := e.Identity.GetCookieId(); id != "" {
			in.Subjects = []consent.Subject{states[id]}
		}
		bits(e.Deny, func(p core.Purpose) { in.DeviceRefused = in.DeviceRefused.With(p) })
		see(e, consent.Decide(rules, &in))
	}
}

func TestNoEventGoesFurtherThanItsVisitorAllowed(t *testing.T) {
	s := newStage(t)
	s.play(nil)
	terms := TermsOf(s.pack, "jp")
	conflicts, denied := 0, 0
	decisions(t, s, func(e *sekishov1.Event, d consent.Decision) {
		kind := core.EventType(e.Type)
		if d.GPCConflict {
			conflicts++
		}
		if len(e.Deny) > 0 {
			denied++
		}
		switch {
		case e.Identity.GetCookieId() == "":
			// Nothing names this visitor, and only what is free came.
			if !terms.free(kind) || e.Identity.GetUserId() != "" || e.Identity.GetDeviceId() != "" {
				t.Errorf("%s came without a grant", kind)
			}
			if d.Purposes == 0 || d.Consented {
				t.Errorf("%s without an identifier is decided as %s", kind, d.Reason)
			}
		case !d.Consented && !terms.free(kind):
			t.Errorf("%s of an identified visitor is decided as %s: its act did not come before it", kind, d.Reason)
		}
	})
	if conflicts == 0 || denied == 0 {
		t.Errorf("%d events under a grant against GPC, %d with a refusal", conflicts, denied)
	}
}

func TestAnActComesBeforeWhatItPermitsAndTheCookieGoesWithTheGrant(t *testing.T) {
	s := newStage(t)
	s.play(nil)
	granted, withdrawn, after := map[string]int64{}, map[string]int64{}, 0
	for _, m := range s.read() {
		if a := m.act; a != nil {
			if len(a.Withdrawn) > 0 {
				withdrawn[a.Subject.CookieId] = a.TimeUs
			} else {
				granted[a.Subject.CookieId] = a.TimeUs
			}
			continue
		}
		id := m.event.Identity.GetCookieId()
		if id == "" {
			continue
		}
		if at, ok := granted[id]; !ok || m.event.TimeUs < at {
			t.Error("an event came before the act")
		}
		if at, ok := withdrawn[id]; ok {
			after++
			if m.event.TimeUs > at {
				t.Error("the identifier is used after the withdrawal")
			}
		}
		if err := uuid.Validate(id); err != nil {
			t.Errorf("the identifier is no UUID: %v", err)
		}
	}
	if len(withdrawn) == 0 || after != 0 {
		t.Errorf("%d withdrawals; %d events with the identifier arrived behind one", len(withdrawn), after)
	}
}

func TestWhoeverIsNotRecognisedComesToday(t *testing.T) {
	for name, at := range map[string]time.Time{
		"in the afternoon":         now,
		"a minute after midnight":  time.Date(2026, 11, 25, 0, 1, 0, 0, tokyo),
		"a minute before midnight": time.Date(2026, 11, 25, 23, 59, 0, 0, tokyo),
	} {
		t.Run(name, func(t *testing.T) {
			p := newStage(t).player(nil)
			visitors, plan := p.plan(at)
			days, first, daysOf := map[string]bool{}, at, map[*visitor]map[string]bool{}
			least := time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, tokyo)
			if at.Sub(least) < 2*time.Hour {
				least = at.Add(-2 * time.Hour)
			}
			for _, r := range plan {
				if r.batch == nil {
					continue
				}
				for _, e := range r.batch.Events {
					when := time.UnixMilli(e.Time)
					if when.After(at) || when.Before(at.Add(-DefaultSpan)) {
						t.Errorf("an event at %s", when)
					}
					if r.batch.CookieID == "" && !r.who.choice.returns() && when.Before(least) {
						t.Errorf("a visitor without consent came at %s, before %s", when, least)
					}
					day := when.In(tokyo).Format(time.DateOnly)
					days[day] = true
					if daysOf[r.who] == nil {
						daysOf[r.who] = map[string]bool{}
					}
					daysOf[r.who][day] = true
					if when.Before(first) {
						first = when
					}
				}
			}
			if want := 7 - map[bool]int{true: 1}[at.Hour() == 0]; len(days) != want || len(visitors) != DefaultVisitors {
				t.Errorf("%d visitors on %d days since %s", len(visitors), len(days), first)
			}
			again := 0
			for v, of := range daysOf {
				if len(of) > 1 {
					again++
					if !v.choice.returns() && at.Sub(least) > 2*time.Hour {
						t.Error("a visitor without consent came on two days")
					}
				}
			}
			if again < 60 {
				t.Errorf("%d visitors came again on another day", again)
			}
		})
	}
}

// TestReportsAreAlive counts what the reports would show: groups of ten and more distinct subjects, for a purpose that
// is not everybody's.
func TestReportsAreAlive(t *testing.T) {
	channels, err := channel.New()
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(3) {
		s := newStage(t)
		seeded := func(c *Config) { c.Seed = seed }
		s.play(seeded)
		countries, withdrew := map[string]string{}, map[string]bool{}
		visitors, _ := s.player(seeded).plan(now)
		for _, v := range visitors {
			countries[v.cookie] = v.place.country
			withdrew[v.cookie] = v.choice == Withdrew
		}
		for _, purpose := range []string{"development_marketing", "usage_based_development", "behavioral_personalization"} {
			t.Run(fmt.Sprint(purpose, " ", seed), func(t *testing.T) {
				p, ok := s.pack.Purpose(purpose)
				if !ok {
					t.Fatal("no such purpose")
				}
				groups := map[string]map[string]map[string]bool{}
				add := func(report, group, subject string) {
					if groups[report] == nil {
						groups[report] = map[string]map[string]bool{}
					}
					if groups[report][group] == nil {
						groups[report][group] = map[string]bool{}
					}
					groups[report][group][subject] = true
				}
				decisions(t, s, func(e *sekishov1.Event, d consent.Decision) {
					id := e.Identity.GetCookieId()
					parsed := device.Parse(e.Receipt.UserAgent, device.Hints{Mobile: e.Receipt.UaMobile, Platform: e.Receipt.UaPlatform})
					if !d.Purposes.Has(p.Bit) || parsed.Bot || id == "" || withdrew[id] {
						return
					}
					add("timeseries", time.UnixMicro(e.TimeUs).In(tokyo).Format(time.DateOnly), id)
					add("locations", countries[id], id)
					add("devices", parsed.Class+parsed.Browser+parsed.OS, id)
					u, err := url.Parse(e.Url)
					if err != nil {
						t.Fatal(err)
					}
					switch core.EventType(e.Type) {
					case core.PageView:
						add("pages", u.Path, id)
						if c := channels.Visit(e.Url, e.Referrer); c.Kind != channel.Internal {
							add("sources", c.Kind+" "+c.Source, id)
							add("kinds", c.Kind, id)
						}
					case core.Operation:
						add("operations", e.Operation.Name+" "+e.Operation.Target, id)
					case core.Search:
						add("searches", e.Search.Query, id)
						if e.Search.Results == 0 {
							add("without result", e.Search.Query, id)
						}
					case core.Purchase:
						for _, item := range e.Purchase.Items {
							add("purchases", item.Sku, id)
						}
					case core.AdView:
						add("ads", e.Ad.Id, id)
						if e.Ad.Click {
							add("clicks", e.Ad.Id, id)
						}
					}
				})
				said := ""
				for report, least := range map[string]int{
					"timeseries": 7, "locations": 4, "devices": 6, "pages": 20, "sources": 7, "kinds": 6, "operations": 9, "searches": 6,
					"without result": 1, "purchases": 5, "ads": 3, "clicks": 1,
				} {
					alive := 0
					for _, subjects := range groups[report] {
						if len(subjects) >= 10 {
							alive++
						}
					}
					said += fmt.Sprintf(" %s %d of %d", report, alive, len(groups[report]))
					if alive < least {
						t.Errorf("%s shows %d of %d groups, want %d", report, alive, len(groups[report]), least)
					}
				}
				t.Log(said)
			})
		}
	}
}

func TestAddressesAreOfTheirCountries(t *testing.T) {
	path, err := geodb.Ensure(t.Context(), fetch.CacheDir(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	db, err := geo.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rng := mathrand.New(mathrand.NewPCG(1, 2))
	for _, p := range places() {
		for _, block := range p.blocks {
			for range 5000 {
				address := someAddress(rng, block)
				if got := db.Lookup(address).Country; got != p.country || !block.Contains(address) {
					t.Errorf("an address of %s is in %q, want %s", block, got, p.country)
					break
				}
			}
		}
		if _, err := time.LoadLocation(p.zone); err != nil {
			t.Errorf("%s: %v", p.country, err)
		}
	}
}

func TestDevicesAreWhatTheirUserAgentsSay(t *testing.T) {
	for _, robots := range []bool{false, true} {
		for _, d := range devices(robots) {
			got := device.Parse(d.agent, device.Hints{Mobile: map[bool]string{true: "?1", false: "?0"}[d.mobile && d.platform != ""], Platform: d.platform})
			if got.Class != d.class || got.Bot != robots || !robots && (got.Browser == "" || got.Browser == "other" || got.OS == "other" || got.BrowserVersion == 0) {
				t.Errorf("%s is taken for %+v", d.agent, got)
			}
			if d.app != "" && got.Browser != d.app {
				t.Errorf("%s is taken for %s", d.app, got.Browser)
			}
			for _, screen := range d.screens {
				if strings.Contains(smaller(screen, d.inset), "-") {
					t.Errorf("%s leaves no window", screen)
				}
			}
		}
	}
}

func TestSourcesAreKnown(t *testing.T) {
	channels, err := channel.New()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, app := range []string{"", "line", "instagram"} {
		for _, s := range sources("JP", app) {
			q := s.tags
			if s.click != "" {
				q += "&" + s.click + "=x"
			}
			kinds[channels.Visit(page+"/ja/?"+q, s.referrer).Kind] = true
		}
	}
	for _, kind := range []string{channel.Direct, channel.Search, channel.Social, channel.Referral, channel.Campaign, channel.Email, channel.Ads, channel.AI} {
		if !kinds[kind] {
			t.Errorf("nobody comes by %s", kind)
		}
	}
}

// TestVisitorsDoOnlyWhatThePagesOffer opens every page of the plan in the sample shop.
func TestVisitorsDoOnlyWhatThePagesOffer(t *testing.T) {
	shop := sample.Handler("http://localhost:8080", "shop")
	opened := map[string]*html.Node{}
	open := func(target string) *html.Node {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		if doc, ok := opened[u.RequestURI()]; ok {
			return doc
		}
		w := httptest.NewRecorder()
		shop.ServeHTTP(w, httptest.NewRequest(http.MethodGet, u.RequestURI(), nil))
		if w.Code != http.StatusOK {
			t.Fatalf("%s: %d", u.RequestURI(), w.Code)
		}
		doc, err := html.Parse(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		opened[u.RequestURI()] = doc
		return doc
	}
	_, plan := newStage(t).player(nil).plan(now)
	checked := map[core.EventType]int{}
	for _, r := range plan {
		if r.batch == nil {
			continue
		}
		for _, e := range r.batch.Events {
			doc := open(e.URL)
			checked[e.kind]++
			switch e.kind {
			case core.PageView:
				// The shop changes a title when a part of the journal is turned to, and that is its title when opened, too.
				if !found(doc, func(n *html.Node) bool { return n.Data == "title" && n.FirstChild.Data == e.Title }) {
					t.Errorf("%s is not called %q", e.URL, e.Title)
				}
			case core.Operation:
				if !offers(doc, e.Operation) {
					t.Errorf("%s does not offer %s %s", e.URL, e.Operation.Name, e.Operation.Target)
				}
			case core.AdView:
				if !found(doc, func(n *html.Node) bool {
					return attr(n, "data-ad-id") == e.Ad.ID && attr(n, "data-ad-slot") == e.Ad.Slot && attr(n, "data-ad-campaign") == e.Ad.Campaign
				}) {
					t.Errorf("%s does not show %s in %s", e.URL, e.Ad.ID, e.Ad.Slot)
				}
			case core.Search:
				if !found(doc, func(n *html.Node) bool {
					return attr(n, "data-query") == e.Search.Query && attr(n, "data-results") == fmt.Sprint(e.Search.Results) && attr(n, "data-category") == e.Search.Category
				}) {
					t.Errorf("%s does not report the search for %s", e.URL, e.Search.Query)
				}
			case core.Purchase:
				said, err := json.Marshal(e.Purchase)
				if err != nil {
					t.Fatal(err)
				}
				if !found(doc, func(n *html.Node) bool { return attr(n, "data-order") == string(said) }) {
					t.Errorf("%s does not report the order %s", e.URL, said)
				}
			case core.Custom:
				if !found(doc, func(n *html.Node) bool { return attr(n, "data-custom") == e.Custom.Name }) {
					t.Errorf("%s does not offer %s", e.URL, e.Custom.Name)
				}
			}
		}
	}
	for _, kind := range []core.EventType{core.PageView, core.Operation, core.AdView, core.Search, core.Purchase, core.Custom} {
		if checked[kind] == 0 {
			t.Errorf("nobody did a %s", kind)
		}
	}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func found(doc *html.Node, test func(*html.Node) bool) bool {
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && test(n) {
			return true
		}
	}
	return false
}

// offers reports whether a page has an element that the tracker makes this operation of.
func offers(doc *html.Node, o *operation) bool {
	chooses := map[string]string{"change_plan": "plan"} // whose target is what a radio button says
	return found(doc, func(n *html.Node) bool {
		switch {
		case o.Name == "outbound_link":
			u, err := url.Parse(attr(n, "href"))
			return err == nil && n.Data == "a" && u.Host == o.Target
		case o.Name == "download":
			u, err := url.Parse(attr(n, "href"))
			return err == nil && n.Data == "a" && strings.HasSuffix(u.Path, "/"+o.Target) && slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "download" })
		case chooses[o.Name] != "":
			return attr(n, "name") == chooses[o.Name] && attr(n, "value") == o.Target
		}
		return attr(n, "data-sekisho-op") == o.Name && attr(n, "data-sekisho-target") == o.Target
	})
}

// busy answers as told, and then as a collector that takes everything.
type busy struct {
	statuses []int
	after    string
	asked    int
	ids      map[string]bool
}

func (b *busy) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	b.ids[string(body)] = true
	if b.asked < len(b.statuses) {
		w.Header().Set("Retry-After", b.after)
		w.WriteHeader(b.statuses[b.asked])
	} else {
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.WriteString(`{"accepted":1,"rejected":0}`)
	}
	b.asked++
	return w.Result(), nil
}

func TestABusyCollectorIsAskedAgain(t *testing.T) {
	many := func(status int) []int { return slices.Repeat([]int{status}, 50) }
	for name, tc := range map[string]struct {
		statuses []int
		after    string
		pauses   []time.Duration
		asked    int
		fails    string
	}{
		"too many requests":     {[]int{429, 429}, "2", []time.Duration{2 * time.Second, 2 * time.Second}, 3, ""},
		"unavailable":           {[]int{503}, "5", []time.Duration{5 * time.Second}, 2, ""},
		"for an hour":           {[]int{503}, "3600", []time.Duration{10 * time.Second}, 2, ""},
		"without saying when":   {[]int{429}, "", []time.Duration{time.Second}, 2, ""},
		"in words":              {[]int{429}, "Wed, 25 Nov 2026 08:00:00 GMT", []time.Duration{time.Second}, 2, ""},
		"for ever":              {many(503), "1", slices.Repeat([]time.Duration{time.Second}, maxAttempts-1), maxAttempts, "503"},
		"not this page":         {[]int{403}, "", nil, 1, "403"},
		"no collector there":    {[]int{404}, "", nil, 1, "404"},
		"broken":                {[]int{500}, "", nil, 1, "500"},
		"an event is no event":  {[]int{400}, "", nil, 1, ""},
		"something of a portal": {[]int{200}, "", nil, 1, "not the collector's"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &busy{statuses: tc.statuses, after: tc.after, ids: map[string]bool{}}
			p := newStage(t).player(func(c *Config) { c.Client = &http.Client{Transport: b} })
			var pauses []time.Duration
			p.wait = func(_ context.Context, d time.Duration) error {
				pauses = append(pauses, d)
				return nil
			}
			_, plan := p.plan(now)
			i := slices.IndexFunc(plan, func(r request) bool { return r.batch != nil })
			a, err := p.send(t.Context(), plan[i])
			if !slices.Equal(pauses, tc.pauses) || b.asked != tc.asked || (err != nil) != (tc.fails != "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("asked %d times after %v: %v", b.asked, pauses, err)
			}
			if err == nil && a.accepted+a.rejected == 0 {
				t.Error("nothing is counted")
			}
			if len(b.ids) != 1 {
				t.Error("a retry is another event")
			}
		})
	}
}

func TestPlayingStops(t *testing.T) {
	t.Run("with its context", func(t *testing.T) {
		s := newStage(t)
		ctx, cancel := context.WithCancel(t.Context())
		summary, err := s.player(nil).Play(ctx, func(done, _ int) {
			if done == 20 {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) || summary.Requests < 20 || summary.Requests > 20+abreast {
			t.Errorf("%v after %d requests", err, summary.Requests)
		}
	})
	t.Run("at a pause", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := wait(ctx, time.Hour); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("where the site does not allow the page", func(t *testing.T) {
		b := &busy{statuses: slices.Repeat([]int{403}, 100), ids: map[string]bool{}}
		summary, err := newStage(t).player(func(c *Config) { c.Client = &http.Client{Transport: b}; c.Visitors = 1 }).Play(t.Context(), nil)
		if err == nil || summary.Requests != 1 {
			t.Errorf("%v after %d requests", err, summary.Requests)
		}
	})
}

func TestAConfigurationIsRefusedWithEveryFault(t *testing.T) {
	_, err := New(Config{Collector: "ftp://x", Page: "nowhere", Visitors: -1, Span: 40 * 24 * time.Hour})
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{"collector", "page", "site", "terms", "visitors", "span", "client"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name the %s", err, want)
		}
	}
}

func TestADayThatHasJustBegunIsTaken(t *testing.T) {
	at := time.Date(2026, 11, 25, 0, 1, 0, 0, tokyo)
	_, plan := newStage(t).player(func(c *Config) { c.Span = 24 * time.Hour }).plan(at)
	if len(plan) == 0 || plan[0].at.Before(at.Add(-2*time.Hour)) || plan[len(plan)-1].at.After(at) {
		t.Errorf("%d requests", len(plan))
	}
}

func TestAnyNumberOfVisitorsAndDaysIsTaken(t *testing.T) {
	for _, tc := range []struct {
		visitors int
		span     time.Duration
	}{{1, time.Hour}, {3, maxSpan}, {150, time.Hour}, {150, maxSpan}} {
		s := newStage(t)
		summary := s.play(func(c *Config) { c.Visitors, c.Span = tc.visitors, tc.span })
		if summary.Rejected != 0 || summary.Accepted == 0 || len(s.read()) != summary.Accepted+summary.Acts {
			t.Errorf("%+v: %+v", tc, summary)
		}
	}
}

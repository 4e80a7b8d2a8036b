package collector

import (
	"hash/maphash"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/core"
)

func TestTheAddressIsTakenFromTrustedProxiesOnly(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, tc := range map[string]struct {
		remote    string
		forwarded []string
		trusted   []netip.Prefix
		want      string
	}{
		"a client by itself":                   {"198.51.100.1:1", nil, trusted, "198.51.100.1"},
		"a client that claims another address": {"198.51.100.1:1", []string{"203.0.113.9"}, trusted, "198.51.100.1"},
		"a client behind a proxy":              {"10.0.0.1:1", []string{"203.0.113.9"}, trusted, "203.0.113.9"},
		"a client that claims, behind a proxy": {"10.0.0.1:1", []string{"6.6.6.6, 203.0.113.9"}, trusted, "203.0.113.9"},
		"a client behind two proxies":          {"10.0.0.1:1", []string{"6.6.6.6, 203.0.113.9, 10.0.0.2"}, trusted, "203.0.113.9"},
		"a header in two parts":                {"10.0.0.1:1", []string{"6.6.6.6, 203.0.113.9", "10.0.0.2"}, trusted, "203.0.113.9"},
		"a proxy that says nothing":            {"10.0.0.1:1", nil, trusted, "10.0.0.1"},
		"a proxy that says nonsense":           {"10.0.0.1:1", []string{"nonsense"}, trusted, "10.0.0.1"},
		"nonsense to the left":                 {"10.0.0.1:1", []string{"nonsense, 203.0.113.9"}, trusted, "203.0.113.9"},
		"nonsense between proxies":             {"10.0.0.1:1", []string{"203.0.113.9, nonsense, 10.0.0.2"}, trusted, "10.0.0.2"},
		"proxies alone":                        {"10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, trusted, "10.0.0.3"},
		"six":                                  {"[fd00::1]:1", []string{"2001:db8::9"}, trusted, "2001:db8::9"},
		"four within six":                      {"[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.9"}, trusted, "203.0.113.9"},
		"a zone":                               {"[fe80::1%eth0]:1", nil, trusted, "fe80::1"},
		"no proxy is trusted":                  {"10.0.0.1:1", []string{"203.0.113.9"}, nil, "10.0.0.1"},
		"no address":                           {"@", []string{"203.0.113.9"}, trusted, "invalid IP"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := core.Reveal(clientIP(tc.remote, tc.forwarded, tc.trusted), netip.Addr.String); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

// from makes a request come from an address.
func from(ip string, r *http.Request) *http.Request {
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(ip), 1).String()
	return r
}

func TestASourceThatAsksTooOftenIsRefusedAlone(t *testing.T) {
	clock := now
	c, _, log := build(t, 1<<20, func(cfg *Config, d *Deps) {
		cfg.Rate, cfg.Burst = 2, 3
		d.Now = func() time.Time { return clock }
	})
	ask := func(ip string, header ...string) int {
		r := from(ip, httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(view)))
		w := serve(c, request(request(r, "Content-Type", applicationJSON, "Origin", origin), header...))
		if w.Code == 429 && (w.Header().Get("Retry-After") == "" || w.Header().Get("Access-Control-Allow-Origin") != origin || !strings.Contains(w.Body.String(), `"code":"rate_limited"`)) {
			t.Errorf("%v %s", w.Header(), w.Body)
		}
		return w.Code
	}
	expect := func(what string, want int, codes ...int) {
		t.Helper()
		for i, code := range codes {
			if code != want {
				t.Errorf("%s, request %d: %d, want %d", what, i, code, want)
			}
		}
	}
	one, other := "198.51.100.1", "198.51.100.2"
	expect("a burst", 202, ask(one), ask(one), ask(one))
	expect("more", 429, ask(one), ask(one))
	expect("another source", 202, ask(other))
	clock = clock.Add(500 * time.Millisecond)
	expect("half a second later", 202, ask(one))
	expect("and more", 429, ask(one))
	clock = clock.Add(time.Hour)
	expect("after a rest, no more than a burst", 202, ask(one), ask(one), ask(one))
	expect("and more", 429, ask(one))
	clock = clock.Add(-time.Minute) // a clock that is set back
	expect("an earlier time gives nothing", 429, ask(one))

	expect("a subscriber's addresses are one source", 202, ask("2001:db8::1"), ask("2001:db8::2"), ask("2001:db8::ffff:ffff:ffff:ffff"))
	expect("and more", 429, ask("2001:db8::3"))
	expect("another subscriber", 202, ask("2001:db8:0:1::1"))

	expect("clients of a proxy are told apart", 202, ask("10.0.0.1", "X-Forwarded-For", "203.0.113.1"), ask("10.0.0.1", "X-Forwarded-For", "203.0.113.1"), ask("10.0.0.1", "X-Forwarded-For", "203.0.113.1"))
	expect("and more", 429, ask("10.0.0.1", "X-Forwarded-For", "203.0.113.1"))
	expect("another client", 202, ask("10.0.0.1", "X-Forwarded-For", "203.0.113.2"))
	expect("a claim does not help", 429, ask(one, "X-Forwarded-For", "203.0.113.77"))

	for path, method := range map[string]string{"/v1/consent": http.MethodPost, "/v1/consent?site=shop": http.MethodGet, "/v1/pixel.gif": http.MethodGet, "/s.js?site=shop": http.MethodGet} {
		if w := serve(c, from(one, httptest.NewRequest(method, path, nil))); w.Code != 429 {
			t.Errorf("%s %s is not limited: %d", method, path, w.Code)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if w := serve(c, from(one, httptest.NewRequest(http.MethodGet, path, nil))); w.Code != 200 {
			t.Errorf("%s is limited: %d", path, w.Code)
		}
	}
	if strings.Contains(log.String(), one) {
		t.Error("the log names a source")
	}
}

func TestTheLimiterForgetsWhoStaysAway(t *testing.T) {
	l := &limiter{seed: maphash.MakeSeed(), rate: 1, burst: 1, now: func() time.Time { return now }}
	source := func(i int) core.RawIP {
		return core.NewRawIP(netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if !l.allow(source(0)) || l.allow(source(0)) {
		t.Fatal("a burst of one is not one")
	}
	for i := 1; i <= maxSources+10; i++ {
		l.allow(source(i))
	}
	if l.allow(source(0)) {
		t.Error("a source of the generation before was forgotten too early")
	}
	for i := 1; i <= 3*maxSources; i++ {
		l.allow(source(i))
		if n := len(l.young) + len(l.old); n > 2*maxSources {
			t.Fatalf("%d sources are remembered", n)
		}
	}
	if !l.allow(source(0)) {
		t.Error("a source that stayed away is still remembered")
	}
}

func TestPagesOfRegisteredOriginsMayReadAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		method, path, body, origin string
		status                     int
		allowed                    bool
	}{
		"events of a page":             {http.MethodPost, "/v1/events", view, origin, 202, true},
		"a fault of a page":            {http.MethodPost, "/v1/events", "{", origin, 400, true},
		"a consent state":              {http.MethodGet, "/v1/consent?site=shop", "", origin, 400, true},
		"an act":                       {http.MethodPost, "/v1/consent", "{", origin, 400, true},
		"a pixel":                      {http.MethodGet, "/v1/pixel.gif", "", origin, 200, true},
		"a foreign page":               {http.MethodPost, "/v1/events", view, "https://evil.example", 403, false},
		"another scheme":               {http.MethodPost, "/v1/events", view, strings.Replace(origin, "https", "http", 1), 403, false},
		"a page without an origin":     {http.MethodPost, "/v1/events", view, "null", 403, false},
		"no page":                      {http.MethodPost, "/v1/events", view, "", 401, false},
		"the question of a page":       {http.MethodOptions, "/v1/events", "", origin, 204, true},
		"that of a page about consent": {http.MethodOptions, "/v1/consent", "", origin, 204, true},
		"that of a foreign page":       {http.MethodOptions, "/v1/events", "", "https://evil.example", 403, false},
		"that of nobody":               {http.MethodOptions, "/v1/consent", "", "", 403, false},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, _ := build(t, 1<<20)
			r := httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body))
			w := serve(c, request(r, "Origin", tc.origin, "Content-Type", applicationJSON, "Access-Control-Request-Method", "POST"))
			h := w.Header()
			if w.Code != tc.status {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if got, want := h.Get("Access-Control-Allow-Origin"), tc.origin; tc.allowed && got != want || !tc.allowed && got != "" {
				t.Errorf("allowed origin %q", got)
			}
			if h.Get("Vary") != "Origin" {
				t.Error("a cache may give one origin's answer to another")
			}
			if h.Get("Access-Control-Allow-Credentials") != "" || h.Get("Set-Cookie") != "" {
				t.Error("cookies take part")
			}
			preflight := tc.method == http.MethodOptions && tc.allowed
			if (h.Get("Access-Control-Allow-Methods") != "") != preflight || (h.Get("Access-Control-Max-Age") != "") != preflight {
				t.Errorf("%v", h)
			}
			if preflight {
				for _, name := range []string{"Content-Type", "Content-Encoding", "Sekisho-Cookie-Id", "Sekisho-Device-Id"} {
					if !strings.Contains(h.Get("Access-Control-Allow-Headers"), name) {
						t.Errorf("a page may not send %s", name)
					}
				}
				if strings.Contains(h.Get("Access-Control-Allow-Headers"), "Write-Key") {
					t.Error("a page may send a write key")
				}
			}
		})
	}
}

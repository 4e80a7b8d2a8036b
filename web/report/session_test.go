package report

import (
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sekisho/sekisho/web/kit/kittest"
	"github.com/sekisho/sekisho/web/report/stage"
)

func TestAKeyIsKeptSealedInTheReadersBrowserOnly(t *testing.T) {
	for host, want := range map[string]http.Cookie{
		"http://localhost:8082":   {Name: "sekisho_report", Path: "/ui/"},
		"http://127.0.0.1:8082":   {Name: "sekisho_report", Path: "/ui/"},
		"http://[::1]:8082":       {Name: "sekisho_report", Path: "/ui/"},
		"https://reports.example": {Name: "__Host-sekisho_report", Path: "/", Secure: true},
		"https://localhost:8443":  {Name: "__Host-sekisho_report", Path: "/", Secure: true},
	} {
		r := newReader(t)
		r.host = host
		w := r.post("/ui/ja/sign-in", url.Values{"key": {"  " + stage.Reader + "\r\n"}})
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "./" {
			t.Fatalf("%s: %d %v", host, w.Code, w.Header())
		}
		cookies := w.Result().Cookies()
		if len(cookies) != 1 {
			t.Fatalf("%s: %v", host, cookies)
		}
		c := cookies[0]
		if c.Name != want.Name || c.Path != want.Path || c.Secure != want.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode ||
			c.MaxAge != 0 || !c.Expires.IsZero() || c.Domain != "" {
			t.Errorf("%s: %v", host, c)
		}
		sealed, err := base64.RawURLEncoding.DecodeString(c.Value)
		if err != nil || strings.Contains(string(sealed), stage.Reader[:12]) || strings.Contains(c.Value, stage.Reader[:12]) {
			t.Errorf("%s: the key can be read in the cookie", host)
		}
		if w := r.get("/ui/ja/"); !strings.Contains(w.Body.String(), `action="sign-out"`) {
			t.Errorf("%s: not signed in: %s", host, w.Body)
		}
	}
}

func TestTheSameKeyIsNeverSealedAlike(t *testing.T) {
	r, seen := newReader(t), map[string]bool{}
	for range 3 {
		r.signIn()
		seen[r.cookies[plainCookie].Value] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d values", len(seen))
	}
}

// asks reports whether a page knows its reader.
func entered(r *reader) bool {
	return strings.Contains(r.get("/ui/en/").Body.String(), `action="sign-out"`)
}

func TestASessionEnds(t *testing.T) {
	t.Run("after twelve hours", func(t *testing.T) {
		r := signedIn(t)
		r.now = r.now.Add(sessionTime - time.Second)
		if !entered(r) {
			t.Error("too early")
		}
		r.now = r.now.Add(2 * time.Second)
		if entered(r) {
			t.Error("never")
		}
	})
	t.Run("when its reader signs out, for every copy of it", func(t *testing.T) {
		r := signedIn(t)
		copied := maps.Clone(r.cookies)
		w := r.post("/ui/en/sign-out", nil)
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "./" || len(r.cookies) != 0 || entered(r) {
			t.Errorf("%d %v", w.Code, r.cookies)
		}
		r.cookies = copied
		if entered(r) {
			t.Error("a copy still works")
		}
	})
	t.Run("when the process does", func(t *testing.T) {
		r := signedIn(t)
		r.restart()
		if entered(r) {
			t.Error("another process opens it")
		}
	})
	t.Run("when the key is revoked", func(t *testing.T) {
		r := signedIn(t)
		r.answers["/v1/catalogue"] = func() (int, []byte) {
			return 401, []byte(`{"type":"urn:x","title":"Unauthorized","status":401,"code":"unauthenticated"}`)
		}
		w := r.get("/ui/en/")
		if w.Code != http.StatusForbidden || !strings.Contains(said(t, w), "The key is no longer accepted.") || len(r.cookies) != 0 {
			t.Errorf("%d %v %s", w.Code, r.cookies, w.Body)
		}
	})
}

func TestACookieThatWasNotSealedHereOpensNothing(t *testing.T) {
	r := signedIn(t)
	good := r.cookies[plainCookie].Value
	flipped := []byte(good)
	for i := range flipped {
		flipped[i] ^= 1
		for _, name := range []string{plainCookie, secureCookie} {
			r.cookies = map[string]*http.Cookie{name: {Name: name, Value: string(flipped)}}
			if entered(r) {
				t.Fatalf("changed at %d, it opens", i)
			}
		}
		flipped[i] ^= 1
	}
	for _, value := range []string{"", "x", "%", stage.Reader, good[:15], strings.Repeat("A", 4000)} {
		r.cookies = map[string]*http.Cookie{plainCookie: {Name: plainCookie, Value: value}}
		if entered(r) {
			t.Errorf("%q opens", value)
		}
	}
	r.cookies = map[string]*http.Cookie{secureCookie: {Name: secureCookie, Value: good}}
	if entered(r) {
		t.Error("a plain session passes for one over TLS")
	}
	r.cookies = map[string]*http.Cookie{plainCookie: {Name: plainCookie, Value: good}}
	r.host = "https://reports.example"
	if entered(r) {
		t.Error("a plain session counts beyond loopback")
	}
}

func TestAFormOfAnotherSiteIsRefused(t *testing.T) {
	for name, header := range map[string][]string{
		"no origin":                    {"Origin", ""},
		"an opaque origin":             {"Origin", "null"},
		"another host":                 {"Origin", "http://evil.example"},
		"another port":                 {"Origin", "http://localhost:8090"},
		"a host that begins alike":     {"Origin", "http://localhost:8082.evil.example"},
		"no URL":                       {"Origin", "http://%zz"},
		"what the browser says itself": {"Sec-Fetch-Site", "cross-site"},
		"a subdomain":                  {"Sec-Fetch-Site", "same-site"},
		"nobody":                       {"Sec-Fetch-Site", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReader(t)
			w := r.post("/ui/en/sign-in", url.Values{"key": {stage.Reader}}, header...)
			if w.Code != http.StatusForbidden || len(r.cookies) != 0 || len(r.calls) != 0 || !strings.Contains(said(t, w), "The form came from another site") {
				t.Errorf("%d %v %v %s", w.Code, r.cookies, r.calls, w.Body)
			}
			r.signIn()
			if w := r.post("/ui/en/sign-out", nil, header...); w.Code != http.StatusForbidden || !entered(r) {
				t.Errorf("signed out: %d", w.Code)
			}
		})
	}
}

func TestAKeyIsTakenOverTLSOrOnThisMachineOnly(t *testing.T) {
	for host, taken := range map[string]bool{
		"http://reports.example": false, "http://192.168.1.4:8082": false, "http://localhost.evil.example": false, "http://127.0.0.1.nip.example": false,
		"http://LOCALHOST": true, "https://192.168.1.4:8082": true, "http://127.8.8.8": true,
	} {
		r := newReader(t)
		r.host = host
		w := r.post("/ui/ja/sign-in", url.Values{"key": {stage.Reader}})
		if (w.Code == http.StatusSeeOther) != taken || (len(r.cookies) == 1) != taken {
			t.Errorf("%s: %d", host, w.Code)
		}
		if !taken && (!strings.Contains(said(t, w), "（https）") || len(r.calls) != 0) {
			t.Errorf("%s: %s", host, w.Body)
		}
	}
}

func TestBehindAProxyTheConfiguredOriginCounts(t *testing.T) {
	r := newReader(t)
	options := r.options()
	options.Origin = "https://reports.example"
	handler, err := Handler(r.ask(), options)
	if err != nil {
		t.Fatal(err)
	}
	r.handler, r.host = handler, "http://10.0.0.7:8082"
	if w := r.post("/ui/en/sign-in", url.Values{"key": {stage.Reader}}); w.Code != http.StatusForbidden {
		t.Errorf("%d", w.Code)
	}
	w := r.post("/ui/en/sign-in", url.Values{"key": {stage.Reader}}, "Origin", "https://reports.example")
	if w.Code != http.StatusSeeOther || r.cookies[secureCookie] == nil || !entered(r) {
		t.Errorf("%d %v", w.Code, r.cookies)
	}
}

func TestAKeyThatIsNoneIsRefused(t *testing.T) {
	for _, key := range []string{"", " ", "sk_wrong", "a b", "a\nAuthorization: x", "キー", strings.Repeat("k", maxKey+1), strings.Repeat("k", 20<<10)} {
		r := newReader(t)
		w := r.post("/ui/en/sign-in", url.Values{"key": {key}})
		if w.Code != http.StatusForbidden || len(r.cookies) != 0 || !strings.Contains(said(t, w), "This key is not accepted.") {
			t.Errorf("%q: %d %s", key, w.Code, w.Body)
		}
		if key != "sk_wrong" && len(r.calls) != 0 {
			t.Errorf("%q was tried", key)
		}
		if len(key) > 3 && strings.Contains(w.Body.String(), key) {
			t.Errorf("%q comes back", key)
		}
		for _, fault := range faults(t, w.Body.String(), "en") {
			t.Error(fault)
		}
	}
	r := newReader(t)
	if w := r.post("/ui/en/sign-in?key="+stage.Reader, nil); w.Code != http.StatusForbidden || len(r.cookies) != 0 {
		t.Errorf("a key in an address is taken: %d", w.Code)
	}
	if long := strings.Repeat("k", maxKey); len(long) > 0 {
		s, err := newSessions(strings.NewReader(strings.Repeat("r", 100)), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		cookie, err := s.begin(long, true)
		if err != nil || len(cookie.Name)+len(cookie.Value) > 4096 {
			t.Errorf("a browser would not keep it: %v %d", err, len(cookie.Value))
		}
	}
}

func TestWhenTheAPIIsAwayNobodySignsIn(t *testing.T) {
	r := newReader(t)
	r.answers["/v1/catalogue"] = func() (int, []byte) { return 503, []byte(`{"code":"unavailable","status":503}`) }
	w := r.post("/ui/ja/sign-in", url.Values{"key": {stage.Reader}})
	if w.Code != http.StatusServiceUnavailable || len(r.cookies) != 0 || !strings.Contains(said(t, w), "サービスが一時的に答えられません。") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTheKeyIsNowhereButWithTheAPI(t *testing.T) {
	r := signedIn(t)
	all := []*httptest.ResponseRecorder{
		r.get("/ui/ja/"), r.report("ja", "timeseries", ""), r.report("en", "pages", "&d=path&o=is&v=x"), r.report("en", "broken", ""), r.report("en", "funnel", ""),
		r.get("/ui/en/report.csv?site=shop&purpose=usage_based_development&report=pages"), r.get("/ui/en/nothing"), r.post("/ui/en/sign-in", url.Values{"key": {"sk_wrong"}}),
	}
	for i, w := range all {
		if strings.Contains(w.Body.String(), "stage-key") || strings.Contains(strings.Join(slices.Concat(slices.Collect(maps.Values(w.Header()))...), " "), "stage-key") {
			t.Errorf("answer %d holds the key", i)
		}
	}
	for _, c := range r.calls {
		if strings.Contains(c.path+c.values.Encode(), "stage-key") {
			t.Errorf("%v", c)
		}
	}
}

func TestWhatWasAskedForIsThereAfterSigningIn(t *testing.T) {
	r := newReader(t)
	const query = "?compare=previous_period&d=country&o=not&p.interval=week&period=28&purpose=usage_based_development&report=timeseries&site=shop&v=JP"
	w := r.get("/ui/ja/"+query+"&junk=1", "Sec-Fetch-Site", "cross-site")
	doc := kittest.Parse(t, w.Body.String())
	if !strings.Contains(said(t, w), "ほかのサイトから開いたため") || len(r.calls) != 0 {
		t.Errorf("%s", w.Body)
	}
	if action := kittest.Attr(kittest.Elements(doc, "form")[0], "action"); action != "sign-in"+query {
		t.Errorf("%s", action)
	}
	if w := r.post("/ui/ja/sign-in"+query, url.Values{"key": {stage.Reader}}); w.Header().Get("Location") != "./"+query {
		t.Errorf("%v", w.Header())
	}
	if w := r.get("/ui/ja/", "Sec-Fetch-Site", "none"); strings.Contains(said(t, w), "ほかのサイト") && !entered(r) {
		t.Errorf("%s", w.Body)
	}
}

func TestWithoutRandomnessThereIsNoPage(t *testing.T) {
	r := newReader(t)
	broken := iotest.ErrReader(errors.New("no randomness"))
	for name, options := range map[string]Options{
		"no source": {Now: time.Now}, "no clock": {Random: strings.NewReader("")}, "a source that fails": {Random: broken, Now: time.Now},
	} {
		if _, err := Handler(r.ask(), options); err == nil {
			t.Error(name)
		}
	}
	if _, err := Handler(nil, r.options()); err == nil {
		t.Error("no API")
	}
	// Enough for the key of the process, and nothing for a session.
	handler, err := Handler(r.ask(), Options{Random: strings.NewReader(strings.Repeat("r", 32)), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	r.handler = handler
	if w := r.post("/ui/en/sign-in", url.Values{"key": {stage.Reader}}); w.Code != http.StatusInternalServerError || len(r.cookies) != 0 {
		t.Errorf("%d %v", w.Code, r.cookies)
	}
}

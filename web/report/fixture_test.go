package report

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/sekisho/sekisho/web/kit/kittest"
	"github.com/sekisho/sekisho/web/report/stage"
)

// call is a request of the API as the page made it.
type call struct {
	key, path, language string
	values              url.Values
}

// reader is a browser with its cookies, in front of pages over the stage.
type reader struct {
	t       testing.TB
	handler http.Handler
	host    string // with the scheme
	cookies map[string]*http.Cookie

	mu    sync.Mutex
	calls []call
	now   time.Time
	// answers replaces what the stage says of a path.
	answers map[string]func() (int, []byte)
}

func newReader(t testing.TB) *reader {
	t.Helper()
	r := &reader{t: t, host: "http://localhost:8082", cookies: map[string]*http.Cookie{}, now: stage.Now, answers: map[string]func() (int, []byte){}}
	r.restart()
	return r
}

// restart makes the pages anew, as another process would.
func (r *reader) restart() {
	r.t.Helper()
	handler, err := Handler(r.ask(), r.options())
	if err != nil {
		r.t.Fatal(err)
	}
	r.handler = handler
}

func (r *reader) options() Options {
	return Options{Random: rand.Reader, Now: func() time.Time { return r.now }}
}

func (r *reader) ask() Ask {
	through := Through(stage.API())
	return func(ctx context.Context, key, path string, values url.Values) (int, []byte) {
		r.mu.Lock()
		r.calls = append(r.calls, call{key, path, LanguageOf(ctx), values})
		r.mu.Unlock()
		if answer, ok := r.answers[path]; ok {
			return answer()
		}
		return through(ctx, key, path, values)
	}
}

func (r *reader) send(method, target, body string, header ...string) *httptest.ResponseRecorder {
	r.t.Helper()
	q := httptest.NewRequest(method, r.host+target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	for _, c := range r.cookies {
		q.AddCookie(c)
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, q)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(r.cookies, c.Name)
		} else {
			r.cookies[c.Name] = c
		}
	}
	return w
}

func (r *reader) get(target string, header ...string) *httptest.ResponseRecorder {
	r.t.Helper()
	return r.send(http.MethodGet, target, "", header...)
}

// post sends a form as the browser does from a page of its own.
func (r *reader) post(target string, form url.Values, header ...string) *httptest.ResponseRecorder {
	r.t.Helper()
	header = append([]string{"Content-Type", "application/x-www-form-urlencoded", "Origin", r.host, "Sec-Fetch-Site", "same-origin"}, header...)
	return r.send(http.MethodPost, target, form.Encode(), header...)
}

func (r *reader) signIn() {
	r.t.Helper()
	if w := r.post("/ui/en/sign-in", url.Values{"key": {stage.Reader}}); w.Code != http.StatusSeeOther {
		r.t.Fatalf("sign in: %d %s", w.Code, w.Body)
	}
}

func signedIn(t testing.TB) *reader {
	t.Helper()
	r := newReader(t)
	r.signIn()
	r.calls = nil
	return r
}

// report gets a report of the site shop, in the language.
func (r *reader) report(language, name, more string) *httptest.ResponseRecorder {
	r.t.Helper()
	return r.get("/ui/" + language + "/?site=shop&purpose=usage_based_development&report=" + name + more)
}

// asked are the values of the only report that was asked for.
func (r *reader) asked() url.Values {
	r.t.Helper()
	var found []call
	for _, c := range r.calls {
		if strings.HasPrefix(c.path, "/v1/reports/") {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		r.t.Fatalf("%d reports were asked for: %v", len(found), found)
	}
	return found[0].values
}

func said(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	return kittest.Name(kittest.Parse(t, w.Body.String()))
}

func within(n *html.Node, name string) bool {
	for ; n != nil; n = n.Parent {
		if n.Data == name {
			return true
		}
	}
	return false
}

// faults are what is wrong with a page in its structure, and for who cannot see it or use a mouse.
func faults(t testing.TB, body, language string) (all []string) {
	t.Helper()
	all = kittest.Faults(t, body, language)
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, trace := range []string{"NaN", "Inf", "{0x"} {
		if strings.Contains(body, trace) {
			say("holds %s", trace)
		}
	}
	doc := kittest.Parse(t, body)
	if headings := kittest.Elements(doc, "h1"); len(headings) != 1 || kittest.Name(headings[0]) == "" {
		say("%d h1", len(headings))
	}
	level, ids := 0, map[string]bool{}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if id := kittest.Attr(n, "id"); id != "" {
			ids[id] = true
		}
		if len(n.Data) == 2 && n.Data[0] == 'h' && n.Data[1] >= '1' && n.Data[1] <= '6' {
			next := int(n.Data[1] - '0')
			if next > level+1 {
				say("%s %q follows h%d", n.Data, kittest.Name(n), level)
			}
			level = next
		}
	}
	for n := range doc.Descendants() {
		if href := kittest.Attr(n, "href"); strings.HasPrefix(href, "#") && !ids[href[1:]] {
			say("a link to no id: %s", href)
		}
	}
	for _, n := range kittest.Elements(doc, "a", "button", "th", "caption", "legend", "dt", "dd", "li", "figcaption", "option") {
		if kittest.Name(n) == "" {
			say("<%s> is empty", n.Data)
		}
	}
	for _, n := range kittest.Elements(doc, "input", "select") {
		if kittest.Attr(n, "aria-label") == "" && !within(n, "label") {
			say("<%s name=%s> has no label", n.Data, kittest.Attr(n, "name"))
		}
	}
	for _, n := range kittest.Elements(doc, "svg") {
		named := kittest.Attr(n, "role") == "img" && kittest.Attr(n, "aria-labelledby") != ""
		if !named && kittest.Attr(n, "aria-hidden") != "true" && !within(n.Parent, "svg") && kittest.Attr(n.Parent.Parent, "aria-hidden") != "true" {
			say("a picture is neither named nor hidden")
		}
		if named && (len(kittest.Elements(n, "title")) != 1 || len(kittest.Elements(n, "desc")) != 1) {
			say("a picture has no title or no description")
		}
	}
	for _, n := range kittest.Elements(doc, "table") {
		if len(kittest.Elements(n, "caption")) != 1 {
			say("a table has no caption")
		}
		for _, h := range kittest.Elements(n, "th") {
			if scope := kittest.Attr(h, "scope"); scope != "col" && scope != "row" {
				say("a header has no scope")
			}
		}
		for _, row := range kittest.Elements(n, "tr") {
			if cells, heads := len(kittest.Elements(row, "td", "th")), len(kittest.Elements(kittest.Elements(n, "thead")[0], "th")); cells != heads {
				say("a row has %d cells under %d headers", cells, heads)
			}
		}
	}
	if n := len(kittest.Elements(doc, "script", "style", "iframe", "object", "img", "base")); n > 0 {
		say("%d elements that the page never has", n)
	}
	return all
}

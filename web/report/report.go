// Package report is the window of the query service for a person without a program: one form and its answer, as plain
// HTML in Japanese and English, with tables and small charts, without a script.
//
//	sign in -> catalogue -> form -> ask -> table, charts, words
//
// The page knows no more than its reader: it asks the API with the reader's own key, so that grant, purpose, threshold
// and audit are the API's, and nothing here can go around them. What was withheld, left out or made uncertain is said in
// words beside the numbers.
package report

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/httpx"
	"github.com/sekisho/sekisho/web/kit"
)

// Prefix is the path that every page is below.
const Prefix = "/ui/"

//go:embed messages templates style.css
var files embed.FS

// contentPolicy lets a page load its style sheet, and send its forms to itself. There is no script, and a script that
// somebody slipped in would not run.
const contentPolicy = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// maxBody bounds a form, in bytes.
const maxBody = 16 << 10

// Ask makes a request of the API in this process, with the caller's key: the path below the API's root, such as
// "/v1/reports/pages", and its parameters. It MUST pass through everything that a request from outside does. Its context
// carries the page's language (LanguageOf).
type Ask func(ctx context.Context, key, path string, values url.Values) (status int, body []byte)

// Options are what the page needs besides.
type Options struct {
	// Random makes the key of this process that the sessions are sealed with. Required.
	Random io.Reader
	// Now is the clock. Required.
	Now func() time.Time
	// Origin is where browsers reach the page, such as "https://reports.example", when a proxy tells another Host.
	// Empty: whatever Host a request names.
	Origin string
}

// desk serves the pages. Nothing in it changes after it is built, but for the sessions that were ended. It is safe for
// concurrent use.
type desk struct {
	ask       Ask
	options   Options
	sessions  *sessions
	texts     map[string]map[string]string
	pages     map[string]*template.Template
	style     []byte
	styleName string // holds the hash of its content, so it may be kept for good
}

// Handler serves the pages:
//
//	/                            to the pages
//	/ui/                         to the reader's language
//	/ui/{ja,en}/                 the form, and the report that the query names
//	/ui/{ja,en}/report.csv       the same report as a file
//	/ui/{ja,en}/sign-in          POST: the API key, once
//	/ui/{ja,en}/sign-out         POST
//
// Links are relative, so a proxy may serve it below a path of its own.
func Handler(ask Ask, options Options) (http.Handler, error) {
	if ask == nil || options.Random == nil || options.Now == nil {
		return nil, errors.New("configure report page: the API, randomness and a clock are required")
	}
	sessions, err := newSessions(options.Random, options.Now)
	if err != nil {
		return nil, fmt.Errorf("configure report page: %w", err)
	}
	d := &desk{ask: ask, options: options, sessions: sessions}
	if err := d.read(); err != nil {
		return nil, fmt.Errorf("configure report page: %w", err)
	}
	return d.routes(), nil
}

// read loads the embedded files.
func (d *desk) read() (err error) {
	if d.texts, err = kit.ReadTexts(files); err != nil {
		return err
	}
	d.pages = map[string]*template.Template{}
	for _, name := range []string{"enter", "report", "missing"} {
		if d.pages[name], err = template.New(name).Funcs(functions).ParseFS(files, "templates/layout.tmpl", "templates/parts.tmpl", "templates/"+name+".tmpl"); err != nil {
			return fmt.Errorf("read page: %w", err)
		}
	}
	own, err := files.ReadFile("style.css")
	if err != nil {
		return fmt.Errorf("read style: %w", err)
	}
	d.style = kit.Style(own)
	sum := sha256.Sum256(d.style)
	d.styleName = "style." + hex.EncodeToString(sum[:6]) + ".css"
	return nil
}

// functions are what a template cannot do by itself.
var functions = template.FuncMap{"after": func(i int) int { return i + 1 }}

// routes is the whole list of addresses.
func (d *desk) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { enter(w, r, "ui/") })
	mux.HandleFunc("GET /ui", func(w http.ResponseWriter, r *http.Request) { enter(w, r, "ui/") })
	mux.HandleFunc("GET "+Prefix+"{$}", func(w http.ResponseWriter, r *http.Request) { enter(w, r, "") })
	mux.HandleFunc("GET "+Prefix+d.styleName, d.getStyle)
	for _, language := range kit.Languages() {
		with := func(serve func(*page, http.ResponseWriter) error) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				p := d.newPage(r, language)
				if err := serve(p, w); err != nil {
					httpx.WriteProblem(w, err)
				}
			}
		}
		mux.HandleFunc("GET "+Prefix+language, func(w http.ResponseWriter, _ *http.Request) { redirect(w, http.StatusFound, language+"/") })
		mux.HandleFunc("GET "+Prefix+language+"/{$}", with(d.getReport))
		mux.HandleFunc("GET "+Prefix+language+"/report.csv", with(d.getFile))
		mux.HandleFunc("POST "+Prefix+language+"/sign-in", with(d.signIn))
		mux.HandleFunc("POST "+Prefix+language+"/sign-out", with(d.signOut))
		mux.HandleFunc("GET "+Prefix+language+"/", with(d.getNothing))
	}
	mux.HandleFunc("GET "+Prefix, func(w http.ResponseWriter, r *http.Request) {
		p := d.newPage(r, kit.Preferred(r.Header.Get("Accept-Language")))
		w.Header().Set("Vary", "Accept-Language")
		if err := d.getNothing(p, w); err != nil {
			httpx.WriteProblem(w, err)
		}
	})
	return guarded(mux)
}

// guarded sets the headers that every answer has. What a report says is nothing that a browser or a proxy may keep.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		// The address holds filters: no other site learns of it. "no-referrer" would take the Origin from our own forms.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// enter sends a reader to the pages in the language that the browser asks for.
func enter(w http.ResponseWriter, r *http.Request, below string) {
	w.Header().Set("Vary", "Accept-Language")
	redirect(w, http.StatusFound, below+kit.Preferred(r.Header.Get("Accept-Language"))+"/")
}

// redirect goes to an address relative to the requested one, which http.Redirect would make absolute: a proxy may have
// taken a part of the path away.
func redirect(w http.ResponseWriter, status int, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(status)
}

func (d *desk) getStyle(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/css; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(d.style))
}

func (d *desk) getNothing(p *page, w http.ResponseWriter) error {
	_, p.SignedIn = d.sessions.key(p.request)
	p.Name, p.Status = "missing", http.StatusNotFound
	return p.write(w)
}

// getReport shows the form, and the report that the query names. Without a session it asks for the key first.
func (d *desk) getReport(p *page, w http.ResponseWriter) error {
	key, ok := d.sessions.key(p.request)
	if !ok {
		return p.write(w)
	}
	p.enter(key)
	if p.Fault == nil && p.Form.asks() {
		p.show(key)
	}
	return d.finish(p, w)
}

// finish writes the page; one that the API no longer knows the key of becomes the entrance again.
func (d *desk) finish(p *page, w http.ResponseWriter) error {
	if p.Fault != nil && p.Fault.Status == http.StatusUnauthorized {
		d.sessions.end(w, p.request)
		p.Name, p.SignedIn, p.Status = "enter", false, http.StatusForbidden
	}
	return p.write(w)
}

// getFile answers with the report as a file.
func (d *desk) getFile(p *page, w http.ResponseWriter) error {
	key, ok := d.sessions.key(p.request)
	if !ok {
		return p.write(w)
	}
	p.enter(key)
	if p.Fault != nil || !p.Form.asks() {
		return d.finish(p, w)
	}
	values := p.Form.values(p.catalogue, d.options.Now())
	values.Set("format", "csv")
	values.Del("cursor")
	if values.Get("limit") == "" {
		values.Set("limit", fileRows)
	}
	body := p.read(key, values)
	if p.Fault != nil {
		return d.finish(p, w)
	}
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
	h.Set("Content-Disposition", `attachment; filename="`+p.Form.fileName(values)+`"`)
	_, _ = w.Write(body) //nolint:gosec // G705: a file to be saved (text/csv, nosniff), no page; the reader is gone if it fails
	return nil
}

// signIn takes a key, tries it, and keeps it sealed in the reader's browser.
func (d *desk) signIn(p *page, w http.ResponseWriter) error {
	secure, fault := d.fromHere(p.request)
	if fault != "" {
		p.refuse(fault)
		return p.write(w)
	}
	if err := p.request.ParseForm(); err != nil {
		p.refuse("key")
		return p.write(w)
	}
	key := strings.TrimSpace(p.request.PostForm.Get("key"))
	if !plausible(key) {
		p.refuse("key")
		return p.write(w)
	}
	switch status, body := p.asked(key, "/v1/catalogue", nil); status {
	case http.StatusOK:
	case http.StatusUnauthorized:
		p.refuse("key")
		return p.write(w)
	default:
		p.fail(status, body)
		return p.write(w)
	}
	cookie, err := d.sessions.begin(key, secure)
	if err != nil {
		return err
	}
	http.SetCookie(w, cookie)
	redirect(w, http.StatusSeeOther, "./"+p.Form.query())
	return nil
}

func (d *desk) signOut(p *page, w http.ResponseWriter) error {
	if _, fault := d.fromHere(p.request); fault != "" {
		p.refuse(fault)
		return p.write(w)
	}
	d.sessions.end(w, p.request)
	redirect(w, http.StatusSeeOther, "./")
	return nil
}

// fromHere holds a POST against where it comes from. A form of another site is refused by its Origin, which a browser
// sends with every POST, and by Sec-Fetch-Site; SameSite=Strict is the second lock. A key is taken over TLS only, or on
// this machine: the scheme is the browser's own word, so it holds behind a proxy too.
func (d *desk) fromHere(r *http.Request) (secure bool, fault string) {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return false, "elsewhere"
	}
	origin := r.Header.Get("Origin")
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false, "elsewhere"
	}
	if d.options.Origin != "" && origin != d.options.Origin || d.options.Origin == "" && !strings.EqualFold(u.Host, r.Host) {
		return false, "elsewhere"
	}
	switch {
	case u.Scheme == "https":
		return true, ""
	case u.Scheme == "http" && loopback(u.Host):
		return false, ""
	}
	return false, "insecure"
}

// Package transparency is the notice board of the checkpoint: what anybody can read about the handling of their data,
// without a script and without asking. For each site there is the policy in force, every version of it with what each
// one changed (Art. 6), and the notice of external transmissions that Art. 27-12 of the Telecommunications Business Act
// wants: per tag or SDK what is sent, to whom, for what on both sides. Everything comes from the policy pack that the
// pipeline obeys, so the pages cannot say anything else than what is done. Not legal advice to the operator.
package transparency

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/httpx"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/web/kit"
)

// Prefix is the path that everything here is below.
const Prefix = "/privacy/"

//go:embed messages templates style.css
var files embed.FS

// contentPolicy lets a page load its style sheet and nothing else.
const contentPolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Media types of the policy: for people and for machines.
const (
	typeHTML   = "text/html"
	typeJSON   = "application/json"
	typeJSONLD = "application/ld+json"
)

// board serves the pages. Nothing in it changes after it is built, but for the pages it keeps. It is safe for concurrent
// use.
type board struct {
	policies  *policy.Register
	sites     *site.Registry
	now       func() time.Time
	texts     map[string]map[string]string
	pages     map[string]*template.Template
	documents map[*policy.Pack]document
	style     []byte
	styleName string   // holds the hash of its content, so it may be kept for good
	kept      sync.Map // address -> *rendering; one for each page that is there
}

// rendering is a page as it was written, and for how long it says the truth.
type rendering struct {
	body        []byte
	since, turn time.Time // the zero turn never comes
}

func (r *rendering) holds(now time.Time) bool {
	return !now.Before(r.since) && (r.turn.IsZero() || now.Before(r.turn))
}

// document is a pack for machines.
type document struct {
	json, jsonld []byte
	hash         string // SHA-256 of json in hexadecimal
}

// Handler serves the pages of every site below Prefix:
//
//	/privacy/{site}                                  to the visitor's language
//	/privacy/{site}/{ja,en}/                         the policy in force; by Accept also as JSON or JSON-LD
//	/privacy/{site}/{ja,en}/transmission             the notice of external transmissions
//	/privacy/{site}/{ja,en}/versions[/{date}]        the history; one version
//	/privacy/{site}/policy.{json,jsonld}             the policy in force for machines: as written; in terms of W3C DPV
//	/privacy/{site}/versions/{date}.{json,jsonld}    one version for machines
//
// Links are relative, so a proxy may serve it below a path of its own. It panics when an embedded file is damaged,
// which the tests exclude.
func Handler(policies *policy.Register, sites *site.Registry, now func() time.Time) http.Handler {
	b := &board{policies: policies, sites: sites, now: now}
	if err := b.read(); err != nil {
		panic(err)
	}
	return b.routes()
}

// read loads the embedded files and writes the packs for machines.
func (b *board) read() (err error) {
	if b.texts, err = kit.ReadTexts(files); err != nil {
		return err
	}
	b.pages, b.documents = map[string]*template.Template{}, map[*policy.Pack]document{}
	for _, name := range []string{"policy", "transmission", "versions", "missing"} {
		if b.pages[name], err = template.ParseFS(files, "templates/layout.tmpl", "templates/parts.tmpl", "templates/"+name+".tmpl"); err != nil {
			return fmt.Errorf("read page: %w", err)
		}
	}
	own, err := files.ReadFile("style.css")
	if err != nil {
		return fmt.Errorf("read style: %w", err)
	}
	b.style = kit.Style(own)
	b.styleName = "style." + digest(b.style)[:12] + ".css"
	for _, pack := range b.policies.All() {
		var d document
		if d.json, err = json.Marshal(pack); err != nil {
			return fmt.Errorf("write policy %s: %w", pack.Version, err)
		}
		if d.jsonld, err = pack.DPV(); err != nil {
			return err
		}
		d.hash = digest(d.json)
		b.documents[pack] = d
	}
	return nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// routes is the whole list of addresses.
func (b *board) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Prefix+b.styleName, b.getStyle)
	of := Prefix + "{site}"
	for _, e := range []struct{ address, before, page string }{
		{of, "{site}/", ""}, {of + "/{$}", "", ""}, {of + "/transmission", "", "transmission"}, {of + "/versions", "", "versions"},
	} {
		mux.HandleFunc("GET "+e.address, func(w http.ResponseWriter, r *http.Request) {
			b.enter(w, r, strings.Replace(e.before, "{site}", r.PathValue("site"), 1), e.page)
		})
	}
	mux.HandleFunc("GET "+of+"/policy.json", b.getDocument)
	mux.HandleFunc("GET "+of+"/policy.jsonld", b.getDocument)
	mux.HandleFunc("GET "+of+"/versions/{file}", b.getDocument)
	for _, language := range kit.Languages() {
		get := func(address string, build func(*page) bool) {
			mux.HandleFunc("GET "+of+"/"+language+address, func(w http.ResponseWriter, r *http.Request) { b.show(w, r, language, build) })
		}
		mux.HandleFunc("GET "+of+"/"+language, func(w http.ResponseWriter, r *http.Request) { b.toSlash(w, r, language) })
		get("/{$}", inForce)
		get("/transmission", transmission)
		get("/versions", history)
		get("/versions/{version}", version)
		get("/", nothing)
	}
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { b.show(w, r, "", nothing) })
	return guarded(mux)
}

// guarded sets the headers that every answer has.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer") // a recipient whose policy is read here learns nothing of the reader
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// enter sends a visitor to a page in the language that the browser asks for.
func (b *board) enter(w http.ResponseWriter, r *http.Request, before, page string) {
	if _, ok := b.sites.Get(r.PathValue("site")); !ok {
		b.show(w, r, "", nothing)
		return
	}
	w.Header().Set("Vary", "Accept-Language")
	redirect(w, before+kit.Preferred(r.Header.Get("Accept-Language"))+"/"+page)
}

func (b *board) toSlash(w http.ResponseWriter, r *http.Request, language string) {
	if _, ok := b.sites.Get(r.PathValue("site")); !ok {
		b.show(w, r, language, nothing)
		return
	}
	redirect(w, language+"/")
}

// redirect goes to an address relative to the requested one, which http.Redirect would make absolute: a proxy may have
// taken a part of the path away.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusFound)
}

// show builds a page and sends it whole, or an error and nothing of it.
func (b *board) show(w http.ResponseWriter, r *http.Request, language string, build func(*page) bool) {
	h := w.Header()
	if language == "" {
		h.Add("Vary", "Accept-Language")
		language = kit.Preferred(r.Header.Get("Accept-Language"))
	}
	h.Add("Vary", "Accept")
	p := &page{board: b, request: r, Language: language, Now: b.now()}
	p.Site, _ = b.sites.Get(r.PathValue("site"))
	if p.Site == nil || !build(p) {
		if prefers(r.Header.Get("Accept"), typeHTML, typeJSON, typeJSONLD) != typeHTML {
			refuse(w)
			return
		}
		p.Name, p.Path, p.Pack = "missing", "", nil
	}
	if p.document != nil {
		send(w, r, http.StatusOK, p.documentType, p.document)
		return
	}
	body, err := b.write(p)
	if err != nil {
		httpx.WriteProblem(w, err)
		return
	}
	h.Set("Content-Language", language)
	status := http.StatusOK
	if p.Name == "missing" {
		status = http.StatusNotFound
	}
	send(w, r, status, typeHTML+"; charset=utf-8", body)
}

// write executes a page's template, or takes what it gave before: it takes milliseconds, and the collector has better
// to do.
func (b *board) write(p *page) ([]byte, error) {
	there := p.Name != "missing"
	var address string
	if there {
		address = p.Site.ID + "/" + p.Language + "/" + p.Path
		if kept, ok := b.kept.Load(address); ok && kept.(*rendering).holds(p.Now) {
			return kept.(*rendering).body, nil
		}
	}
	var out bytes.Buffer
	if err := b.pages[p.Name].ExecuteTemplate(&out, "layout", p); err != nil {
		return nil, fmt.Errorf("write page: %w", err)
	}
	if there {
		b.kept.Store(address, &rendering{body: out.Bytes(), since: p.Now, turn: b.turn(p.Site.Policy, p.Now)})
	}
	return out.Bytes(), nil
}

// turn is the next instant at which a page of the policy says something else: a version takes effect, or a processor's
// time begins or ends.
func (b *board) turn(id string, now time.Time) (next time.Time) {
	consider := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, pack := range b.policies.Versions(id) {
		consider(pack.EffectiveFrom)
		for i := range pack.Processors {
			x := &pack.Processors[i]
			consider(x.Signed)
			consider(x.Reviewed)
			consider(x.Expires)
		}
	}
	return next
}

func refuse(w http.ResponseWriter) {
	httpx.WriteProblem(w, &core.Error{Code: core.CodeNotFound, Message: "there is no such site, version or page"})
}

// send answers with a body, or tells the client that it has it already. It may be kept but has to be asked for each
// time: at the instant a version takes effect, every page is another one.
func send(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-cache")
	if status != http.StatusOK {
		w.WriteHeader(status)
		_, _ = w.Write(body) // the visitor is gone if it fails
		return
	}
	h.Set("ETag", `"`+digest(body)[:32]+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func (b *board) getStyle(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/css; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b.style))
}

// getDocument answers with a version for machines. Anybody's page may read it.
func (b *board) getDocument(w http.ResponseWriter, r *http.Request) {
	s, ok := b.sites.Get(r.PathValue("site"))
	if !ok {
		refuse(w)
		return
	}
	file := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	name, form, _ := strings.Cut(file, ".")
	pack, ok := b.policies.At(s.Policy, b.now())
	if r.PathValue("file") != "" {
		pack, ok = b.policies.Version(s.Policy + "/" + name)
	}
	if !ok || form != "json" && form != "jsonld" {
		refuse(w)
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if form == "json" {
		send(w, r, http.StatusOK, typeJSON, b.documents[pack].json)
		return
	}
	send(w, r, http.StatusOK, typeJSONLD, b.documents[pack].jsonld)
}

// inForce is the policy in force, in the form that the client asks for.
func inForce(p *page) bool {
	pack, ok := p.board.policies.At(p.Site.Policy, p.Now)
	if !ok {
		return false
	}
	p.Name, p.Pack = "policy", pack
	switch form := prefers(p.request.Header.Get("Accept"), typeHTML, typeJSON, typeJSONLD); form {
	case typeJSON:
		p.document, p.documentType = p.board.documents[pack].json, form
	case typeJSONLD:
		p.document, p.documentType = p.board.documents[pack].jsonld, form
	}
	return true
}

// version is the policy as it was, is or will be.
func version(p *page) bool {
	date := p.request.PathValue("version")
	pack, ok := p.board.policies.Version(p.Site.Policy + "/" + date)
	p.Name, p.Path, p.Pack = "policy", "versions/"+date, pack
	return ok
}

func transmission(p *page) bool {
	pack, ok := p.board.policies.At(p.Site.Policy, p.Now)
	p.Name, p.Path, p.Pack = "transmission", "transmission", pack
	return ok
}

func history(p *page) bool {
	p.Name, p.Path = "versions", "versions"
	return p.There("versions")
}

func nothing(*page) bool { return false }

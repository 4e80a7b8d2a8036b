// Package sample is a shop to try Sekisho on: a tea and stationery shop on a mountain pass, in Japanese and English.
// It is server-rendered and works without a script. It shows every way a page talks to the tracker: marked elements
// (data-sekisho, data-sekisho-op), calls (sekisho.op, sekisho.user, sekisho.track) and the history of a
// single-page part.
//
// The shop itself sets no cookie and asks for no name or address. The cart travels in the links; what is switched on
// the settings page stays in the tab.
package sample

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/csv"
	"encoding/hex"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/web/kit"
)

//go:embed art assets messages templates
var files embed.FS

// shop serves the pages. Nothing in it changes after it is built.
type shop struct {
	collector string // origin of the collector with its path; empty: the pages load no tracker
	policy    string // Content-Security-Policy
	site      string
	random    io.Reader
	texts     map[string]Texts
	pages     map[string]*template.Template
	art       map[string]template.HTML
	assets    map[string][]byte
	versions  map[string]string // asset -> hash of its content
}

// Handler serves the shop, measured as the site by the collector at the URL. With a URL that is none of http or https
// the pages load no tracker. It panics when an embedded file is damaged, which the tests exclude.
func Handler(collectorURL, site string) http.Handler {
	s := &shop{site: site, random: rand.Reader}
	origin := "'none'"
	if u, err := url.Parse(collectorURL); err == nil && (u.Scheme == "http" || u.Scheme == "https") && hostname.MatchString(u.Host) && u.User == nil {
		origin = u.Scheme + "://" + u.Host
		s.collector = origin + strings.TrimSuffix(u.EscapedPath(), "/")
	}
	s.policy = contentPolicy(origin)
	must(s.read())
	return s.routes()
}

// hostname is what may stand in a source list: a host of a URL may hold a semicolon, which would end a directive there.
var hostname = regexp.MustCompile(`^[A-Za-z0-9.\-:\[\]]+$`)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// contentPolicy lets the pages load from themselves and the collector only, and tell nobody but the collector.
func contentPolicy(collector string) string {
	with := "'self'"
	if collector != "'none'" {
		with += " " + collector
	}
	return strings.Join([]string{
		"default-src 'none'", "script-src " + with, "connect-src " + collector, "img-src " + with, "style-src 'self'",
		"form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
	}, "; ")
}

// read loads the embedded files.
func (s *shop) read() error {
	s.texts, s.pages, s.art = map[string]Texts{}, map[string]*template.Template{}, map[string]template.HTML{}
	s.assets, s.versions = map[string][]byte{}, map[string]string{}
	for _, language := range kit.Languages() {
		texts, err := ReadTexts(language)
		if err != nil {
			return err
		}
		s.texts[language] = texts
	}
	for _, name := range []string{"catalogue", "search", "product", "checkout", "done", "settings", "about", "journal", "missing"} {
		t, err := template.ParseFS(files, "templates/layout.tmpl", "templates/"+name+".tmpl")
		if err != nil {
			return err
		}
		s.pages[name] = t
	}
	for _, p := range Products() {
		svg, err := files.ReadFile("art/" + p.SKU + ".svg")
		if err != nil {
			return err
		}
		s.art[p.SKU] = template.HTML(svg) //nolint:gosec // G203: a file of this package
	}
	assets, err := fs.ReadDir(files, "assets")
	if err != nil {
		return err
	}
	for _, a := range assets {
		content, err := files.ReadFile("assets/" + a.Name())
		if err != nil {
			return err
		}
		if a.Name() == "shop.css" {
			content = kit.Style(content)
		}
		sum := sha256.Sum256(content)
		s.assets[a.Name()] = content
		s.versions[a.Name()] = hex.EncodeToString(sum[:6])
	}
	return nil
}

// routes is the whole list of pages.
func (s *shop) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.enter)
	mux.HandleFunc("GET /assets/{name}", s.asset)
	for _, language := range kit.Languages() {
		get := func(at string, show func(*page) error) {
			mux.HandleFunc("GET /"+language+at, func(w http.ResponseWriter, r *http.Request) { s.show(w, r, language, show) })
		}
		get("/{$}", catalogue)
		get("/search", search)
		get("/product/{sku}", product)
		get("/checkout", checkout)
		get("/done", done)
		get("/settings", settings)
		get("/about", about)
		get("/journal", journal)
		get("/journal/{tab}", journal)
		get("/export.csv", export)
		get("/", missing)
		mux.HandleFunc("POST /"+language+"/order", func(w http.ResponseWriter, r *http.Request) { s.order(w, r, language) })
	}
	return s.guarded(mux)
}

// guarded sets the headers that every answer has.
func (s *shop) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", s.policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "strict-origin-when-cross-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
		next.ServeHTTP(w, r)
	})
}

// enter sends a visitor to the language that the browser asks for. The query goes along: it may name a campaign.
func (s *shop) enter(w http.ResponseWriter, r *http.Request) {
	target := "/" + preferred(r.Header.Get("Accept-Language")) + "/"
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	w.Header().Set("Vary", "Accept-Language")
	http.Redirect(w, r, target, http.StatusFound) //nolint:gosec // G710: it begins with "/ja/" or "/en/"
}

// preferred is the language of the shop with the highest weight in Accept-Language (RFC 9110); English where a browser
// asks for neither, Japanese where it asks for nothing.
func preferred(accept string) string {
	if strings.TrimSpace(accept) == "" {
		return "ja"
	}
	best, weight := "en", 0.0
	for part := range strings.SplitSeq(accept, ",") {
		tag, parameter, _ := strings.Cut(strings.TrimSpace(part), ";")
		q := 1.0
		if text, ok := strings.CutPrefix(strings.TrimSpace(parameter), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		if (primary == "ja" || primary == "en") && q > weight {
			best, weight = primary, q
		}
	}
	return best
}

// asset serves a file. One that is asked for by its version may be kept for good.
func (s *shop) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	version, ok := s.versions[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("ETag", `"`+version+`"`)
	h.Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(s.assets[name]))
}

// show builds a page and sends it whole, or an error and nothing of it.
func (s *shop) show(w http.ResponseWriter, r *http.Request, language string, build func(*page) error) {
	p := &page{
		shop: s, request: r, Language: language, Path: strings.TrimPrefix(r.URL.Path, "/"+language),
		Cart: parseCart(r.URL.Query().Get("cart")), Status: http.StatusOK,
	}
	var out bytes.Buffer
	err := build(p)
	if err == nil && p.Location == "" && p.Raw == nil {
		err = s.pages[p.Name].ExecuteTemplate(&out, "layout", p)
	}
	h := w.Header()
	switch {
	case err != nil:
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	case p.Location != "":
		http.Redirect(w, r, p.Location, http.StatusSeeOther)
		return
	case p.Raw != nil:
		h.Set("Content-Type", "text/csv; charset=utf-8")
		h.Set("Content-Disposition", `attachment; filename="orders.csv"`)
		out.Write(p.Raw)
	default:
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Language", language)
	}
	h.Set("Cache-Control", "no-cache")
	w.WriteHeader(p.Status)
	_, _ = out.WriteTo(w) // the visitor is gone if it fails
}

func catalogue(p *page) error {
	p.Name, p.Ad = "catalogue", adIn("catalogue_top")
	p.Products = Products()
	return nil
}

func search(p *page) error {
	q := p.request.URL.Query()
	p.Name, p.Ad = "search", adIn("search_side")
	p.Query, p.Category = strings.TrimSpace(head(q.Get("q"), 80)), q.Get("category")
	if !slices.Contains(Categories(), p.Category) {
		p.Category = ""
	}
	p.Products = Find(p.Query, p.Category)
	return nil
}

// head is at most n characters.
func head(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

func product(p *page) error {
	found, ok := Named(p.request.PathValue("sku"))
	if !ok {
		return missing(p)
	}
	p.Name, p.Ad, p.Product = "product", adIn("product_bottom"), found
	p.Products = beside(found)
	return nil
}

// beside are four other products: of the same shelf first, then of the shelves around the shop from there.
func beside(p Product) []Product {
	all := Products()
	at := slices.IndexFunc(all, func(o Product) bool { return o.Category == p.Category })
	var others []Product
	for i := range all {
		if o := all[(at+i)%len(all)]; o.SKU != p.SKU {
			others = append(others, o)
		}
	}
	return others[:4]
}

// checkout shows the cart. A change comes as a query too, and is answered with the address of the changed cart, so
// that a reload does not repeat it.
func checkout(p *page) error {
	p.Name = "checkout"
	q := p.request.URL.Query()
	changed := p.Cart
	if sku := q.Get("add"); sku != "" {
		quantity, err := strconv.Atoi(q.Get("quantity"))
		if err != nil {
			quantity = 1
		}
		changed = changed.add(sku, quantity)
	}
	if sku := q.Get("set"); sku != "" {
		if quantity, err := strconv.Atoi(q.Get("quantity")); err == nil {
			changed = changed.with(sku, quantity)
		}
	}
	if q.Has("add") || q.Has("set") {
		p.Cart = changed
		p.Location = p.To("/checkout")
	}
	return nil
}

// orderID is what order makes, so that done thanks for nothing else.
var orderID = regexp.MustCompile(`^T-[0-9A-F]{8}$`)

// order takes an order and forgets it: all that is left of it is the address of the page that thanks for it. A reload
// there shows the same order number, and the order counts once.
func (s *shop) order(w http.ResponseWriter, r *http.Request, language string) {
	p := &page{shop: s, Language: language, Cart: parseCart(r.PostFormValue("cart"))}
	if len(p.Cart) == 0 {
		http.Redirect(w, r, p.To("/checkout"), http.StatusSeeOther)
		return
	}
	var id [4]byte
	if _, err := io.ReadFull(s.random, id[:]); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	q := url.Values{"order": {"T-" + strings.ToUpper(hex.EncodeToString(id[:]))}, "items": {p.Cart.String()}}
	http.Redirect(w, r, "/"+language+"/done?"+q.Encode(), http.StatusSeeOther)
}

func done(p *page) error {
	q := p.request.URL.Query()
	bought := parseCart(q.Get("items"))
	p.OrderID = q.Get("order")
	if len(bought) == 0 || !orderID.MatchString(p.OrderID) {
		p.Location = p.To("/checkout")
		return nil
	}
	var err error
	p.Name, p.Bought = "done", bought
	p.Order, err = bought.order(p.OrderID)
	return err
}

func settings(p *page) error {
	p.Name = "settings"
	return nil
}

func about(p *page) error {
	p.Name = "about"
	return nil
}

// Tabs are the parts of the journal, a single-page part of the shop. Each has an address of its own.
func Tabs() []string { return []string{"brewing", "letters", "road"} }

func journal(p *page) error {
	p.Name, p.Tab = "journal", Tabs()[0]
	asked := p.request.PathValue("tab")
	if asked == "" {
		return nil
	}
	if !slices.Contains(Tabs(), asked) {
		return missing(p)
	}
	p.Tab = asked
	return nil
}

// export is the file that the settings page offers: orders of nobody.
func export(p *page) error {
	var b bytes.Buffer
	b.WriteString("\uFEFF") // spreadsheets read UTF-8 by it
	w := csv.NewWriter(&b)
	rows := [][]string{{"order", "date", "sku", "name", "quantity", "jpy"}}
	for i, bought := range []struct{ date, sku string }{{"2026-04-02", "sencha-uji"}, {"2026-05-18", "letter-washi"}, {"2026-06-30", "chasen"}} {
		if found, ok := Named(bought.sku); ok {
			rows = append(rows, []string{"T-0000000" + strconv.Itoa(i+1), bought.date, found.SKU, found.Name.In(p.Language), "1", strconv.Itoa(found.Yen)})
		}
	}
	err := w.WriteAll(rows)
	p.Raw = b.Bytes()
	return err
}

func missing(p *page) error {
	p.Name, p.Status = "missing", http.StatusNotFound
	return nil
}

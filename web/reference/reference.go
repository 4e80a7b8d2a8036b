// Package reference is the API reference: pages for people, made at start from the OpenAPI documents that the services
// are held against, so that they say what is served and nothing else. They are plain HTML with one style sheet: no script,
// nothing from elsewhere.
//
// What surrounds the documents is in Japanese and English. The documents are in English; a text of theirs is shown in
// Japanese where it has one beside it under x-ja: either the description, or a mapping of description, summary and title.
package reference

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/httpx"
	"github.com/sekisho/sekisho/schemas"
	"github.com/sekisho/sekisho/web/kit"
)

// Prefix is the path that everything here is below.
const Prefix = "/reference/"

//go:embed messages templates style.css
var files embed.FS

// documents are the OpenAPI documents, schemas/openapi/<name>.v1.yaml, in the order of the pages. Base is the shell
// variable that commands call the service by, and Default where it listens unless it is told otherwise.
var documents = [...]struct{ name, base, address string }{
	{"query", "query", "http://127.0.0.1:8082"},
	{"collector", "collector", "http://127.0.0.1:8080"},
}

// contentPolicy lets a page load its style sheet and nothing else.
const contentPolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves, below Prefix:
//
//	/reference/                             to the reader's language
//	/reference/{ja,en}/                     what there is
//	/reference/{ja,en}/{query,collector}    the reference of a service
//	/reference/{query,collector}.v1.yaml    its OpenAPI document
//
// Links are relative, so a proxy may serve it below a path of its own. The documents are public: whoever may not read a
// report may read how one is asked for.
func Handler() (http.Handler, error) {
	texts, err := kit.ReadTexts(files)
	if err != nil {
		return nil, err
	}
	own, err := files.ReadFile("style.css")
	if err != nil {
		return nil, fmt.Errorf("read style: %w", err)
	}
	style := kit.Style(own)
	styleName := "style." + digest(style)[:12] + ".css"
	read := make([]*document, len(documents))
	mux := http.NewServeMux()
	for i, d := range documents {
		source, err := schemas.OpenAPI.ReadFile("openapi/" + d.name + ".v1.yaml")
		if err != nil {
			return nil, fmt.Errorf("read reference: %w", err)
		}
		if read[i], err = parse(source); err != nil {
			return nil, fmt.Errorf("read reference of %s: %w", d.name, err)
		}
		read[i].Name, read[i].Base, read[i].Address = d.name, d.base, d.address
		mux.Handle("GET "+Prefix+d.name+".v1.yaml", kept("application/yaml", "", source))
	}
	for _, speech := range kit.Languages() {
		for _, name := range []string{"index", "document"} {
			shown, err := template.ParseFS(files, "templates/layout.tmpl", "templates/parts.tmpl", "templates/"+name+".tmpl")
			if err != nil {
				return nil, fmt.Errorf("read page: %w", err)
			}
			pages := []*page{{Documents: read}}
			if name == "document" {
				pages = nil
				for _, d := range read {
					pages = append(pages, &page{Documents: read, Document: d})
				}
			}
			for _, p := range pages {
				p.Language, p.Style, p.texts = speech, "../"+styleName, texts[speech]
				var out bytes.Buffer
				if err := shown.ExecuteTemplate(&out, "layout", p); err != nil {
					return nil, fmt.Errorf("write page: %w", err)
				}
				mux.Handle("GET "+Prefix+speech+"/"+p.place(), kept("text/html; charset=utf-8", speech, out.Bytes()))
			}
		}
		mux.HandleFunc("GET "+Prefix+speech, func(w http.ResponseWriter, _ *http.Request) { redirect(w, speech+"/") })
	}
	mux.Handle("GET "+Prefix+styleName, kept("text/css; charset=utf-8", "", style))
	mux.HandleFunc("GET "+Prefix+"{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Language")
		redirect(w, kit.Preferred(r.Header.Get("Accept-Language"))+"/")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		httpx.WriteProblem(w, &core.Error{Code: core.CodeNotFound, Message: "there is no such page"})
	})
	return guarded(mux), nil
}

// guarded sets the headers that every answer has.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// kept answers with what does not change while the program runs: a client may keep it, and asks whether it still holds.
func kept(contentType, speech string, body []byte) http.Handler {
	tag := `"` + digest(body)[:32] + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		if speech != "" {
			h.Set("Content-Language", speech)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	})
}

// redirect goes to an address relative to the requested one, which http.Redirect would make absolute: a proxy may have
// taken a part of the path away.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusFound)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// page is what a template sees.
type page struct {
	texts map[string]string

	Language  string
	Style     string
	Documents []*document
	Document  *document // nil on the page that lists them
}

// place is where the page is, below its language.
func (p *page) place() string {
	if p.Document == nil {
		return "{$}"
	}
	return p.Document.Name
}

// T is a text in the page's language. A text that is missing is an error: half a page is no page.
func (p *page) T(key string, args ...any) (string, error) {
	text, ok := p.texts[key]
	if !ok {
		return "", fmt.Errorf("no text %q in %s", key, p.Language)
	}
	if len(args) > 0 {
		text = fmt.Sprintf(text, args...)
	}
	return text, nil
}

// Other is the language that the page is not in.
func (p *page) Other() string {
	if p.Language == "ja" {
		return "en"
	}
	return "ja"
}

// In is the address of this page in a language.
func (p *page) In(speech string) string {
	if p.Document == nil {
		return "../" + speech + "/"
	}
	return "../" + speech + "/" + p.Document.Name
}

// Languages are those of every page.
func (p *page) Languages() []string { return kit.Languages() }

// Said is a text of a document in the page's language, or in the document's own.
func (p *page) Said(t text) said {
	if p.Language == "ja" && t.ja != "" {
		return said{Blocks: prose(t.ja)}
	}
	return said{Blocks: prose(t.en), Foreign: p.Language == "ja"}
}

// With hands a template a part of a document together with the page.
func (p *page) With(value any) with { return with{p, value} }

// with is the page and what of it a template is about.
type with struct {
	*page
	It any
}

// said is a text as it is shown. Foreign is one that is not in the page's language.
type said struct {
	Blocks  []block
	Foreign bool
}

// Line is a text of one paragraph without its paragraph.
func (s said) Line() []span {
	var line []span
	for _, b := range s.Blocks {
		for _, i := range b.Items {
			line = append(line, i...)
		}
	}
	return line
}

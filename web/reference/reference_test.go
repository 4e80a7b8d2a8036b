package reference

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"golang.org/x/net/html"

	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/schemas"
	"github.com/sekisho/sekisho/web/kit"
	"github.com/sekisho/sekisho/web/kit/kittest"
)

func handler(t testing.TB) http.Handler {
	t.Helper()
	h, err := Handler()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// written is what is written in an element, without spaces.
func written(n *html.Node) string { return squeezed(kittest.Text(n)) }

// squeezed is a text without spaces: pieces of code stand in elements of their own.
func squeezed(text string) string { return strings.Join(strings.Fields(text), "") }

// pages are all there are.
func pages() []string {
	var all []string
	for _, speech := range kit.Languages() {
		all = append(all, Prefix+speech+"/")
		for _, d := range documents {
			all = append(all, Prefix+speech+"/"+d.name)
		}
	}
	return all
}

// places are what is written at each place of a page.
type places map[string]string

func placesOf(doc *html.Node) places {
	all := places{}
	for n := range doc.Descendants() {
		if id := kittest.Attr(n, "id"); id != "" {
			all[id] = written(n)
		}
	}
	return all
}

// has fails when a place of the page is not there, or does not say something.
func has(t *testing.T, page places, id string, texts ...string) {
	t.Helper()
	said, ok := page[id]
	if !ok {
		t.Errorf("there is no place %s", id)
		return
	}
	for _, text := range texts {
		if want := squeezed(strings.ReplaceAll(strings.ReplaceAll(text, "\n- ", "\n"), "`", "")); !strings.Contains(said, want) {
			t.Errorf("%s does not say %q", id, text)
		}
	}
}

// TestEverythingOfTheDocumentsIsThere reads the documents with another reader, and looks for all that is in them.
func TestEverythingOfTheDocumentsIsThere(t *testing.T) {
	h := handler(t)
	for _, d := range documents {
		source, err := schemas.OpenAPI.ReadFile("openapi/" + d.name + ".v1.yaml")
		if err != nil {
			t.Fatal(err)
		}
		api, err := openapi3.NewLoader().LoadFromData(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, speech := range kit.Languages() {
			t.Run(speech+"/"+d.name, func(t *testing.T) {
				doc := kittest.Read(t, h, Prefix+speech+"/"+d.name)
				page := placesOf(doc)
				has(t, page, "main", api.Info.Title, api.Info.Version, api.Info.Description)
				operations := 0
				for path, item := range api.Paths.Map() {
					for method, o := range item.Operations() {
						operations++
						has(t, page, o.OperationID, method, path, o.Summary, o.Description)
						for _, p := range slices.Concat(item.Parameters, o.Parameters) {
							id := o.OperationID + "-" + p.Value.In + "-" + p.Value.Name
							has(t, page, id, p.Value.Name, p.Value.Description)
							holds(t, page, id, p.Value.Schema)
						}
						if o.RequestBody != nil {
							for kind, m := range o.RequestBody.Value.Content {
								has(t, page, o.OperationID, kind)
								holds(t, page, o.OperationID, m.Schema)
								if m.Example != nil {
									shown(t, kittest.ByID(doc, o.OperationID), m.Example)
								}
							}
						}
						for code, answer := range o.Responses.Map() {
							id := o.OperationID + "-" + code
							has(t, page, id, code)
							has(t, page, o.OperationID, *answer.Value.Description)
							for kind, m := range answer.Value.Content {
								has(t, page, o.OperationID, kind)
								holds(t, page, o.OperationID, m.Schema)
								if m.Example != nil {
									shown(t, kittest.ByID(doc, o.OperationID), m.Example)
								}
								for _, e := range m.Examples {
									shown(t, kittest.ByID(doc, o.OperationID), e.Value.Value)
								}
							}
							for name, header := range answer.Value.Headers {
								has(t, page, o.OperationID, name, header.Value.Description)
							}
						}
					}
				}
				for name, s := range api.Components.Schemas {
					has(t, page, "schema-"+name, name)
					holds(t, page, "schema-"+name, s)
				}
				for name, s := range api.Components.SecuritySchemes {
					has(t, page, "scheme-"+name, name, s.Value.Type, s.Value.Scheme, s.Value.Description)
				}
				if operations < 4 || len(api.Components.Schemas) < 3 {
					t.Error("the documents are nearly empty: the test proves nothing")
				}
			})
		}
	}
}

// holds looks for what a schema demands at a place.
func holds(t *testing.T, page places, id string, ref *openapi3.SchemaRef) {
	t.Helper()
	if ref == nil {
		return
	}
	if ref.Ref != "" {
		name := ref.Ref[strings.LastIndexByte(ref.Ref, '/')+1:]
		has(t, page, id, name)
		if page["schema-"+name] == "" {
			t.Errorf("there is no schema %s", name)
		}
		return
	}
	s := ref.Value
	has(t, page, id, s.Description, s.Format, s.Pattern)
	for _, v := range s.Enum {
		has(t, page, id, fmt.Sprint(v))
	}
	if s.Type != nil {
		for _, kind := range *s.Type {
			if len(s.OneOf) == 0 && s.Items == nil && s.AdditionalProperties.Schema == nil {
				has(t, page, id, kind)
			}
		}
	}
	for key, n := range map[string]*float64{"minimum": s.Min, "maximum": s.Max} {
		if n != nil {
			has(t, page, id, key+": "+strconv.FormatFloat(*n, 'f', -1, 64))
		}
	}
	for key, n := range map[string]*uint64{"maxLength": s.MaxLength, "maxItems": s.MaxItems, "maxProperties": s.MaxProps} {
		if n != nil {
			has(t, page, id, key+": "+strconv.FormatUint(*n, 10))
		}
	}
	if s.Default != nil {
		has(t, page, id, fmt.Sprint("default: ", s.Default))
	}
	for name, p := range s.Properties {
		has(t, page, id, name)
		holds(t, page, id, p)
	}
	for _, one := range slices.Concat(s.OneOf, s.AnyOf) {
		holds(t, page, id, one)
	}
	holds(t, page, id, s.Items)
	holds(t, page, id, s.AdditionalProperties.Schema)
}

// shown looks for an example that is the same text, or the same JSON.
func shown(t *testing.T, place *html.Node, want any) {
	t.Helper()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for n := range place.Descendants() {
		if n.Type != html.ElementNode || n.Data != "pre" {
			continue
		}
		said := n.FirstChild.FirstChild.Data
		if asText, isText := want.(string); isText && strings.TrimSpace(asText) == said {
			return
		}
		var got any
		if json.Unmarshal([]byte(said), &got) != nil {
			continue
		}
		if again, _ := json.Marshal(got); string(again) == string(text) {
			return
		}
	}
	t.Errorf("the example %.80s… is not shown", text)
}

var variable = regexp.MustCompile(`\$[a-z_]+`)

// TestEveryCommandIsARequestOfTheContract takes the commands apart as a shell would, and holds them against the contract.
func TestEveryCommandIsARequestOfTheContract(t *testing.T) {
	h := handler(t)
	for _, d := range documents {
		contract := testkit.ReadContract(t, d.name+".v1.yaml")
		doc := kittest.Read(t, h, Prefix+"en/"+d.name)
		page := placesOf(doc)
		commands := 0
		for n := range doc.Descendants() {
			label, ok := strings.CutPrefix(kittest.Attr(n, "aria-label"), "Command for ")
			if !ok {
				continue
			}
			commands++
			r := request(t, n.FirstChild.FirstChild.Data, map[string]string{"$" + d.base: "http://service.example", "$site": "shop", "$key": "sk_1"})
			if err := contract.Permits(r); err != nil {
				t.Errorf("%s: %v", label, err)
			}
			place := page[label]
			for _, v := range variable.FindAllString(n.FirstChild.FirstChild.Data, -1) {
				if v != "$"+d.base && v != "$key" && !strings.Contains(place, "Setfirst:") {
					t.Errorf("%s does not say that %s is to be set", label, v)
				}
			}
		}
		if commands < 4 {
			t.Errorf("%s: %d commands", d.name, commands)
		}
	}
}

// request is what curl would send.
func request(t *testing.T, command string, variables map[string]string) *http.Request {
	t.Helper()
	words := shellWords(command, variables)
	if words[0] != "curl" || words[1] != "-s" {
		t.Fatalf("%q is no command", command)
	}
	method, body, header, target := http.MethodGet, "", http.Header{}, ""
	for i := 2; i < len(words); i++ {
		switch words[i] {
		case "-H":
			i++
			name, value, _ := strings.Cut(words[i], ": ")
			header.Add(name, value)
		case "-d":
			i++
			body = words[i]
			if method == http.MethodGet {
				method = http.MethodPost
			}
		case "-X":
			i++
			method = words[i]
		default:
			target = words[i]
		}
	}
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header = header
	return r
}

func shellWords(command string, variables map[string]string) (words []string) {
	command = strings.ReplaceAll(command, "\\\n", " ")
	var word strings.Builder
	begun := false
	for i := 0; i < len(command); i++ {
		switch c := command[i]; c {
		case '\'':
			end := strings.IndexByte(command[i+1:], '\'')
			word.WriteString(command[i+1 : i+1+end])
			i, begun = i+1+end, true
		case '"':
			end := strings.IndexByte(command[i+1:], '"')
			word.WriteString(variable.ReplaceAllStringFunc(command[i+1:i+1+end], func(v string) string {
				if value, ok := variables[v]; ok {
					return value
				}
				return "x"
			}))
			i, begun = i+1+end, true
		case '\\':
			i++
			word.WriteByte(command[i])
		case ' ':
			if begun {
				words = append(words, word.String())
				word.Reset()
				begun = false
			}
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	return append(words, word.String())
}

// plain are the elements that show what they hold without a script and without a click.
var plain = strings.Fields("html head meta title link body a header nav span main div section h1 h2 h3 h4 p ul li code pre footer")

func TestEveryPageIsPlainAndSound(t *testing.T) {
	h := handler(t)
	for _, target := range pages() {
		w := kittest.Get(h, target)
		body, header := w.Body.String(), w.Header()
		if header.Get("Content-Type") != "text/html; charset=utf-8" || header.Get("Content-Security-Policy") != contentPolicy || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", target, header)
		}
		speech := strings.Split(target, "/")[2]
		for _, fault := range kittest.Faults(t, body, speech) {
			t.Errorf("%s: %s", target, fault)
		}
		for _, trace := range []string{"&amp;lt;", "<nil>"} {
			if strings.Contains(body, trace) {
				t.Errorf("%s holds %s", target, trace)
			}
		}
		doc := kittest.Read(t, h, target)
		if header.Get("Content-Language") != speech {
			t.Errorf("%s: the language is %q", target, header.Get("Content-Language"))
		}
		level := 0
		for n := range doc.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			if !slices.Contains(plain, n.Data) {
				t.Errorf("%s: <%s> is not plain", target, n.Data)
			}
			switch n.Data {
			case "h1", "h2", "h3", "h4":
				next := int(n.Data[1] - '0')
				if next > level+1 || next == 1 && level != 0 || written(n) == "" {
					t.Errorf("%s: %s %q follows h%d", target, n.Data, written(n), level)
				}
				level = next
			case "a", "li", "p", "title":
				if written(n) == "" {
					t.Errorf("%s: <%s> is empty", target, n.Data)
				}
			}
		}
	}
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	for _, path := range []string{"", "/measure/it"} {
		h := http.StripPrefix(path, handler(t))
		docs, found := map[string]*html.Node{}, map[string]places{}
		for _, target := range pages() {
			docs[path+target] = kittest.Read(t, h, path+target)
			found[path+target] = placesOf(docs[path+target])
		}
		followed := map[string]bool{}
		for _, target := range pages() {
			from, _ := url.Parse(path + target)
			for n := range docs[path+target].Descendants() {
				href := kittest.Attr(n, "href")
				if href == "" {
					continue
				}
				to, err := from.Parse(href)
				if err != nil || to.Host != "" {
					t.Errorf("%s leads to %s", target, href)
					continue
				}
				if !followed[to.Path] {
					followed[to.Path] = true
					if w := kittest.Get(h, to.Path); w.Code != http.StatusOK || strings.HasSuffix(to.Path, ".css") && !strings.HasPrefix(w.Body.String(), string(kit.Style(nil))) {
						t.Errorf("%s leads to %s: %d", target, to, w.Code)
					}
				}
				if to.Fragment != "" && found[to.Path][to.Fragment] == "" {
					t.Errorf("%s leads to %s, where there is no such place", target, to)
				}
			}
		}
	}
}

func TestAReaderIsSentToTheirLanguage(t *testing.T) {
	h := handler(t)
	for accept, want := range map[string]string{"": "ja/", "ja-JP,en;q=0.5": "ja/", "en": "en/", "fr": "en/", "fr,ja;q=0.5": "ja/"} {
		if w := kittest.Get(h, Prefix, "Accept-Language", accept); w.Code != http.StatusFound || w.Header().Get("Location") != want || w.Header().Get("Vary") != "Accept-Language" {
			t.Errorf("%q: %d %v", accept, w.Code, w.Header())
		}
	}
	if w := kittest.Get(h, Prefix+"ja"); w.Header().Get("Location") != "ja/" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	for _, missing := range []string{Prefix + "fr/", Prefix + "ja/none", Prefix + "../query.v1.yaml", "/"} {
		if w := kittest.Get(h, missing); w.Code == http.StatusOK {
			t.Errorf("%s is there", missing)
		}
	}
}

func TestWhatAReaderHasIsNotSentAgain(t *testing.T) {
	h := handler(t)
	for _, target := range append(pages(), Prefix+"query.v1.yaml") {
		tag := kittest.Get(h, target).Header().Get("ETag")
		if w := kittest.Get(h, target, "If-None-Match", tag); tag == "" || w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("%s: %s: %d", target, tag, w.Code)
		}
	}
	source, _ := schemas.OpenAPI.ReadFile("openapi/query.v1.yaml")
	if w := kittest.Get(h, Prefix+"query.v1.yaml"); w.Body.String() != string(source) || w.Header().Get("Content-Type") != "application/yaml" {
		t.Errorf("%v", w.Header())
	}
}

func TestTheTextsAreThereInBothLanguagesAndAllAreUsed(t *testing.T) {
	texts, err := kit.ReadTexts(files)
	if err != nil {
		t.Fatal(err)
	}
	alike := regexp.MustCompile(`^language\.switch$`)
	for _, fault := range (kittest.Messages{JA: texts["ja"], EN: texts["en"], Alike: alike}).Faults() {
		t.Error(fault)
	}
	used := kittest.Sources(t, "templates/*")
	for key := range texts["en"] {
		if !strings.Contains(used, `"`+key+`"`) && !strings.HasPrefix(key, "in.") {
			t.Errorf("%s is on no page", key)
		}
	}
}

// A text of a document is marked as English on a Japanese page, unless the document says it in Japanese.
func TestATextIsShownInJapaneseWhereTheDocumentHasIt(t *testing.T) {
	d, err := parse([]byte(`
openapi: 3.1.0
info: {title: Shop, version: '1', description: Sells., x-ja: {title: 店, description: 売ります。}}
paths:
  /a:
    get:
      operationId: getA
      summary: Gives
      x-ja: {summary: あげます}
      parameters: [{name: n, in: query, required: true, example: a b, description: A number, x-ja: 数です, schema: {type: string}}]
      responses: {'200': {description: Given}}
components:
  schemas:
    Tree: {type: object, required: [of], properties: {of: {type: array, items: {$ref: '#/components/schemas/Tree'}}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	ja, en := &page{Language: "ja"}, &page{Language: "en"}
	for text, want := range map[text][2]string{
		d.Title: {"店", "Shop"}, d.Text: {"売ります。", "Sells."}, d.Operations[0].Summary: {"あげます", "Gives"}, d.Operations[0].Parameters[0].Text: {"数です", "A number"},
	} {
		if j, e := ja.Said(text), en.Said(text); j.Line()[0].Text != want[0] || j.Foreign || e.Line()[0].Text != want[1] || e.Foreign {
			t.Errorf("%v: %v, %v", want, j, e)
		}
	}
	if given := d.Operations[0].Answers[0].Text; !ja.Said(given).Foreign || en.Said(given).Foreign {
		t.Error("an English text is not marked on a Japanese page")
	}
	if d.Operations[0].Curl != `curl -s "$base/a?n=a+b"` {
		t.Error(d.Operations[0].Curl)
	}
}

func TestABrokenDocumentIsRefused(t *testing.T) {
	for name, source := range map[string]string{
		"no YAML":                 "{",
		"nothing":                 "",
		"no operationId":          "paths: {/a: {get: {responses: {}}}}",
		"no method":               "paths: {/a: {fetch: {operationId: a}}}",
		"a reference to nowhere":  "paths: {/a: {get: {operationId: a, parameters: [{$ref: '#/components/parameters/P'}]}}}",
		"a reference elsewhere":   "components: {schemas: {A: {$ref: 'other.yaml#/A'}}}",
		"a reference to another":  "components: {schemas: {A: {$ref: '#/components/schemas/B'}, B: {$ref: '#/components/schemas/A'}}}",
		"a broken schema within":  "components: {schemas: {A: {items: {oneOf: [{additionalProperties: {$ref: '#/b'}}]}}}}",
		"a broken request's body": "paths: {/a: {post: {operationId: a, requestBody: {content: {a/b: {schema: {properties: {c: {$ref: '#/d'}}}}}}}}}",
	} {
		if _, err := parse([]byte(source)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestProseIsReadAsItIsMeant(t *testing.T) {
	code := func(text string) span { return span{Code: true, Text: text} }
	got := prose("One `a` line\nand on.\n- first\n  and more\n- `b`\n\nLast.")
	want := []block{
		{Items: [][]span{{{Text: "One "}, code("a"), {Text: " line and on."}}}},
		{List: true, Items: [][]span{{{Text: "first and more"}}, {code("b")}}},
		{Items: [][]span{{{Text: "Last."}}}},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if prose(" \n\n ") != nil {
		t.Error("something of nothing")
	}
}

func TestEveryTextIsReadableInLightAndDark(t *testing.T) {
	style, err := files.ReadFile("style.css")
	if err != nil {
		t.Fatal(err)
	}
	colours, grounds := kittest.ReadColours(kit.Style(style)), []string{"paper", "sheet", "wash"}
	for _, ink := range []string{"ink", "soft", "indigo", "must", "focus"} {
		for _, fault := range colours.Faults(kittest.Pair{Front: ink, Least: 4.5, Back: grounds}) {
			t.Error(fault)
		}
	}
	if len(colours) != 9 {
		t.Errorf("%d colours have two values", len(colours))
	}
}

package format_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/query/format"
)

func TestAClientGetsTheFormItAsksFor(t *testing.T) {
	for _, tc := range []struct {
		accept, parameter string
		want              format.Form
	}{
		{"", "", format.JSON},
		{"*/*", "", format.JSON},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "", format.JSON}, // a browser
		{"application/json", "", format.JSON},
		{"application/*", "", format.JSON},
		{"text/csv", "", format.CSV},
		{"text/csv; charset=UTF-8; header=present", "", format.CSV},
		{"TEXT/*", "", format.CSV},
		{"text/csv;q=0.5, application/json;q=0.4", "", format.CSV},
		{"application/json;q=0.4, text/csv;q=0.5", "", format.CSV},
		{"text/csv;q=0, */*", "", format.JSON},
		{"application/json;q=0, */*", "", format.CSV},
		{"text/csv;header=absent, application/x-ndjson;q=0.1", "", format.NDJSON},
		{"application/x-ndjson", "", format.NDJSON},
		{"application/vnd.apache.parquet, */*;q=0.1", "", format.Parquet},
		{"text/csv, not a type", "", format.CSV},
		{"text/csv;q=x, application/x-ndjson;q=0.1", "", format.NDJSON},
		{"image/png", "json", format.JSON}, // who writes a parameter means it
		{"application/json", "csv", format.CSV},
		{"", "ndjson", format.NDJSON},
		{"", "parquet", format.Parquet},
	} {
		if got, fault := format.Negotiate(tc.accept, tc.parameter); fault != nil || got != tc.want {
			t.Errorf("%q, %q: %s, %v", tc.accept, tc.parameter, got, fault)
		}
	}
}

func TestAClientThatTakesNoFormIsRefused(t *testing.T) {
	for _, accept := range []string{"image/png", "text/csv;q=0", "application/json;q=0, */*;q=0", "text/csv;header=absent", "text/html, application/xml", ",", ";;;"} {
		if _, fault := format.Negotiate(accept, ""); fault == nil || fault.Code != core.CodeNotAcceptable || fault.Field != "Accept" {
			t.Errorf("%q: %v", accept, fault)
		}
	}
	if _, fault := format.Negotiate("", "CANARY7f3a"); fault == nil || fault.Code != core.CodeInvalid || fault.Field != "format" || strings.Contains(fault.Error(), "CANARY7f3a") {
		t.Errorf("%v", fault)
	}
}

func TestTheLanguageIsTheOneAskedForOrNone(t *testing.T) {
	for accept, want := range map[string]format.Language{
		"": format.Names, "*": format.Names, "fr": format.Names, "not a language!": format.Names, "ja;q=0": format.Names,
		"ja": format.Japanese, "ja-JP,ja;q=0.9,en;q=0.8": format.Japanese, "JA": format.Japanese,
		"en-GB": format.English, "en;q=0.9,ja;q=0.1": format.English, "fr,en;q=0.2": format.English, "en;q=0.1,ja;q=0.9": format.Japanese,
		"fr, *;q=0.5": format.Names, "en;q=0, ja;q=0.1": format.Japanese,
	} {
		if got := format.Preferred(accept); got != want {
			t.Errorf("%q: %q", accept, got)
		}
	}
}

func TestNoHeaderBreaksTheNegotiation(t *testing.T) {
	part := rapid.SampledFrom([]string{"text/csv", "*/*", "application/*", ";q=", "0.5", ",", "\"", "W/", "*", " ", "ja", "en", "-", "\x00", "日本"})
	header := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOf(part).Draw(t, "parts"), "") })
	rapid.Check(t, func(t *rapid.T) {
		h := header.Draw(t, "header")
		if form, fault := format.Negotiate(h, ""); fault == nil && form > format.Parquet || fault != nil && strings.Contains(fault.Error(), "日本") {
			t.Fatal(form, fault)
		}
		format.Preferred(h)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("If-None-Match", h)
		if format.Fresh(r, `"tag"`) != (strings.TrimSpace(h) == "*") {
			t.Fatal("a tag that nobody sent is known")
		}
	})
}

func TestATagStandsForOneAnswerInOneForm(t *testing.T) {
	seen := map[string]string{}
	for _, form := range []format.Form{format.JSON, format.CSV, format.NDJSON, format.Parquet} {
		for _, language := range []format.Language{format.Names, format.Japanese, format.English} {
			for _, release := range []string{"", "a", "b"} {
				tag := format.Tag(form, language, []byte(release))
				if len(tag) < 20 || tag[0] != '"' || tag[len(tag)-1] != '"' {
					t.Fatalf("%s is no strong tag", tag)
				}
				what := form.String() + release
				if form == format.CSV {
					what += "." + string(language)
				}
				if before, ok := seen[tag]; ok && before != what {
					t.Errorf("%s is the tag of %s and of %s", tag, before, what)
				}
				seen[tag] = what
			}
		}
	}
	if len(seen) != 3*3+3*3 {
		t.Errorf("%d tags", len(seen))
	}
}

func TestAClientThatHasTheAnswerIsNotSentItAgain(t *testing.T) {
	reply := format.Reply{Form: format.CSV, Table: table(), Tag: format.Tag(format.CSV, format.Names, []byte("r1"))}
	for header, fresh := range map[string]bool{
		"": false, "*": true, reply.Tag: true, "W/" + reply.Tag: true, `"a", W/"b" ,` + reply.Tag: true, `"a,b",` + reply.Tag + `, "c"`: true,
		`"a"`: false, strings.Trim(reply.Tag, `"`): false, `"a` + reply.Tag: false, `"a" nonsense ` + reply.Tag: false, "W/*": false,
		format.Tag(format.NDJSON, format.Names, []byte("r1")): false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if header != "" {
			r.Header.Set("If-None-Match", header)
		}
		w := httptest.NewRecorder()
		if err := reply.Send(w, r); err != nil {
			t.Fatal(err)
		}
		h := w.Header()
		if (w.Code == http.StatusNotModified) != fresh || (w.Body.Len() == 0) != fresh {
			t.Errorf("%s: %d with %d bytes", header, w.Code, w.Body.Len())
		}
		if h.Get("ETag") != reply.Tag || h.Get("Cache-Control") != "private, no-cache" || h.Get("Vary") != format.Vary {
			t.Errorf("%s: %v", header, h)
		}
		if fresh && h.Get("Content-Type") != "" {
			t.Errorf("%s: a 304 with %v", header, h)
		}
	}
	weak := format.Reply{Document: 1, Tag: format.Weak(reply.Tag)}
	for _, header := range []string{reply.Tag, weak.Tag} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("If-None-Match", header)
		w := httptest.NewRecorder()
		if err := weak.Send(w, r); err != nil || w.Code != http.StatusNotModified || w.Header().Get("ETag") != "W/"+reply.Tag {
			t.Errorf("%s: %d %v %v", header, w.Code, w.Header(), err)
		}
	}
	two := httptest.NewRequest(http.MethodGet, "/", nil)
	two.Header["If-None-Match"] = []string{`"a"`, reply.Tag}
	if !format.Fresh(two, reply.Tag) {
		t.Error("the second header is not read")
	}
}

func send(t *testing.T, reply format.Reply) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	if err := reply.Send(w, httptest.NewRequest(http.MethodGet, "/", nil)); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWhatRowsCannotSayTheHeadersDo(t *testing.T) {
	told := map[string]string{
		"Sekisho-Report": "purchases", "Sekisho-Site": "shop", "Sekisho-Purpose": "usage_based_development", "Sekisho-Policy": "default/2022-09-15",
		"Sekisho-Suppressed": `4;reason="fewer than 10 subjects"`, "Sekisho-Coverage": "included=3227, withdrawn=224, refused=withheld",
		"Sekisho-Truncated": "", "Sekisho-Next": "", "Sekisho-Release": "", "Sekisho-Released-Period": "", "Sekisho-Dropped-Filters": "", "Sekisho-Remarks": "", "Cache-Control": "no-store", "Vary": "Accept, Accept-Language",
	}
	for form, more := range map[format.Form]map[string]string{
		format.CSV: {
			"Content-Type": "text/csv; charset=utf-8; header=present", "Content-Language": "",
			"Content-Disposition": `attachment; filename="shop-purchases-2026-11-19-2026-11-25.csv"`,
		},
		format.NDJSON: {"Content-Type": "application/x-ndjson", "Content-Language": "", "Content-Disposition": ""},
		format.Parquet: {
			"Content-Type": "application/vnd.apache.parquet", "Content-Language": "",
			"Content-Disposition": `attachment; filename="shop-purchases-2026-11-19-2026-11-25.parquet"`,
		},
	} {
		h := send(t, format.Reply{Form: form, Table: table()}).Header()
		for _, all := range []map[string]string{told, more} {
			for name, want := range all {
				if got := h.Get(name); got != want {
					t.Errorf("%s: %s is %s, want %s", form, name, got, want)
				}
			}
		}
	}
	rest := table()
	rest.Meta.Site, rest.Meta.Purpose = "1st shop", "目的\"\\"
	rest.Meta.Truncated, rest.Meta.Next, rest.Meta.Remarks = true, `a"b`, []string{"noisy", "filter dropped"}
	rest.Meta.Sample = 0.0125
	rest.Meta.Release = &format.Release{
		ID: "r1", AsOf: noon, DroppedFilters: []string{"country", "!device~"},
		Period: &format.Period{From: rest.Meta.From, To: rest.Meta.To},
	}
	rest.Meta.Suppressed, rest.Meta.Coverage = format.Suppressed{}, format.Coverage{}
	tenth := rest
	tenth.Meta.Sample = 0.1
	if got := send(t, format.Reply{Form: format.CSV, Table: tenth}).Header().Get("Sekisho-Sample"); got != "0.1" {
		t.Errorf("a sample of %s", got)
	}
	h := send(t, format.Reply{Form: format.CSV, Language: format.Japanese, Table: rest}).Header()
	for name, want := range map[string]string{
		"Sekisho-Site": `"1st shop"`, "Sekisho-Purpose": `"??\"\\"`, "Sekisho-Sample": `"0.0125"`, "Sekisho-Truncated": "?1", "Sekisho-Next": `"a\"b"`,
		"Sekisho-Release": `"r1";as_of="2026-11-19T12:00:00.25+09:00"`, "Sekisho-Dropped-Filters": `country, "!device~"`,
		"Sekisho-Released-Period": `from="2026-11-19T00:00:00+09:00", to="2026-11-26T00:00:00+09:00"`,
		"Sekisho-Remarks":         `noisy, "filter dropped"`, "Sekisho-Suppressed": "0", "Sekisho-Coverage": "included=withheld", "Content-Language": "ja",
		"Content-Disposition": `attachment; filename="1st_shop-purchases-2026-11-19-2026-11-25.csv"`,
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestJSONIsTheDocumentAndNothingElse(t *testing.T) {
	w := send(t, format.Reply{Document: map[string]any{"report": "purchases"}, Tag: `"t"`})
	h := w.Header()
	if w.Body.String() != `{"report":"purchases"}` || h.Get("Content-Type") != "application/json" || h.Get("Content-Language") != "ja, en" || h.Get("Sekisho-Suppressed") != "" {
		t.Errorf("%s %v", w.Body, h)
	}
	kept := send(t, format.Reply{Document: json.RawMessage(`{"a":1}`)})
	if kept.Body.String() != `{"a":1}` {
		t.Error(kept.Body)
	}
}

func TestATableWithoutRowsIsAnAnswer(t *testing.T) {
	none := table()
	none.Rows = func(func([]any, error) bool) {}
	for _, form := range tables {
		w := send(t, format.Reply{Form: form, Table: none})
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != form.ContentType() || (w.Body.Len() == 0) != (form == format.NDJSON) {
			t.Errorf("%s: %d %v", form, w.Code, w.Header())
		}
	}
}

// Before the first bytes an error can be answered with; after them, only a broken connection tells the client.
func TestAnAnswerThatBreaksOffIsNotTakenForWhole(t *testing.T) {
	serve := func(reply format.Reply) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := reply.Send(w, r); err != nil {
				w.WriteHeader(http.StatusTeapot)
			}
		}))
	}
	for _, form := range tables {
		for rows, early := range map[int]bool{3: true, 100_000: false} {
			broken := table()
			broken.Rows = breaking(rows)
			server := serve(format.Reply{Form: form, Table: broken, Tag: `"t"`})
			response, err := server.Client().Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			var body bytes.Buffer
			_, err = body.ReadFrom(response.Body)
			_ = response.Body.Close()
			server.Close()
			if early && (response.StatusCode != http.StatusTeapot || response.Header.Get("ETag") != "" || err != nil) {
				t.Errorf("%s: %d, %v", form, response.StatusCode, err)
			}
			if !early && (response.StatusCode != http.StatusOK || err == nil) {
				t.Errorf("%s: an answer that broke off is whole: %d bytes, %v", form, body.Len(), err)
			}
		}
	}
	w := httptest.NewRecorder()
	if err := (format.Reply{Document: func() {}}).Send(w, httptest.NewRequest(http.MethodGet, "/", nil)); err == nil || w.Body.Len() > 0 {
		t.Error("what is no JSON was sent")
	}
}

// The rows come one by one; the first are with the client before the last are made.
func TestRowsLeaveAsTheyCome(t *testing.T) {
	arrived := make(chan struct{})
	slow := table()
	slow.Rows = func(yield func([]any, error) bool) {
		for range 2000 {
			if !yield([]any{strings.Repeat("x", 64), 1, 0.5, "1", noon}, nil) {
				return
			}
		}
		select {
		case <-arrived:
			yield([]any{"last", 1, 0.5, "1", noon}, nil)
		case <-t.Context().Done():
			yield(nil, errors.New("nobody reads"))
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = format.Reply{Form: format.CSV, Table: slow}.Send(w, r)
	}))
	defer server.Close()
	response, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	reader := csv.NewReader(response.Body)
	for n := 0; ; n++ {
		row, err := reader.Read()
		if err != nil {
			t.Fatal(err)
		}
		if n == 10 {
			close(arrived)
		}
		if row[0] == "last" {
			break
		}
	}
}

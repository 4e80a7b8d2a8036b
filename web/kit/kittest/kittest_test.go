package kittest

import (
	"math"
	"regexp"
	"strings"
	"testing"
)

func TestASoundPageHasNoFault(t *testing.T) {
	const page = `<html lang="en"><head><title>t</title></head><body><h1 id="h">h</h1><p aria-labelledby="h">t<br></p><svg><title>s</title></svg></body></html>`
	if all := Faults(t, page, "en"); len(all) > 0 {
		t.Error(all)
	}
	doc := Parse(t, page)
	if Text(ByID(doc, "h")) != "h" || ByID(doc, "x") != nil || Text(nil) != "" || len(Elements(doc, "p", "h1")) != 2 || Attr(Elements(doc, "p")[0], "class") != "" {
		t.Error("a page is not read as it is written")
	}
}

func TestEveryFaultOfAPageIsFound(t *testing.T) {
	for body, want := range map[string]string{
		`<p>`:                             "tags are not balanced at /body",
		`</p>`:                            "tags are not balanced at /p",
		`<p>%!s(MISSING)</p>`:             "holds %!",
		`<a href="#ZgotmplZ">x</a>`:       "holds ZgotmplZ",
		`<no value></no value>`:           "holds <no value>",
		`<title>again</title>`:            "there is no title",
		`<p onclick="x">t</p>`:            "<p> has the inline onclick that the policy forbids",
		`<p style="x">t</p>`:              "<p> has the inline style that the policy forbids",
		`<p id="a">t</p><p id="a">t</p>`:  "id a is there twice",
		`<p aria-labelledby="a">t</p>`:    "aria-labelledby names no id: a",
		`<p aria-describedby="a b">t</p>`: "aria-describedby names no id: a; aria-describedby names no id: b",
		`<label for="a">t</label>`:        "for names no id: a",
	} {
		all := Faults(t, `<html lang="en"><head><title>t</title></head><body>`+body+`</body></html>`, "en")
		if got := strings.Join(all, "; "); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	for page, want := range map[string]string{
		`<html lang="ja"><head><title>t</title></head></html>`: `lang is "ja"`,
		`<html lang="en"><head><title> </title></head></html>`: "there is no title",
		`<html lang="en"><head></head></html>`:                 "there is no title",
	} {
		if got := strings.Join(Faults(t, page, "en"), "; "); got != want {
			t.Errorf("%s: %q, want %q", page, got, want)
		}
	}
}

func TestLanguagesThatDisagreeAreFound(t *testing.T) {
	alike, latin := regexp.MustCompile(`^sign$`), regexp.MustCompile(`^name$`)
	for _, c := range []struct {
		key, ja, en string
		moved       bool
		want        string
	}{
		{"a", "お茶 %s %d", "tea %s %d", false, ""},
		{"a", "お茶", " ", false, "a is empty; a is not in English"},
		{"a", "", "tea", false, "a is empty; a is not in Japanese"},
		{"a", "お茶 %s", "tea", false, "a takes other values in the other language"},
		{"a", "お茶 %d %s", "tea %s %d", true, "a takes other values in the other language"},
		{"a", "お茶 %[2]s %[1]d", "tea %[1]d %[2]s", false, "a takes other values in the other language"},
		{"a", "お茶 %[2]s %[1]d", "tea %[1]d %[2]s", true, ""},
		{"a", "お茶", "お茶", false, "a is not in English"},
		{"a", "お茶", "tea、", false, "a is not in English"},
		{"a", "tea、", "tea", false, "a is not in Japanese"},
		{"sign", "茶", "茶", false, ""},
		{"sign", "1", "1", false, ""},
		{"name", "SHA-256", "SHA-256", false, ""},
		{"name", "SHA-256", "値", false, "name is not in English"},
	} {
		m := Messages{JA: map[string]string{c.key: c.ja}, EN: map[string]string{c.key: c.en}, Alike: alike, Latin: latin, Moved: c.moved}
		if got := strings.Join(m.Faults(), "; "); got != c.want {
			t.Errorf("%s, %q, %q: %q, want %q", c.key, c.ja, c.en, got, c.want)
		}
	}
	for _, m := range []Messages{
		{JA: map[string]string{"sign": "1"}, EN: map[string]string{"sign": "1", "more": "x"}, Alike: alike},
		{JA: map[string]string{"sign": "1", "more": "値"}, EN: map[string]string{"sign": "1"}, Alike: alike},
	} {
		if all := m.Faults(); len(all) == 0 || !strings.HasPrefix(all[0], "the keys differ") {
			t.Errorf("%v: %v", m, all)
		}
	}
}

func TestContrastIsThatOfWCAG(t *testing.T) {
	c := ReadColours([]byte("--ink: light-dark(#000000, #777777); --on-ink: light-dark(#ffffff, #ffffff); --one: #000000;"))
	if len(c) != 2 {
		t.Fatal(c)
	}
	for mode, want := range []float64{21, 4.48} {
		if got := (c["on-ink"][mode] + .05) / (c["ink"][mode] + .05); math.Abs(got-want) > .005 {
			t.Errorf("%.3f, want %.2f", got, want)
		}
	}
	if all := c.Faults(Pair{"ink", 4.4, []string{"on-ink"}}, Pair{"on-ink", 4.4, []string{"ink"}}); len(all) > 0 {
		t.Error(all)
	}
	got := strings.Join(c.Faults(Pair{"ink", 4.5, []string{"on-ink", "one"}}, Pair{"one", 3, []string{"ink"}}), "; ")
	if got != "ink on on-ink, dark: 4.48, want 4.5; ink or one is no colour; one or ink is no colour" {
		t.Error(got)
	}
}

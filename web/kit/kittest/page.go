// Package kittest holds what the tests of the house's pages ask of each of them: that a page is sound in its structure,
// that its languages say the same, and that its colours can be read.
package kittest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Get asks a handler for a target, with headers as names and values in turn.
func Get(h http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Read gets a page that has to be there.
func Read(t testing.TB, h http.Handler, target string) *html.Node {
	t.Helper()
	w := Get(h, target)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d", target, w.Code)
	}
	return Parse(t, w.Body.String())
}

// Parse reads a page as a browser does.
func Parse(t testing.TB, page string) *html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// Attr is the value of an attribute, empty where there is none.
func Attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// Elements are the elements below a node that have one of the names, in the order of the page.
func Elements(doc *html.Node, names ...string) (found []*html.Node) {
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && slices.Contains(names, n.Data) {
			found = append(found, n)
		}
	}
	return found
}

// ByID is the element with the id, nil where there is none.
func ByID(doc *html.Node, id string) *html.Node {
	for n := range doc.Descendants() {
		if Attr(n, "id") == id {
			return n
		}
	}
	return nil
}

// Text is what is written in an element, with single spaces; nothing in none.
func Text(n *html.Node) string {
	if n == nil {
		return ""
	}
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// Name is what an element says it is, or else what is written in it.
func Name(n *html.Node) string {
	if label := Attr(n, "aria-label"); label != "" {
		return label
	}
	return Text(n)
}

// Faults are what no page of the house may have, whatever it is about, with the language that it has to be in.
func Faults(t testing.TB, page, language string) (all []string) {
	t.Helper()
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if tag := unbalanced(page); tag != "" {
		say("tags are not balanced at %s", tag)
	}
	for _, trace := range []string{"%!", "ZgotmplZ", "<no value>"} { // of a template or a format that went wrong
		if strings.Contains(page, trace) {
			say("holds %s", trace)
		}
	}
	doc := Parse(t, page)
	if got := Attr(Elements(doc, "html")[0], "lang"); got != language {
		say("lang is %q", got)
	}
	titles := Elements(doc, "title")
	titles = slices.DeleteFunc(titles, func(n *html.Node) bool { return n.Namespace == "svg" }) // of a picture
	if len(titles) != 1 || Text(titles[0]) == "" {
		say("there is no title")
	}
	ids := map[string]bool{}
	for n := range doc.Descendants() {
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				say("<%s> has the inline %s that the policy forbids", n.Data, a.Key)
			}
		}
		if id := Attr(n, "id"); id != "" {
			if ids[id] {
				say("id %s is there twice", id)
			}
			ids[id] = true
		}
	}
	for n := range doc.Descendants() {
		for _, name := range []string{"aria-labelledby", "aria-describedby"} {
			for id := range strings.FieldsSeq(Attr(n, name)) {
				if !ids[id] {
					say("%s names no id: %s", name, id)
				}
			}
		}
		if id := Attr(n, "for"); id != "" && !ids[id] {
			say("for names no id: %s", id)
		}
	}
	return all
}

// void are the elements without an end that the pages use.
var void = []string{"meta", "link", "br", "hr", "img", "input"}

// unbalanced is the first tag that closes what is not open, or what stays open. The parser would mend it in silence.
func unbalanced(page string) string {
	var open []string
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) {
				return z.Err().Error()
			}
			return strings.Join(open, " ")
		case html.StartTagToken:
			if name, _ := z.TagName(); !slices.Contains(void, string(name)) {
				open = append(open, string(name))
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			if len(open) == 0 || open[len(open)-1] != string(name) {
				return "/" + string(name)
			}
			open = open[:len(open)-1]
		}
	}
}

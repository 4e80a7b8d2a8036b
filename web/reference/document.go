package reference

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// text is a text of a document, in its own language and in Japanese where it has it.
type text struct{ en, ja string }

// Any is the text in the document's own language.
func (t text) Any() string { return t.en }

// document is an OpenAPI document, in its own order.
type document struct {
	Name, Base, Address string // as in documents
	Title               text
	Version             string
	Text                text
	Operations          []*operation
	Schemas             []field
	Schemes             []scheme
}

// scheme is a way to authenticate.
type scheme struct {
	Name   string
	Scheme string // such as http bearer
	Text   text
}

// operation is a method of a path.
type operation struct {
	ID, Method, Path string
	Summary, Text    text
	Security         []string // names of schemes; any of them
	Parameters       []parameter
	Bodies           []media // of the request
	BodyText         text
	BodyRequired     bool
	Answers          []answer
	Curl             string
	Variables        []string // of the command, beside those that all commands share
}

// Anchor is the operation's place on the page.
func (o *operation) Anchor() string { return o.ID }

// parameter is one of an operation.
type parameter struct {
	Anchor, Name, In string
	Required         bool
	Text             text
	Schema           *schema
	Rules            []rule
}

// answer is what one or several statuses of an operation have in common.
type answer struct {
	Statuses []status
	Text     text
	Headers  []field
	Media    []media
	of       *yaml.Node
}

// status is the status of an answer, such as 404.
type status struct{ Anchor, Code, Name string }

// media is a body in a media type.
type media struct {
	Type     string
	Schema   *schema
	Examples []example
}

// example is one of a document's own, as JSON.
type example struct{ Name, Body string }

// schema is a JSON Schema, or a reference to one of the document's.
type schema struct {
	Ref    string
	Types  []string
	Format string
	Text   text
	Values []string // of an enum, as JSON
	Rules  []rule   // every other keyword
	Fields []field
	Items  *schema
	Either []*schema
	More   *schema // of a property that has no field
	Closed bool    // there is no such property

	source *yaml.Node
}

// Plain reports whether there is nothing to say of a schema but its type.
func (s *schema) Plain() bool {
	return s.Ref != "" || len(s.Fields) == 0 && len(s.Rules) == 0 && len(s.Values) == 0 && s.Text == text{} && len(s.Either) == 0 && (s.Items == nil || s.Items.Plain()) && (s.More == nil || s.More.Plain())
}

// Words are the values of an enum as a person writes them: texts without quotes.
func (s *schema) Words() []string {
	words := make([]string, len(s.Values))
	for i, v := range s.Values {
		words[i] = word(v)
	}
	return words
}

// Word is what the keyword demands, a text without quotes.
func (r rule) Word() string { return word(r.Value) }

func word(value string) string {
	var text string
	if json.Unmarshal([]byte(value), &text) != nil {
		return value
	}
	return text
}

// Detailed reports whether an alternative is not said by its type.
func (s *schema) Detailed() bool {
	return slices.ContainsFunc(s.Either, func(one *schema) bool { return !one.Plain() })
}

// field is a schema with a name.
type field struct {
	Anchor, Name string
	Required     bool
	Schema       *schema
}

// rule is a keyword and what it demands, as JSON.
type rule struct{ Key, Value string }

// reader reads a document.
type reader struct{ root *yaml.Node }

func parse(source []byte) (*document, error) {
	var file yaml.Node
	if err := yaml.Unmarshal(source, &file); err != nil {
		return nil, fmt.Errorf("read yaml: %w", err)
	}
	if len(file.Content) != 1 {
		return nil, errors.New("read yaml: there is no document")
	}
	r := reader{root: file.Content[0]}
	info := get(r.root, "info")
	d := &document{Title: texts(info, "title"), Version: value(get(info, "version")), Text: texts(info, "description")}
	shared := names(get(r.root, "security"))
	for path, item := range pairs(get(r.root, "paths")) {
		for method, node := range pairs(item) {
			if method == "parameters" { // of every operation of the path
				continue
			}
			if !slices.Contains([]string{"get", "put", "post", "delete", "patch", "head", "options"}, method) {
				return nil, fmt.Errorf("%s has %s, which is no method", path, method)
			}
			o, err := r.operation(strings.ToUpper(method), path, node, list(get(item, "parameters")))
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			o.Security = shared
			if own := get(node, "security"); own != nil {
				o.Security = names(own)
			}
			d.Operations = append(d.Operations, o)
		}
	}
	for _, o := range d.Operations {
		r.command(d, o)
	}
	components := get(r.root, "components")
	for name, node := range pairs(get(components, "schemas")) {
		anchor := "schema-" + name
		s, err := r.schema(node, anchor)
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
		d.Schemas = append(d.Schemas, field{Anchor: anchor, Name: name, Schema: s})
	}
	for name, node := range pairs(get(components, "securitySchemes")) {
		kind := strings.TrimSpace(value(get(node, "type")) + " " + value(get(node, "scheme")))
		d.Schemes = append(d.Schemes, scheme{name, kind, texts(node, "description")})
	}
	return d, nil
}

// names are those of the schemes that a security requirement lists.
func names(requirements *yaml.Node) []string {
	var all []string
	for _, one := range list(requirements) {
		for name := range pairs(one) {
			all = append(all, name)
		}
	}
	return all
}

func (r reader) operation(method, path string, node *yaml.Node, shared []*yaml.Node) (*operation, error) {
	o := &operation{ID: value(get(node, "operationId")), Method: method, Path: path, Summary: texts(node, "summary"), Text: texts(node, "description")}
	if o.ID == "" {
		return nil, errors.New("it has no operationId")
	}
	for _, n := range slices.Concat(shared, list(get(node, "parameters"))) {
		n, _, err := r.resolve(n)
		if err != nil {
			return nil, err
		}
		p := parameter{Name: value(get(n, "name")), In: value(get(n, "in")), Required: value(get(n, "required")) == "true", Text: texts(n, "description")}
		p.Anchor = o.ID + "-" + p.In + "-" + p.Name
		if p.Schema, err = r.schema(get(n, "schema"), p.Anchor); err != nil {
			return nil, fmt.Errorf("parameter %s: %w", p.Name, err)
		}
		p.Rules = rules(n, "name", "in", "required", "description", "schema")
		o.Parameters = append(o.Parameters, p)
	}
	if body := get(node, "requestBody"); body != nil {
		body, _, err := r.resolve(body)
		if err != nil {
			return nil, err
		}
		o.BodyText, o.BodyRequired = texts(body, "description"), value(get(body, "required")) == "true"
		if o.Bodies, err = r.media(get(body, "content"), o.ID+"-body"); err != nil {
			return nil, err
		}
	}
	for code, n := range pairs(get(node, "responses")) {
		n, _, err := r.resolve(n)
		if err != nil {
			return nil, err
		}
		s := status{Anchor: o.ID + "-" + code, Code: code, Name: statusName(code)}
		if last := len(o.Answers) - 1; last >= 0 && o.Answers[last].of == n {
			o.Answers[last].Statuses = append(o.Answers[last].Statuses, s)
			continue
		}
		a := answer{Statuses: []status{s}, Text: texts(n, "description"), of: n}
		for name, header := range pairs(get(n, "headers")) {
			if header, _, err = r.resolve(header); err != nil {
				return nil, err
			}
			h := field{Anchor: s.Anchor + "-" + name, Name: name, Required: value(get(header, "required")) == "true"}
			if h.Schema, err = r.schema(get(header, "schema"), h.Anchor); err != nil {
				return nil, fmt.Errorf("header %s: %w", name, err)
			}
			if t := texts(header, "description"); t != (text{}) {
				h.Schema.Text = t
			}
			a.Headers = append(a.Headers, h)
		}
		if a.Media, err = r.media(get(n, "content"), s.Anchor); err != nil {
			return nil, err
		}
		o.Answers = append(o.Answers, a)
	}
	return o, nil
}

// body is an example as it is sent: a text as it stands, everything else as JSON.
func body(node *yaml.Node) string {
	if node != nil && node.Kind == yaml.ScalarNode && node.Tag == "!!str" {
		return strings.TrimSpace(node.Value)
	}
	return pretty(node)
}

func statusName(code string) string {
	var n int
	if _, err := fmt.Sscanf(code, "%d", &n); err != nil {
		return ""
	}
	return http.StatusText(n)
}

func (r reader) media(content *yaml.Node, anchor string) ([]media, error) {
	var all []media
	for kind, node := range pairs(content) {
		m := media{Type: kind}
		if s := get(node, "schema"); s != nil {
			var err error
			if m.Schema, err = r.schema(s, anchor+"-"+strings.NewReplacer("/", "-", "+", "-").Replace(kind)); err != nil {
				return nil, err
			}
		}
		if one := get(node, "example"); one != nil {
			m.Examples = append(m.Examples, example{Body: body(one)})
		}
		for name, one := range pairs(get(node, "examples")) {
			one, _, err := r.resolve(one)
			if err != nil {
				return nil, err
			}
			m.Examples = append(m.Examples, example{name, body(get(one, "value"))})
		}
		all = append(all, m)
	}
	return all, nil
}

// schema reads a schema at a place of the page. No keyword is lost: one without a part of its own is a rule.
func (r reader) schema(node *yaml.Node, anchor string) (*schema, error) {
	s := &schema{source: node}
	if node == nil {
		return s, nil
	}
	if ref := get(node, "$ref"); ref != nil {
		_, name, err := r.resolve(node)
		s.Ref, s.Text = name, texts(node, "description")
		return s, err
	}
	s.Format, s.Text = value(get(node, "format")), texts(node, "description")
	if t := get(node, "type"); t != nil && t.Kind == yaml.SequenceNode {
		for _, one := range t.Content {
			s.Types = append(s.Types, one.Value)
		}
	} else if t != nil {
		s.Types = []string{t.Value}
	}
	for _, v := range list(get(node, "enum")) {
		s.Values = append(s.Values, encode(v))
	}
	required := list(get(node, "required"))
	var err error
	for name, n := range pairs(get(node, "properties")) {
		f := field{Anchor: anchor + "-" + name, Name: name}
		f.Required = slices.ContainsFunc(required, func(r *yaml.Node) bool { return r.Value == name })
		if f.Schema, err = r.schema(n, f.Anchor); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		s.Fields = append(s.Fields, f)
	}
	if n := get(node, "items"); n != nil {
		if s.Items, err = r.schema(n, anchor+"-items"); err != nil {
			return nil, err
		}
	}
	if n := get(node, "additionalProperties"); n != nil {
		if s.Closed = value(n) == "false"; n.Kind == yaml.MappingNode {
			if s.More, err = r.schema(n, anchor+"-more"); err != nil {
				return nil, err
			}
		}
	}
	for _, n := range slices.Concat(list(get(node, "oneOf")), list(get(node, "anyOf"))) {
		one, err := r.schema(n, fmt.Sprintf("%s-%d", anchor, len(s.Either)+1))
		if err != nil {
			return nil, err
		}
		s.Either = append(s.Either, one)
	}
	s.Rules = rules(node, "type", "format", "description", "enum", "required", "properties", "items", "additionalProperties", "oneOf", "anyOf")
	return s, nil
}

// rules are the keywords of a node but those that are said elsewhere.
func rules(node *yaml.Node, but ...string) []rule {
	var all []rule
	for key, n := range pairs(node) {
		if key != "x-ja" && !slices.Contains(but, key) {
			all = append(all, rule{key, encode(n)})
		}
	}
	return all
}

// resolve follows a reference within the document, and tells the name it leads to.
func (r reader) resolve(node *yaml.Node) (*yaml.Node, string, error) {
	ref := get(node, "$ref")
	if ref == nil {
		return node, "", nil
	}
	path, ok := strings.CutPrefix(ref.Value, "#/")
	at := r.root
	var name string
	for name = range strings.SplitSeq(path, "/") {
		at = get(at, name)
	}
	if !ok || at == nil || get(at, "$ref") != nil {
		return nil, "", errors.New("a reference leads nowhere, out of the document or to another")
	}
	return at, name, nil
}

package reference

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// unknown stands in an example for what only its reader knows.
const unknown = "…"

// command writes the operation as a command for a shell. Values come from the document: an example of the parameter, what
// the examples of its answers say of it, or the first value of its enum; else they are variables for the reader to set.
func (r reader) command(d *document, o *operation) {
	path, query := o.Path, []string{}
	var headers []string
	variable := func(name string) string {
		// In lower case, as no variable of the reader's environment is: LANG is set, and means something else.
		name = strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "Sekisho-"), "-", "_"))
		if !slices.Contains(o.Variables, name) {
			o.Variables = append(o.Variables, name)
		}
		return "$" + name
	}
	for _, p := range o.Parameters {
		if !p.Required && !strings.HasPrefix(p.Name, "Sekisho-") {
			continue
		}
		given, known := given(d, o, p)
		if p.In == "header" { // such as the write key, which a page does not need for its origin
			headers = append(headers, p.Name+": "+variable(p.Name))
			continue
		}
		if !known {
			given = variable(p.Name)
		} else {
			given = url.QueryEscape(given)
		}
		if p.In == "path" {
			path = strings.ReplaceAll(path, "{"+p.Name+"}", given)
		} else {
			query = append(query, p.Name+"="+given)
		}
	}
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	lines := []string{`curl -s "$base` + path + `"`}
	for _, h := range headers {
		lines = append(lines, `-H "`+h+`"`)
	}
	if len(o.Bodies) > 0 {
		b := o.Bodies[0]
		body := r.sample(b.Schema, 0)
		if len(b.Examples) > 0 {
			body = b.Examples[0].Body
		}
		lines = append(lines, "-H 'Content-Type: "+b.Type+"'", "-d '"+strings.ReplaceAll(body, "'", `'\''`)+"'")
	}
	if o.Method != http.MethodGet && (o.Method != http.MethodPost || len(o.Bodies) == 0) {
		lines[0] = strings.Replace(lines[0], "curl -s", "curl -s -X "+o.Method, 1)
	}
	o.Curl = strings.Join(lines, " \\\n  ")
}

// Command is the operation's command against a service, with the key where one is needed.
func (d *document) Command(o *operation) string {
	command := strings.Replace(o.Curl, "$base", "$"+d.Base, 1)
	if len(o.Security) > 0 {
		first, rest, more := strings.Cut(command, " \\\n")
		command = first + " \\\n  -H \"Authorization: Bearer $key\""
		if more {
			command += " \\\n" + rest
		}
	}
	return command
}

// given is the value of a parameter that the document itself gives: beside it, or in an answer's example, of the operation
// first of all.
func given(d *document, o *operation, p parameter) (string, bool) {
	for _, rule := range slices.Concat(p.Rules, p.Schema.Rules) {
		if rule.Key == "example" {
			return rule.Word(), true
		}
	}
	for _, other := range append([]*operation{o}, d.Operations...) {
		for _, a := range other.Answers {
			for _, m := range a.Media {
				for _, e := range m.Examples {
					var body map[string]any
					if json.Unmarshal([]byte(e.Body), &body) != nil {
						continue
					}
					if text, ok := body[p.Name].(string); ok && text != "" {
						return text, true
					}
				}
			}
		}
	}
	if len(p.Schema.Values) > 0 {
		return word(p.Schema.Values[0]), true
	}
	return "", false
}

// deepest bounds a sample of a schema that holds itself.
const deepest = 8

// sample is the least JSON that a schema takes, as far as it can be told; what cannot is left to the reader.
func (r reader) sample(s *schema, depth int) string {
	if s == nil || depth > deepest {
		return "null"
	}
	if s.Ref != "" {
		node, _, err := r.resolve(s.source)
		if err != nil {
			return "null"
		}
		if s, err = r.schema(node, ""); err != nil {
			return "null"
		}
	}
	for _, rule := range s.Rules {
		if rule.Key == "example" || rule.Key == "default" || rule.Key == "const" {
			return rule.Value
		}
	}
	switch {
	case len(s.Values) > 0:
		return s.Values[0]
	case len(s.Either) > 0:
		return r.sample(s.Either[0], depth+1)
	case len(s.Types) == 0:
		return "null"
	}
	switch s.Types[0] {
	case "object":
		var parts []string
		for i, f := range s.Fields {
			least := i == 0 && slices.ContainsFunc(s.Rules, func(r rule) bool { return r.Key == "minProperties" })
			exemplary := slices.ContainsFunc(f.Schema.Rules, func(r rule) bool { return r.Key == "example" })
			if f.Required || least || exemplary {
				parts = append(parts, strconv.Quote(f.Name)+": "+r.sample(f.Schema, depth+1))
			}
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case "array":
		return "[" + r.sample(s.Items, depth+1) + "]"
	case "integer", "number":
		return "1"
	case "boolean":
		return "true"
	default:
		return strconv.Quote(unknown)
	}
}

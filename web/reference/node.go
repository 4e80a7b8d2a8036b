package reference

import (
	"encoding/json"
	"iter"
	"strings"

	"go.yaml.in/yaml/v3"
)

// get is the value of a key of a mapping; nil when there is none.
func get(node *yaml.Node, key string) *yaml.Node {
	for k, v := range pairs(node) {
		if k == key {
			return v
		}
	}
	return nil
}

// pairs are the keys and values of a mapping, in its order.
func pairs(node *yaml.Node) iter.Seq2[string, *yaml.Node] {
	return func(yield func(string, *yaml.Node) bool) {
		if node == nil || node.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if !yield(node.Content[i].Value, node.Content[i+1]) {
				return
			}
		}
	}
}

// list are the elements of a sequence.
func list(node *yaml.Node) []*yaml.Node {
	if node == nil || node.Kind != yaml.SequenceNode {
		return nil
	}
	return node.Content
}

// value is a scalar as it is written.
func value(node *yaml.Node) string {
	if node == nil || node.Kind != yaml.ScalarNode {
		return ""
	}
	return node.Value
}

// texts is the text of a key, with the Japanese beside it.
func texts(node *yaml.Node, key string) text {
	t := text{en: strings.TrimSpace(value(get(node, key)))}
	switch ja := get(node, "x-ja"); {
	case ja == nil:
	case ja.Kind == yaml.MappingNode:
		t.ja = strings.TrimSpace(value(get(ja, key)))
	case key == "description":
		t.ja = strings.TrimSpace(ja.Value)
	}
	return t
}

// width is how long a line of an example may be before it is broken.
const width = 76

// encode writes a node as JSON on one line, in the document's order.
func encode(node *yaml.Node) string {
	var b strings.Builder
	write(&b, node, "", false)
	return b.String()
}

// pretty writes a node as JSON, what fits on a line on one.
func pretty(node *yaml.Node) string {
	var b strings.Builder
	write(&b, node, "", true)
	return b.String()
}

func write(b *strings.Builder, node *yaml.Node, indent string, broken bool) {
	if node == nil || node.Kind == yaml.ScalarNode || node.Kind == yaml.AliasNode {
		var v any
		if node != nil && node.Decode(&v) != nil {
			v = node.Value
		}
		scalar, _ := json.Marshal(v) // a scalar is always JSON
		b.Write(scalar)
		return
	}
	if broken {
		if line := encode(node); len(indent)+len(line) <= width {
			b.WriteString(line)
			return
		}
	}
	opening, closing, step := "{", "}", 2
	if node.Kind == yaml.SequenceNode {
		opening, closing, step = "[", "]", 1
	}
	b.WriteString(opening)
	for i := 0; i+step <= len(node.Content); i += step {
		switch {
		case broken && i > 0:
			b.WriteString(",\n" + indent + "  ")
		case broken:
			b.WriteString("\n" + indent + "  ")
		case i > 0:
			b.WriteString(", ")
		}
		if step == 2 {
			key, _ := json.Marshal(node.Content[i].Value)
			b.Write(key)
			b.WriteString(": ")
		}
		write(b, node.Content[i+step-1], indent+"  ", broken)
	}
	if broken {
		b.WriteString("\n" + indent)
	}
	b.WriteString(closing)
}

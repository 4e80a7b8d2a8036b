package reference

import "strings"

// block is a paragraph, or a list of several.
type block struct {
	List  bool
	Items [][]span // one of a paragraph
}

// span is a piece of a line.
type span struct {
	Code bool
	Text string
}

// prose reads the little Markdown that the documents use: paragraphs, lists of lines that begin with a dash, and code
// between backquotes. Everything else is taken as it stands.
func prose(text string) []block {
	var blocks []block
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		var lines []string // of a paragraph, or the items of a list
		list := false
		for line := range strings.SplitSeq(strings.TrimSpace(paragraph), "\n") {
			line = strings.TrimSpace(line)
			item, dash := strings.CutPrefix(line, "- ")
			switch {
			case dash && !list && len(lines) > 0: // a list that follows its paragraph at once
				blocks = append(blocks, block{Items: [][]span{spans(strings.Join(lines, " "))}})
				list, lines = true, []string{item}
			case dash:
				list, lines = true, append(lines, item)
			case list:
				lines[len(lines)-1] += " " + line
			case line != "":
				lines = append(lines, line)
			}
		}
		if len(lines) == 0 {
			continue
		}
		b := block{List: list}
		if !list {
			lines = []string{strings.Join(lines, " ")}
		}
		for _, line := range lines {
			b.Items = append(b.Items, spans(line))
		}
		blocks = append(blocks, b)
	}
	return blocks
}

func spans(line string) []span {
	var all []span
	for i, piece := range strings.Split(line, "`") {
		if piece != "" {
			all = append(all, span{Code: i%2 == 1, Text: piece})
		}
	}
	return all
}

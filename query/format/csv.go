package format

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// byteOrderMark tells Excel that a file is UTF-8.
const byteOrderMark = "\uFEFF"

// formula are the first characters that make a spreadsheet take a text for more than a text, and the apostrophe that
// says it is none.
const formula = "=+-@\t\r\n＝＋－＠'"

// WriteCSV writes a table as RFC 4180 wants it: a header row, lines that end in CRLF, quotes where a cell needs them. The
// header row is the columns' labels in the language, or their names where there is none.
func WriteCSV(w io.Writer, t Table, language Language) error {
	t, err := t.flat()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, bufferSize)
	var line []byte
	if language != Names {
		line = append(line, byteOrderMark...)
	}
	for i, c := range t.Columns {
		line = separate(line, i)
		switch language {
		case Japanese:
			line = appendField(line, c.LabelJA)
		case English:
			line = appendField(line, c.LabelEN)
		default:
			line = appendField(line, c.Name)
		}
	}
	cells := make([]any, len(t.Columns))
	for values, err := range t.Rows {
		if err == nil {
			_, err = out.Write(append(line, '\r', '\n'))
		}
		if err == nil {
			err = row(t.Columns, values, cells)
		}
		if err != nil {
			return err
		}
		line = line[:0]
		for i, value := range cells {
			line = separate(line, i)
			switch v := value.(type) {
			case string:
				if t.Columns[i].Kind == Text {
					v = disarm(v)
				}
				line = appendField(line, v)
			case int64:
				line = strconv.AppendInt(line, v, 10)
			case float64:
				line = strconv.AppendFloat(line, v, 'f', -1, 64)
			case time.Time:
				line = v.AppendFormat(line, instant)
			}
		}
		if len(cells) == 1 && len(line) == 0 {
			line = append(line, `""`...) // an empty line would be no row
		}
	}
	_, _ = out.Write(append(line, '\r', '\n')) // a fault stays, and Flush tells it
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	return nil
}

func separate(line []byte, i int) []byte {
	if i == 0 {
		return line
	}
	return append(line, ',')
}

// disarm keeps a spreadsheet from taking a text for a formula.
func disarm(text string) string {
	if first, _ := utf8.DecodeRuneInString(text); text != "" && strings.ContainsRune(formula, first) {
		return "'" + text
	}
	return text
}

// appendField quotes what holds a separator, a quote or a line's end, or begins or ends with a space, which some readers
// would take away.
func appendField(line []byte, text string) []byte {
	if !strings.ContainsAny(text, ",\"\r\n") && !strings.HasPrefix(text, " ") && !strings.HasSuffix(text, " ") {
		return append(line, text...)
	}
	line = append(line, '"')
	for {
		before, after, more := strings.Cut(text, `"`)
		line = append(line, before...)
		if !more {
			return append(line, '"')
		}
		line, text = append(line, `""`...), after
	}
}

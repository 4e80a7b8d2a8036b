package format

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
)

// bufferSize is how much of an answer is gathered before it goes out, in bytes.
const bufferSize = 32 << 10

// WriteNDJSON writes a table as one JSON object a line, as the rows of the JSON answer are.
func WriteNDJSON(w io.Writer, t Table) error {
	if err := check(t.Columns); err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, bufferSize)
	var line []byte
	for values, err := range t.Rows {
		if err == nil {
			line, err = appendObject(line[:0], t.Columns, values)
		}
		if err == nil {
			_, err = out.Write(append(line, '\n'))
		}
		if err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write ndjson: %w", err)
	}
	return nil
}

func appendObject(line []byte, columns []Column, values []any) ([]byte, error) {
	cells := make([]any, len(columns))
	if err := row(columns, values, cells); err != nil {
		return nil, err
	}
	line = append(line, '{')
	for i, c := range columns {
		line = separate(line, i)
		line = append(appendText(line, c.Name), ':')
		switch v := cells[i].(type) {
		case nil:
			line = append(line, "null"...)
		case string:
			line = appendText(line, v)
		case int64:
			line = strconv.AppendInt(line, v, 10)
		case float64:
			line = strconv.AppendFloat(line, v, 'f', -1, 64)
		case time.Time:
			line = append(v.AppendFormat(append(line, '"'), instant), '"')
		case [][]any:
			line = append(line, '[')
			for j, within := range v {
				line = separate(line, j)
				var err error
				if line, err = appendObject(line, c.Columns, within); err != nil {
					return nil, err
				}
			}
			line = append(line, ']')
		}
	}
	return append(line, '}'), nil
}

// appendText writes a JSON string. Most are plain ASCII, and need no look at each of their runes.
func appendText(line []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(text) // a string is always JSON
			return append(line, quoted...)
		}
	}
	return append(append(append(line, '"'), text...), '"')
}

package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// maxLine bounds a row, in bytes.
const maxLine = 4 << 20

// nextHeader is where a page that is no JSON document has the cursor of the next: a string of RFC 9651.
const nextHeader = "Sekisho-Next"

// Pages reads a report page by page, from Read.Cursor to the last. After an error there is no more.
func (c *Client) Pages(ctx context.Context, name string, read Read) iter.Seq2[*Answer, error] {
	return func(yield func(*Answer, error) bool) {
		for {
			a, err := c.Report(ctx, name, read)
			if !yield(a, err) || err != nil || a.Next == "" {
				return
			}
			if a.Next == read.Cursor {
				yield(nil, errors.New("read report: the next page is the same page"))
				return
			}
			read.Cursor = a.Next
		}
	}
}

// Rows reads a report row by row, as NDJSON, through all of its pages: no more than a row is kept in memory. What was
// withheld and what the report rests on, Pages tells. The service counts it as an export: the key needs the role exporter.
// After an error there is no more, and the rows before it are not the whole report.
func (c *Client) Rows(ctx context.Context, name string, read Read) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for {
			next, more, err := c.page(ctx, name, read, yield)
			if err == nil && more && next != "" && next == read.Cursor {
				err = errors.New("the next page is the same page")
			}
			if err != nil {
				yield(nil, fmt.Errorf("read rows: %w", err))
				return
			}
			if !more || next == "" {
				return
			}
			read.Cursor = next
		}
	}
}

// page yields the rows of one page. More is false when the caller wants no more of them.
func (c *Client) page(ctx context.Context, name string, read Read, yield func(Row, error) bool) (next string, more bool, err error) {
	response, err := c.get(ctx, reportPath(name), read.values(), NDJSON)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = response.Body.Close() }()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.UseNumber()
		var row Row
		if decoder.Decode(&row) != nil || row == nil {
			return "", false, errors.New("a line is no row")
		}
		if !yield(row, nil) {
			return "", false, nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", false, bare(err)
	}
	return cursor(response.Header.Get(nextHeader)), true, nil
}

// cursor reads a string of RFC 9651.
func cursor(header string) string {
	text, ok := strings.CutPrefix(header, `"`)
	if !ok {
		return ""
	}
	if text, ok = strings.CutSuffix(text, `"`); !ok {
		return ""
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(text)
}

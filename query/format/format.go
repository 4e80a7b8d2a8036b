// Package format is how an answer travels: as the JSON document that the contract describes, or as a table in CSV,
// NDJSON or Parquet.
//
// A table is written as its rows come, and what is kept in memory is bounded, whatever their number. What a table of
// rows cannot say (whose purpose it is for, what was withheld, what it rests on) goes with it: in the headers of the
// HTTP answer, and in the metadata of a Parquet file, which outlives them.
//
// Decisions, and why:
//
//   - The columns of CSV, NDJSON and Parquet have the machine names of the JSON answer. CSV alone may be meant for a
//     person: where Accept-Language asks for Japanese or English, as every browser's does, its header row is the labels
//     in that language and it begins with a byte order mark, without which Excel reads no UTF-8. A program that sends no
//     Accept-Language gets names and no mark.
//   - A spreadsheet takes a text that begins with = + - @ (or their full-width forms), a tab, CR or LF for a formula. In
//     CSV, such a text gets an apostrophe before it, and so does one that begins with an apostrophe: whoever wants the text
//     as it was takes one apostrophe away, and no two texts become one. Nothing is changed in the other formats.
//   - Rows within a row (the overview's revenue by currency) stay where they are in JSON and NDJSON. CSV and Parquet are
//     flat: there, each stands on a line of its own after its parent's. The column part tells what a line is, the nested
//     columns are named parent_column, and the columns that are none of the line's are empty. So no figure stands twice, and
//     adding up a column is right.
//   - A cell without a value (withheld, or not known) is null, and empty in CSV.
package format

import (
	"fmt"
	"iter"
	"time"
)

// Form is a way for an answer to travel. The zero value is JSON.
type Form uint8

// The forms, in the order of preference where a client takes several alike.
const (
	JSON Form = iota
	CSV
	NDJSON
	Parquet
)

var forms = [...]struct{ name, media, contentType string }{
	JSON:    {"json", "application/json", "application/json"},
	CSV:     {"csv", "text/csv", "text/csv; charset=utf-8; header=present"}, // RFC 7111, RFC 4180
	NDJSON:  {"ndjson", "application/x-ndjson", "application/x-ndjson"},
	Parquet: {"parquet", "application/vnd.apache.parquet", "application/vnd.apache.parquet"},
}

// String is the name by which the parameter format asks for the form, and the ending of a file's name.
func (f Form) String() string { return forms[f].name }

// ContentType is the media type of an answer in this form.
func (f Form) ContentType() string { return forms[f].contentType }

// Kind is what a column holds.
type Kind uint8

// The kinds, and what a cell of each may be beside nil.
const (
	Text  Kind = iota // string
	Count             // any integer of up to 63 bits
	Ratio             // float64; one that is no number is no value
	Money             // string or fmt.Stringer: an exact decimal, no float ever holds an amount
	Clock             // time.Time, or its text in RFC 3339
	Rows              // [][]any: rows of the column's own Columns
)

var kinds = [...]string{"text", "count", "ratio", "money", "clock", "rows"}

func (k Kind) String() string { return kinds[k] }

// Column describes a column of a table.
type Column struct {
	Name             string
	Kind             Kind
	LabelJA, LabelEN string
	Columns          []Column // of Rows; they have no Rows of their own
}

// Table is an answer as rows. Rows gives one value a column, in the order of Columns; it is read once, from first to
// last, and after an error no more.
type Table struct {
	Columns []Column
	Rows    iter.Seq2[[]any, error]
	Meta    Meta
}

// Meta is what an answer says beside its rows. Its texts MUST be names of the catalogue, the registries and the policy,
// never a submitted value: they travel in headers and files.
type Meta struct {
	Report, Site, Purpose, Policy string
	From, To                      time.Time // [From, To)
	TimeZone                      string    // IANA
	Interval                      string    // of a series
	Compared                      Period    // what the columns ..._before are of; zero: nothing
	Threshold                     int       // least number of subjects of a row
	Sample                        float64   // share of the subjects that was read; 0: all of them
	Truncated                     bool      // the limit cut off rows
	Next                          string    // cursor of the next page; empty after the last
	Suppressed                    Suppressed
	Coverage                      Coverage
	Release                       *Release // nil: the answer was not released, but read
	// Remarks are what else has to be known to read the figures right, as machine names: that they are noisy, that a filter
	// had no effect.
	Remarks []string
}

// Period is [From, To).
type Period struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Suppressed counts the groups that were withheld.
type Suppressed struct {
	Groups int    `json:"groups"`
	Reason string `json:"reason,omitempty"`
}

// Release says which release an answer is, and where it answers another question than was asked.
type Release struct {
	ID             string    `json:"id"`
	AsOf           time.Time `json:"as_of"`
	Period         *Period   `json:"period,omitempty"`          // that was released, where it is not the one asked for
	DroppedFilters []string  `json:"dropped_filters,omitempty"` // without effect; by dimension and operator
}

// Coverage says how many events the answer rests on, and how many it does not. Nil is a number that is withheld.
type Coverage struct {
	Included *uint64   `json:"included"`
	LeftOut  []LeftOut `json:"left_out"`
}

// LeftOut is a number of events that the answer does not rest on, by reason.
type LeftOut struct {
	Reason string  `json:"reason"`
	Count  *uint64 `json:"count"`
}

// Named makes the rows of a table from rows by column name. A name that a row does not have is a cell without a value.
func Named[R ~map[string]any](columns []Column, rows []R) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		for _, row := range rows {
			cells, err := named(columns, row)
			if !yield(cells, err) || err != nil {
				return
			}
		}
	}
}

func named[R ~map[string]any](columns []Column, row R) ([]any, error) {
	cells := make([]any, len(columns))
	for i, c := range columns {
		value := row[c.Name]
		if c.Kind != Rows || value == nil {
			cells[i] = value
			continue
		}
		nested, ok := value.([]R)
		if !ok {
			return nil, fault(c)
		}
		all := make([][]any, len(nested))
		for j, below := range nested {
			var err error
			if all[j], err = named(c.Columns, below); err != nil {
				return nil, err
			}
		}
		cells[i] = all
	}
	return cells, nil
}

// fault is a value that is not of its column's kind. It does not hold the value.
func fault(c Column) error { return fmt.Errorf("write %s: the value is no %s", c.Name, c.Kind) }

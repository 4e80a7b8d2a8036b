package client

import (
	"encoding/json"
	"time"
)

// Answer is a report.
type Answer struct {
	Report     string     `json:"report"`
	Site       string     `json:"site"`
	Purpose    string     `json:"purpose"`
	Policy     string     `json:"policy"` // version in force
	From       time.Time  `json:"from"`
	To         time.Time  `json:"to"`        // excluded
	TimeZone   string     `json:"time_zone"` // IANA, the site's
	Interval   string     `json:"interval"`  // of a series
	Compared   *Period    `json:"compared"`  // what the columns …_before are of
	Sample     float64    `json:"sample"`    // share of the subjects that was read, where one was asked for
	Threshold  int        `json:"threshold"` // least number of subjects that a row rests on
	Columns    []Column   `json:"columns"`
	Rows       []Row      `json:"rows"`
	Truncated  bool       `json:"truncated"` // the limit cut off rows
	Next       string     `json:"next"`      // cursor of the rows that follow
	Suppressed Suppressed `json:"suppressed"`
	Coverage   Coverage   `json:"coverage"`
	Release    *Release   `json:"release"` // nil where nothing is released: consent, drops and the like
	Remarks    []Remark   `json:"remarks"` // what has to be known to read the figures right
}

// Release says which release an answer is. The same question gets the same one while nothing has changed that it rests on.
type Release struct {
	ID             string    `json:"id"`
	AsOf           time.Time `json:"as_of"`
	Reused         bool      `json:"reused"`          // it was made for an earlier question
	Period         *Period   `json:"period"`          // that was released, where the one asked for differs by too few people
	DroppedFilters []string  `json:"dropped_filters"` // without effect, for they leave out too few people; by dimension and operator
}

// Remark is something that has to be known to read the figures right.
type Remark struct {
	Name string `json:"name"`
	Text Label  `json:"text"`
}

// Period is [From, To).
type Period struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Label is a text in both languages of the service.
type Label struct {
	JA string `json:"ja"`
	EN string `json:"en"`
}

// Column describes a column of the rows, a dimension or a report.
type Column struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"` // text, count, ratio, money, clock, ordinal or rows
	Label Label  `json:"label"`
}

// Suppressed counts the groups that were withheld.
type Suppressed struct {
	Groups int    `json:"groups"`
	Reason string `json:"reason"`
}

// Coverage says how many events of the site and the period, before any filter, the purpose may see, and why not the
// others. A number that is nil is withheld: too few subjects are behind it.
type Coverage struct {
	Included *uint64   `json:"included"`
	LeftOut  []LeftOut `json:"left_out"`
}

// LeftOut is a number of events that the answer does not rest on.
type LeftOut struct {
	Reason string  `json:"reason"`
	Count  *uint64 `json:"count"`
	Text   Label   `json:"text"`
}

// Explanation is how a report would be read.
type Explanation struct {
	Report     string   `json:"report"`
	Site       string   `json:"site"`
	Purpose    string   `json:"purpose"`
	Policy     string   `json:"policy"`
	Source     string   `json:"source"` // raw, rollup or mixed
	Why        string   `json:"why"`
	Threshold  int      `json:"threshold"`
	Statements []string `json:"statements"`
	LeftOut    []string `json:"left_out"` // statements whose columns the purpose may not use
	Columns    []string `json:"columns"`  // of the events that are read
	Filters    []string `json:"filters"`  // by dimension and operator
}

// Catalogue is what a key may ask for.
type Catalogue struct {
	Sites      []Site   `json:"sites"`
	Reports    []Report `json:"reports"`
	Dimensions []Column `json:"dimensions"` // of filters
}

// Site is a site that the key has a grant for.
type Site struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	TimeZone string    `json:"time_zone"`
	Policy   string    `json:"policy"`
	Purposes []Purpose `json:"purposes"`
}

// Purpose is a purpose that the key has a grant for, and the reports that its data categories allow.
type Purpose struct {
	ID      string   `json:"id"`
	Label   Label    `json:"label"`
	Reports []string `json:"reports"`
}

// Report is a report of the catalogue.
type Report struct {
	Name       string   `json:"name"`
	Label      Label    `json:"label"`
	Columns    []Column `json:"columns"`
	Parameters []string `json:"parameters"` // besides those of every report: Read.More
}

// Row is a row by column name, as encoding/json decodes it, with numbers as json.Number. Its methods give a cell in the
// type of its kind; false means that the row has no such cell, or one of another kind, or that its value is withheld.
type Row map[string]any

// Text is a text, or an amount: a decimal that no float holds exactly.
func (r Row) Text(column string) (string, bool) {
	text, ok := r[column].(string)
	return text, ok
}

// Count is a whole number.
func (r Row) Count(column string) (int64, bool) {
	number, ok := r[column].(json.Number)
	if !ok {
		return 0, false
	}
	n, err := number.Int64()
	return n, err == nil
}

// Ratio is a number.
func (r Row) Ratio(column string) (float64, bool) {
	number, ok := r[column].(json.Number)
	if !ok {
		return 0, false
	}
	n, err := number.Float64()
	return n, err == nil
}

// Time is an instant, in the site's time zone.
func (r Row) Time(column string) (time.Time, bool) {
	text, ok := r[column].(string)
	if !ok {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, text)
	return t, err == nil
}

// Rows are rows within the row, such as the overview's revenue by currency.
func (r Row) Rows(column string) ([]Row, bool) {
	all, ok := r[column].([]any)
	if !ok {
		return nil, false
	}
	rows := make([]Row, len(all))
	for i, one := range all {
		cells, ok := one.(map[string]any)
		if !ok {
			return nil, false
		}
		rows[i] = cells
	}
	return rows, true
}

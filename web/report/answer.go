package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
)

// label is a text in the languages of the page.
type label struct {
	JA string `json:"ja"`
	EN string `json:"en"`
}

func (l label) in(language string) string {
	if language == "ja" {
		return l.JA
	}
	return l.EN
}

// catalogue is what the API says that the key may ask for.
type catalogue struct {
	Sites []struct {
		ID       string `json:"id"`
		Name     string `json:"name"`
		TimeZone string `json:"time_zone"`
		Purposes []struct {
			ID      string   `json:"id"`
			Label   label    `json:"label"`
			Reports []string `json:"reports"`
		} `json:"purposes"`
	} `json:"sites"`
	Reports []struct {
		Name       string   `json:"name"`
		Label      label    `json:"label"`
		Columns    []column `json:"columns"`
		Parameters []string `json:"parameters"`
	} `json:"reports"`
	Dimensions []struct {
		Name  string `json:"name"`
		Label label  `json:"label"`
	} `json:"dimensions"`
}

// zone is the time zone of a site; UTC for one that the catalogue does not know, whose report will be refused.
func (c *catalogue) zone(site string) *time.Location {
	for _, s := range c.Sites {
		if s.ID == site {
			if zone, err := time.LoadLocation(s.TimeZone); err == nil {
				return zone
			}
		}
	}
	return time.UTC
}

// parameters are those of a report's own.
func (c *catalogue) parameters(report string) []string {
	for _, r := range c.Reports {
		if r.Name == report {
			return r.Parameters
		}
	}
	return nil
}

func (c *catalogue) has(report string) bool {
	for _, r := range c.Reports {
		if r.Name == report {
			return true
		}
	}
	return false
}

// allowed reports whether a purpose's data categories allow a report. Where the catalogue does not say, the API will.
func (c *catalogue) allowed(site, purpose, report string) bool {
	for _, s := range c.Sites {
		for _, p := range s.Purposes {
			if s.ID == site && p.ID == purpose {
				return slices.Contains(p.Reports, report)
			}
		}
	}
	return true
}

// labelOf is what a report calls a column; the others before the one that is named, whose own may be the heading above.
func (c *catalogue) labelOf(name, last string) (found label, ok bool) {
	for _, r := range c.Reports {
		if ok && r.Name == last {
			continue
		}
		for _, column := range r.Columns {
			if column.Name == name {
				if r.Name != last {
					return column.Label, true
				}
				found, ok = column.Label, true
			}
		}
	}
	return found, ok
}

// column describes a column of the rows.
type column struct {
	Name  string `json:"name"`
	Label label  `json:"label"`
	Kind  string `json:"kind"` // text, count, ratio, money, clock; "": its name and its values tell
}

// row is a row by column name. Its values are strings, json.Number, nil, or []any of rows within it.
type row = map[string]any

// answer is a report as the API gives it (schemas/openapi/query.v1.yaml).
type answer struct {
	Report     string      `json:"report"`
	Site       string      `json:"site"`
	Purpose    string      `json:"purpose"`
	Policy     string      `json:"policy"`
	From       time.Time   `json:"from"`
	To         time.Time   `json:"to"` // exclusive
	TimeZone   string      `json:"time_zone"`
	Interval   string      `json:"interval"`
	Compared   *span       `json:"compared"`
	Sample     json.Number `json:"sample"`
	Threshold  int         `json:"threshold"`
	Columns    []column    `json:"columns"`
	Rows       []row       `json:"rows"`
	Truncated  bool        `json:"truncated"`
	Next       string      `json:"next"`
	Suppressed struct {
		Groups int    `json:"groups"`
		Reason string `json:"reason"`
	} `json:"suppressed"`
	Noise   json.RawMessage `json:"noise"`
	Release *struct {
		AsOf           time.Time `json:"as_of"`
		Reused         bool      `json:"reused"`
		Period         *span     `json:"period"`
		DroppedFilters []string  `json:"dropped_filters"`
	} `json:"release"`
	Remarks []struct {
		Text label `json:"text"`
	} `json:"remarks"`
	Coverage struct {
		Included *json.Number `json:"included"`
		LeftOut  []struct {
			Reason string       `json:"reason"`
			Count  *json.Number `json:"count"`
			Text   label        `json:"text"`
		} `json:"left_out"`
	} `json:"coverage"`

	location *time.Location
}

// span is a period.
type span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"` // exclusive
}

// about reports whether the threshold itself has no sharp edge: the API words the reason so where numbers are noisy.
func (a *answer) about() bool { return strings.HasPrefix(a.Suppressed.Reason, "about ") }

// noisy reports whether the API says that its numbers are uncertain on purpose.
func (a *answer) noisy() bool {
	if a.about() {
		return true
	}
	switch strings.TrimSpace(string(a.Noise)) {
	case "", "null", "false", "0", "{}", "[]", `""`:
		return false
	}
	return true
}

// decode reads one JSON document and keeps its numbers as they are written.
func decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("read answer: more than one document")
	}
	return nil
}

func readAnswer(body []byte) (*answer, error) {
	a := &answer{}
	if err := decode(body, a); err != nil {
		return nil, err
	}
	if len(a.Columns) == 0 {
		return nil, errors.New("read answer: it has no columns")
	}
	var err error
	if a.location, err = time.LoadLocation(a.TimeZone); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return a, nil
}

// problem is an error as the API tells it (RFC 9457).
type problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// --- What a column is -------------------------------------------------------------------------------------------------

// kind is how the values of a column are written.
type kind uint8

const (
	words   kind = iota
	ordinal      // a number that names the row
	whole        // a number as it is
	share        // a ratio, as a percentage
	percent      // a percentage already
	seconds      // a duration
	amount       // money, with the row's currency
	moment       // a time in the site's zone
	nested       // rows within the row
)

// names reports whether values of the kind say which row it is.
func (k kind) names() bool { return k == words || k == moment || k == ordinal }

// counts reports whether values of the kind add up to something: lengths of bars, heights of a line.
func (k kind) counts() bool { return k == whole || k == amount }

// suffixes of the columns that compare.
const (
	beforeSuffix = "_before"
	changeSuffix = "_change"
)

// The API's columns say what they are called, not what they hold. Names of one meaning, and words of a name, between
// underscores, that always mean the same.
var (
	meanings = map[string]kind{"step": ordinal, "offset": ordinal, "level": ordinal, "from_first": share, "from_previous": share}
	shares   = []string{"rate", "share", "ratio", "viewability"}
	amounts  = []string{"revenue", "amount", "value", "price"}
	scrolls  = []string{"percent", "scroll"}
)

// kindOf tells how a column is written: by its kind where the API says it, and by its name and first value where not.
func (a *answer) kindOf(c column) kind {
	name := strings.TrimSuffix(c.Name, beforeSuffix)
	parts := strings.Split(name, "_")
	has := func(all []string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return slices.Contains(all, p) })
	}
	var sample any
	for _, r := range a.Rows {
		if sample = r[c.Name]; sample != nil {
			break
		}
	}
	switch v := sample.(type) {
	case []any:
		return nested
	case string:
		switch {
		case c.Kind == "clock", c.Kind == "" && isMoment(v):
			return moment
		case c.Kind == "money", c.Kind == "" && isAmount(v) && has(amounts):
			return amount
		}
		return words
	case json.Number:
		meaning, fixed := meanings[name]
		switch {
		case c.Kind == "ordinal", fixed && meaning == ordinal && c.Kind == "":
			return ordinal
		case slices.Contains(parts, "seconds"):
			return seconds
		case has(scrolls):
			return percent
		case c.Kind != "count" && (meaning == share || has(shares)):
			return share
		}
		return whole
	}
	switch c.Kind { // every value is withheld
	case "count", "ratio":
		return whole
	case "money":
		return amount
	case "clock":
		return moment
	}
	return words
}

func isMoment(v string) bool {
	_, err := time.Parse(time.RFC3339, v)
	return err == nil
}

// isAmount reports whether a text is a plain decimal number.
func isAmount(v string) bool {
	digits := strings.TrimPrefix(v, "-")
	before, after, point := strings.Cut(digits, ".")
	plain := func(s string) bool {
		return s != "" && strings.Trim(s, "0123456789") == ""
	}
	return plain(before) && (!point || plain(after))
}

// plainText is a text from outside without what would turn a line around or hide in it.
func plainText(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c < ' ' || c >= 0x7f && c < 0xa0:
			return ' '
		case c >= 0x202a && c <= 0x202e, c >= 0x2066 && c <= 0x2069, c == 0x200e, c == 0x200f, c == 0xfeff:
			return -1
		}
		return c
	}, norm.NFC.String(s))
}

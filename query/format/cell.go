package format

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
)

// instant is how a moment is written: to the second, and finer where it is finer.
const instant = "2006-01-02T15:04:05.999Z07:00"

// plain is an amount. Its length is bounded by what DECIMAL(38,4) holds: 34 digits before the point.
var plain = regexp.MustCompile(`^-?[0-9]{1,34}(?:\.[0-9]{1,4})?$`)

// cell is a value in the one type of its kind: string, int64, float64, time.Time, [][]any; an amount stays the text it
// is. Nil is no value.
func cell(c Column, value any) (any, error) {
	switch c.Kind {
	case Text:
		switch v := value.(type) {
		case nil:
			return nil, nil
		case string:
			return strings.ToValidUTF8(v, "\uFFFD"), nil
		}
	case Count:
		return integer(c, value)
	case Ratio:
		switch v := value.(type) {
		case nil:
			return nil, nil
		case *float64:
			if v == nil {
				return nil, nil
			}
			return cell(c, *v)
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, nil
			}
			return v, nil
		}
	case Money:
		switch v := value.(type) {
		case nil:
			return nil, nil
		case string:
			if plain.MatchString(v) {
				return v, nil
			}
		case fmt.Stringer:
			return cell(c, v.String())
		}
	case Clock:
		switch v := value.(type) {
		case nil:
			return nil, nil
		case time.Time:
			return v.Truncate(time.Millisecond), nil
		case string:
			if t, err := time.Parse(time.RFC3339, v); err == nil {
				return t.Truncate(time.Millisecond), nil
			}
		}
	case Rows:
		switch v := value.(type) {
		case nil:
			return nil, nil
		case [][]any:
			return v, nil
		}
	}
	return nil, fault(c)
}

func integer(c Column, value any) (any, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case *uint64:
		if v == nil {
			return nil, nil
		}
		return integer(c, *v)
	case *int64:
		if v == nil {
			return nil, nil
		}
		return *v, nil
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case uint32:
		return int64(v), nil
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v), nil
		}
	}
	return nil, fault(c)
}

// row brings every value of a row into the type of its kind.
func row(columns []Column, values, cells []any) error {
	if len(values) != len(columns) {
		return errors.New("write table: a row has not as many cells as there are columns")
	}
	for i, c := range columns {
		var err error
		if cells[i], err = cell(c, values[i]); err != nil {
			return err
		}
	}
	return nil
}

// check refuses a table that no reader could tell the columns of.
func check(columns []Column) error {
	seen := map[string]bool{}
	for _, c := range columns {
		if c.Name == "" || seen[c.Name] {
			return errors.New("write table: a column has no name of its own")
		}
		seen[c.Name] = true
	}
	return nil
}

// flat is a table without rows within rows.
func (t Table) flat() (Table, error) {
	own, nested := 0, 0
	for _, c := range t.Columns {
		if c.Kind == Rows {
			nested += len(c.Columns)
		} else {
			own++
		}
	}
	if own == len(t.Columns) {
		return t, check(t.Columns)
	}
	part := Column{Name: "part", LabelJA: "区分", LabelEN: "Part"}
	columns := append(make([]Column, 0, 1+own+nested), part)
	for _, c := range t.Columns {
		if c.Kind != Rows {
			columns = append(columns, c)
		}
	}
	for _, c := range t.Columns {
		for _, below := range c.Columns {
			below.Name = c.Name + "_" + below.Name
			below.LabelJA, below.LabelEN = c.LabelJA+"："+below.LabelJA, c.LabelEN+": "+below.LabelEN
			columns = append(columns, below)
		}
	}
	lines := func(yield func([]any, error) bool) {
		for values, err := range t.Rows {
			if err == nil && len(values) != len(t.Columns) {
				err = errors.New("write table: a row has not as many cells as there are columns")
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !t.lines(values, len(columns), yield) {
				return
			}
		}
	}
	return Table{Columns: columns, Rows: lines, Meta: t.Meta}, check(columns)
}

// lines gives a row's own line, then one for each row within it.
func (t Table) lines(values []any, width int, yield func([]any, error) bool) bool {
	line := append(make([]any, 0, width), t.Meta.Report)
	for i, c := range t.Columns {
		if c.Kind != Rows {
			line = append(line, values[i])
		}
	}
	at := len(line)
	if !yield(line[:width], nil) {
		return false
	}
	for i, c := range t.Columns {
		if c.Kind != Rows {
			continue
		}
		within, err := cell(c, values[i])
		if err != nil {
			yield(nil, err)
			return false
		}
		rows, _ := within.([][]any) // none where there is no value
		for _, r := range rows {
			if len(r) != len(c.Columns) {
				yield(nil, fault(c))
				return false
			}
			line := make([]any, width)
			line[0] = c.Name
			copy(line[at:], r)
			if !yield(line, nil) {
				return false
			}
		}
		at += len(c.Columns)
	}
	return true
}

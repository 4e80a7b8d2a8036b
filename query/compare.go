package query

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// compare adds to every row what it was in the earlier period, and by which share it changed. Rows belong together
// when their text is the same; those of a series, when they are the same step of it. What was not there before, or too
// small to be shown, is null.
func (a *Answer) compare(before []Row, columns []column) {
	earlier := map[string]Row{}
	for _, row := range before {
		earlier[keyOf(row, columns, a.Compared.From, a.Interval)] = row
	}
	for _, row := range a.Rows {
		was := earlier[keyOf(row, columns, a.From, a.Interval)]
		for _, c := range columns {
			if c.isKey() {
				continue
			}
			row[c.name+"_before"] = nil
			if value, there := was[c.name]; there {
				row[c.name+"_before"] = value
			}
			row[c.name+"_change"] = change(was[c.name], row[c.name])
		}
	}
	for _, c := range columns {
		if !c.isKey() {
			a.Columns = append(a.Columns,
				Column{Name: c.name + "_before", Kind: kindNames[c.kind], Label: label{c.label.JA + "（前の期間）", c.label.EN + " (before)"}, kind: c.kind},
				Column{Name: c.name + "_change", Kind: kindNames[ratio], Label: label{c.label.JA + "（増減率）", c.label.EN + " (change)"}, kind: ratio})
		}
	}
}

// keyOf names a row within its period.
func keyOf(row Row, columns []column, from time.Time, interval string) string {
	var key strings.Builder
	for _, c := range columns {
		switch c.kind {
		case text:
			fmt.Fprintf(&key, "%q,", row[c.name])
		case ordinal:
			fmt.Fprintf(&key, "%v,", row[c.name])
		case clock:
			at, err := time.Parse(time.RFC3339, fmt.Sprint(row[c.name]))
			if err == nil {
				fmt.Fprintf(&key, "%d,", steps(from, at, interval))
			}
		}
	}
	return key.String()
}

// steps is how many intervals at is after the one of from.
func steps(from, at time.Time, interval string) int {
	at = at.In(from.Location())
	days := func(t time.Time) int {
		return int(time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC).Unix() / 86400)
	}
	switch interval {
	case "hour":
		return int(math.Floor(at.Sub(from).Hours()))
	case "week":
		monday := func(t time.Time) int { return days(t) - (int(t.Weekday())+6)%7 }
		return (monday(at) - monday(from)) / 7
	case "month":
		return at.Year()*12 + int(at.Month()) - from.Year()*12 - int(from.Month())
	}
	return days(at) - days(from)
}

// change is (now-before)/before, rounded to four places; nil where there is no before.
func change(before, now any) any {
	was, ok := measure(before)
	is, fine := measure(now)
	if !ok || !fine || was == 0 {
		return nil
	}
	return math.Round((is-was)/was*1e4) / 1e4
}

func measure(v any) (float64, bool) {
	switch x := v.(type) {
	case uint64:
		return float64(x), true
	case float64:
		return x, true
	case string:
		d, err := decimal.NewFromString(x)
		if err != nil {
			return 0, false
		}
		return d.InexactFloat64(), true
	}
	return 0, false
}

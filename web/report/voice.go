package report

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"
	"golang.org/x/text/currency"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// voice says things in a language.
type voice struct {
	language string
	texts    map[string]string
	lacks    error // the first text that was not there: half a page is no page
}

// T is a text in the page's language.
func (v *voice) T(key string, args ...any) (string, error) {
	text, ok := v.texts[key]
	if !ok {
		return "", fmt.Errorf("no text %q in %s", key, v.language)
	}
	if len(args) > 0 {
		text = fmt.Sprintf(text, args...)
	}
	return text, nil
}

// say is T where no error can be returned: it is kept until the page is written.
func (v *voice) say(key string, args ...any) string {
	text, err := v.T(key, args...)
	if err != nil && v.lacks == nil {
		v.lacks = err
	}
	return text
}

// grouped puts commas into a whole number, as both languages do.
func grouped(digits string) string {
	sign := ""
	if rest, negative := strings.CutPrefix(digits, "-"); negative {
		sign, digits = "−", rest
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// fixed writes an exact decimal with so many places.
func fixed(d decimal.Decimal, places int32) string {
	before, after, point := strings.Cut(d.StringFixed(places), ".")
	if point {
		return grouped(before) + "." + after
	}
	return grouped(before)
}

// Number writes a count.
func (*voice) Number(n int) string { return grouped(strconv.Itoa(n)) }

// number writes a number as it is, with two places at most.
func (*voice) number(n decimal.Decimal) string {
	if n.IsInteger() {
		return fixed(n, 0)
	}
	return strings.TrimSuffix(fixed(n, 2), ".00")
}

var hundred = decimal.NewFromInt(100)

// ratio writes a share as a percentage.
func (*voice) ratio(n decimal.Decimal) string { return fixed(n.Mul(hundred), 1) + "%" }

// change writes a relative change with its sign.
func (v *voice) change(n decimal.Decimal) string {
	if n.IsPositive() {
		return "+" + v.ratio(n)
	}
	return v.ratio(n)
}

// duration writes seconds as hours, minutes and seconds: the two greatest of them that there are.
func (v *voice) duration(n decimal.Decimal) string {
	whole := n.Round(0).IntPart()
	if whole < 60 {
		return v.say("duration.seconds", strings.TrimSuffix(fixed(n, 1), ".0"))
	}
	if whole < 3600 {
		return v.say("duration.minutes", whole/60, whole%60)
	}
	return v.say("duration.hours", grouped(strconv.FormatInt(whole/3600, 10)), whole%3600/60)
}

// symbols of the currencies that readers know by them. Any other goes by its code.
var symbols = map[string]string{"JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£"}

// money writes an exact amount with its currency. The places are those of the currency (ISO 4217).
func (v *voice) money(n decimal.Decimal, code string) string {
	unit, err := currency.ParseISO(code)
	if err != nil {
		return v.number(n)
	}
	places, _ := currency.Standard.Rounding(unit)
	text := fixed(n, int32(places)) //nolint:gosec // G115: four at most
	symbol, short := symbols[unit.String()]
	switch {
	case v.language == "ja" && unit == currency.JPY:
		return text + "円"
	case short:
		if rest, negative := strings.CutPrefix(text, "−"); negative {
			return "−" + symbol + rest
		}
		return symbol + text
	}
	return unit.String() + "\u00a0" + text
}

// layouts of moments by interval: for a table, and short for an axis.
var layouts = map[string]map[string][2]string{
	"ja": {
		"hour": {"2006年1月2日 15:04", "1/2 15:04"}, "day": {"2006年1月2日", "1/2"},
		"month": {"2006年1月", "2006/1"}, "": {"2006年1月2日 15:04", "15:04"},
	},
	"en": {
		"hour": {"2 January 2006, 15:04", "2 Jan 15:04"}, "day": {"2 January 2006", "2 Jan"},
		"month": {"January 2006", "Jan 2006"}, "": {"2 January 2006, 15:04", "15:04"},
	},
}

var weekdays = [...]string{"日", "月", "火", "水", "木", "金", "土"}

// at writes the start of an interval. An hour that the clock shows twice is told apart by its distance from UTC.
func (v *voice) at(t time.Time, interval string, short bool) string {
	which := 0
	if short {
		which = 1
	}
	key := interval
	if interval == "week" {
		key = "day"
	}
	layout, known := layouts[v.language][key]
	if !known {
		layout = layouts[v.language][""]
	}
	text := t.Format(layout[which])
	switch {
	case key == "day" && !short && interval != "week":
		if v.language == "ja" {
			return text + "（" + weekdays[t.Weekday()] + "）"
		}
		return t.Format("Mon, ") + text
	case interval == "week" && !short:
		return v.say("week", text)
	case interval == "hour" && !short && twice(t):
		return text + t.Format(" (UTC-07:00)")
	}
	return text
}

// twice reports whether the clock shows the hour of t twice, at the end of daylight saving.
func twice(t time.Time) bool {
	const wall = "2006-01-02 15"
	return t.Add(time.Hour).Format(wall) == t.Format(wall) || t.Add(-time.Hour).Format(wall) == t.Format(wall)
}

// Day writes a date.
func (v *voice) Day(t time.Time) string { return v.at(t, "day", false) }

// period writes [from, to): days where it is of whole days, or else moments.
func (v *voice) period(from, to time.Time) string {
	midnight := func(t time.Time) bool { return t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0 }
	if !midnight(from) || !midnight(to) {
		return v.say("span", v.at(from, "", false), v.at(to, "", false))
	}
	last := to.AddDate(0, 0, -1)
	if !from.Before(last) {
		return v.Day(from)
	}
	return v.say("span", v.Day(from), v.Day(last))
}

// places are the columns whose codes have names in every language.
var places = map[string]func(tag language.Tag, code string) string{
	"country": func(tag language.Tag, code string) string {
		region, err := language.ParseRegion(code)
		if err != nil || len(code) != 2 {
			return ""
		}
		return display.Regions(tag).Name(region)
	},
	"language": func(tag language.Tag, code string) string {
		parsed, err := language.Parse(code)
		if err != nil {
			return ""
		}
		return display.Tags(tag).Name(parsed)
	},
}

// word writes a text of a row: a code by its name, a word of the house's own in the page's language, and anything else
// as it is.
func (v *voice) word(column, value string) string {
	if value == "" {
		return v.say("none")
	}
	if name, ok := places[column]; ok {
		if said := name(language.Make(v.language), value); said != "" {
			return said
		}
	}
	column = strings.TrimPrefix(strings.TrimPrefix(column, "from_"), "to_")
	switch column {
	case "outcome":
		column = "reason"
	case "save_data", "reduced_motion":
		column = "flag"
	case "kind":
		value = strings.TrimSuffix(value, "*") // of a step with a pattern
	}
	if said, ok := v.texts["value."+column+"."+value]; ok {
		return said
	}
	return plainText(value)
}

// cell writes a value of a row.
func (v *voice) cell(k kind, c column, r row, a *answer) string {
	value := r[c.Name]
	if value == nil {
		return ""
	}
	switch k {
	case words:
		if text, ok := value.(string); ok {
			return v.word(c.Name, text)
		}
		return plainText(fmt.Sprint(value))
	case moment:
		if t, err := time.Parse(time.RFC3339, fmt.Sprint(value)); err == nil {
			return v.at(t.In(a.location), a.Interval, false)
		}
		return plainText(fmt.Sprint(value))
	}
	n, ok := decimalOf(value)
	if !ok {
		return plainText(fmt.Sprint(value))
	}
	code, _ := r["currency"].(string)
	return v.measure(k, n, code)
}

// measure writes a number of a kind.
func (v *voice) measure(k kind, n decimal.Decimal, currency string) string {
	switch k {
	case share:
		return v.ratio(n)
	case percent:
		return fixed(n, 1) + "%"
	case seconds:
		return v.duration(n)
	case amount:
		return v.money(n, currency)
	}
	return v.number(n)
}

// decimalOf is a value as an exact number.
func decimalOf(value any) (decimal.Decimal, bool) {
	var text string
	switch x := value.(type) {
	case json.Number:
		text = x.String()
	case string:
		if !isAmount(x) {
			return decimal.Zero, false
		}
		text = x
	default:
		return decimal.Zero, false
	}
	if len(text) > 60 || strings.ContainsAny(text, "eE") && len(text) > 24 {
		return decimal.Zero, false
	}
	n, err := decimal.NewFromString(text)
	if err != nil || n.Exponent() > 40 || n.Exponent() < -40 {
		return decimal.Zero, false
	}
	return n, true
}

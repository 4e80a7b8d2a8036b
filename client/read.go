package client

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Read says what of a report is asked for. Site and Purpose are required; the zero value of the rest leaves it to the
// service.
type Read struct {
	Site    string // id in the site registry
	Purpose string // machine id of one purpose of the policy in force
	From    Bound  // default: six days before the day of To
	To      Bound  // default: today
	Filters []Filter
	// Compare adds an earlier period to compare with: previous_period, previous_year, or one of its own.
	Compare                Comparison
	CompareFrom, CompareTo Bound
	Interval               string  // of series: hour, day, week, month
	Segment                string  // a saved segment of the site: its filters count too
	Sample                 float64 // read only this share of the subjects, from 0.001 to 1
	Limit                  int     // rows of a page: at most 1,000, or 100,000 of Rows and Export
	Cursor                 string  // Answer.Next of an earlier answer to the same read
	// More are the parameters that only some reports take, by name.
	More url.Values
}

// Comparison is a period to compare with.
type Comparison string

// The periods that the service knows by name.
const (
	PreviousPeriod Comparison = "previous_period"
	PreviousYear   Comparison = "previous_year"
)

// Bound is an end of a period: made by Day or by At.
type Bound string

// Day is a whole day in the site's time zone: the date that t has where t is. As the end of a period it is included.
func Day(t time.Time) Bound { return Bound(t.Format(time.DateOnly)) }

// At is an instant. As the end of a period it is excluded.
func At(t time.Time) Bound { return Bound(t.Format("2006-01-02T15:04:05.999Z07:00")) }

// Filter narrows a report: made by Is, Contains or Like, and turned round by Not.
type Filter string

// Is wants a dimension to have a value. Several values of one dimension are alternatives.
func Is(dimension, value string) Filter { return Filter(dimension + ":" + value) }

// Contains wants the value to contain a part, in any case.
func Contains(dimension, part string) Filter { return Filter(dimension + "~" + part) }

// Like wants the value to match a pattern, in which * stands for anything.
func Like(dimension, pattern string) Filter { return Filter(dimension + "*" + pattern) }

// Not is everything but the filter.
func Not(f Filter) Filter { return "!" + f }

func (r Read) values() url.Values {
	values := maps.Clone(r.More)
	if values == nil {
		values = url.Values{}
	}
	set := func(name, value string) {
		if value != "" {
			values.Set(name, value)
		}
	}
	set("site", r.Site)
	set("purpose", r.Purpose)
	set("from", string(r.From))
	set("to", string(r.To))
	set("compare", string(r.Compare))
	set("compare_from", string(r.CompareFrom))
	set("compare_to", string(r.CompareTo))
	set("interval", r.Interval)
	set("segment", r.Segment)
	set("cursor", r.Cursor)
	if r.Limit != 0 {
		set("limit", strconv.Itoa(r.Limit))
	}
	if r.Sample != 0 {
		set("sample", strconv.FormatFloat(r.Sample, 'f', -1, 64))
	}
	for _, f := range r.Filters {
		values["filter"] = append(slices.Clip(values["filter"]), string(f))
	}
	return values
}

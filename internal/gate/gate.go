// Package gate holds the one statement by which stored events are read for a purpose: the query service asks its reports
// behind it, and the rollups are built behind it, so that what one may see the other may.
//
// Everything behind the gate is of a site's day, the day of the site's time zone. A session is a session id within a
// day. A subject is resolved within a day. So a measure of a period is the sum over its days, and its subjects are the
// union over its days.
package gate

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
)

//go:embed gate.sql
var statement string

// EpochMonths is the length of a pseudonym key's epoch, as the pipeline cuts it (docs/adr/0007-two-keys.md). Subjects of
// two epochs cannot be told to be one person's.
const EpochMonths = 6

// Columns are what the statements see of every row, besides subject, daily and day.
var Columns = []string{"event_id", "received_at", "session_id", "type"}

// Gate is the common table expressions denied, signed_in and gate, without WITH. columns are all of the events table
// that the statement behind it can see, besides
//
//	day       Date, of the site's time zone
//	subject   UInt64, whom the row counts for; 0 is nobody
//	daily     Bool, the subject is a cookieless visitor's, and another on the next day
//	left_out  String, why the purpose may not see the row; empty if it may
//
// Bound parameters: site, time_zone String; policy String, the policy's id and a slash; bit UInt8, the purpose's; from, to Int64,
// milliseconds since 1970, to excluded.
func Gate(columns []string) string {
	var list strings.Builder
	for _, c := range columns {
		list.WriteString("e." + c + " AS " + c + ",\n        ")
	}
	return strings.Replace(statement, "/*columns*/", strings.TrimSpace(list.String()), 1)
}

// Permitted is Gate and, behind it, the expression permitted: the rows that pass. It has Columns, the columns asked for,
// day, subject and daily. conditions narrow it.
func Permitted(columns, conditions []string) string {
	columns = slices.Concat(Columns, columns)
	slices.Sort(columns)
	columns = slices.Compact(columns)
	where := ""
	for _, c := range conditions {
		where += "\n        AND (" + c + ")"
	}
	return Gate(columns) + ",\npermitted AS\n(\n    SELECT " + strings.Join(columns, ", ") + ", day, subject, daily\n    FROM gate\n    WHERE left_out = ''" + where + "\n)"
}

// Params are the gate's parameters.
func Params(site, policy string, bit uint8, from, to time.Time, location *time.Location) map[string]string {
	return map[string]string{
		"site": site, "policy": policy + "/", "bit": strconv.Itoa(int(bit)), "time_zone": location.String(),
		"from": strconv.FormatInt(from.UnixMilli(), 10), "to": strconv.FormatInt(to.UnixMilli(), 10),
	}
}

// Epochs is how many epochs of pseudonym keys [from, to) touches.
func Epochs(from, to time.Time) int {
	number := func(t time.Time) int {
		t = t.UTC()
		return (t.Year()*12 + int(t.Month()) - 1) / EpochMonths
	}
	return number(to.Add(-time.Nanosecond)) - number(from) + 1
}

// Functions are for statements written as text/template, whose groups count the people in them:
//
//	{{people "condition"}}  the aggregates lasting, passing, days, low, high and people, of the rows that match
//	{{sessions}}            how many sessions there are, each of one day
//	{{subjects}}            Subjects
//
// lasting are the distinct subjects, passing the distinct daily ones, days the days on which there are daily ones. low
// and high are the least and the greatest hash of the subjects. people is lasting and passing.
var Functions = template.FuncMap{
	"people":   people,
	"sessions": func() string { return sessions },
	"subjects": func() string { return Subjects },
}

// sessions is faster over one number than over the pair.
const sessions = "uniqExactIf(bitXor(session_id, intHash64(day)), session_id != 0)"

func people(condition string) string {
	var list strings.Builder
	for _, a := range []struct{ aggregate, condition, name string }{
		{"uniqExactIf(subject, ", "subject != 0 AND NOT daily", "lasting"},
		{"uniqExactIf(subject, ", "subject != 0 AND daily", "passing"},
		{"uniqExactIf(day, ", "subject != 0 AND daily", "days"},
		{"minIf(cityHash64(subject), ", "subject != 0", "low"},
		{"maxIf(cityHash64(subject), ", "subject != 0", "high"},
	} {
		list.WriteString(a.aggregate + a.condition + " AND (" + condition + ")) AS " + a.name + ",\n    ")
	}
	return list.String() + "lasting + passing AS people"
}

// Subjects is how many people are surely behind a group, counted within one epoch of keys: a visitor without a cookie is
// another subject each day, and anybody is another one in the next epoch. By the pigeonhole principle some epoch, and
// some day, has at least the mean. Bound parameter: epochs UInt32.
const Subjects = "greatest(intDiv(lasting + {epochs:UInt32} - 1, {epochs:UInt32}), intDiv(passing + greatest(days, 1) - 1, greatest(days, 1)))"

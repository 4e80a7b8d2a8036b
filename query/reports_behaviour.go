package query

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/sekisho/sekisho/internal/core"
)

// oneOf is a parameter with a closed list of values, of which the first is the default.
func oneOf(name, message string, values ...string) parameter {
	return parameter{name: name, bind: func(given []string, bound map[string]string) *core.Error {
		bound[name] = values[0]
		if len(given) > 0 {
			bound[name] = given[0]
		}
		if !slices.Contains(values, bound[name]) {
			return invalid(name, message)
		}
		return nil
	}}
}

const (
	defaultWindow = 24 * time.Hour
	maxWindow     = 90 * 24 * time.Hour
)

var (
	windowForm  = regexp.MustCompile(`^([1-9][0-9]{0,3})([smhd])$`)
	windowUnits = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
)

// window is how long a funnel may take, bound in milliseconds.
var window = parameter{name: "window", bind: func(values []string, bound map[string]string) *core.Error {
	length := defaultWindow
	if len(values) > 0 {
		form := windowForm.FindStringSubmatch(values[0])
		if form == nil {
			return invalid("window", "not a number of seconds, minutes, hours or days, such as 30m or 7d")
		}
		n, err := strconv.Atoi(form[1])
		if err != nil {
			return invalid("window", "not a number of seconds, minutes, hours or days, such as 30m or 7d")
		}
		if length = time.Duration(n) * windowUnits[form[2]]; length > maxWindow {
			return invalid("window", "longer than 90 days")
		}
	}
	bound["window"] = strconv.FormatInt(length.Milliseconds(), 10)
	return nil
}}

// strict is whether the steps of a funnel have an order. The statement is another one without.
var strict = func() parameter {
	p := oneOf("strict", "neither order nor any", "order", "any")
	p.match = func(values []string) (conditions, reads []string) {
		if slices.Contains(values, "any") {
			return []string{"true"}, nil
		}
		return nil, nil
	}
	return p
}()

// levels is how many acts away a journey is followed.
var levels = parameter{name: "steps", bind: func(values []string, bound map[string]string) *core.Error {
	bound["steps"] = "3"
	if len(values) > 0 {
		bound["steps"] = values[0]
	}
	if !slices.Contains([]string{"1", "2", "3", "4", "5"}, bound["steps"]) {
		return invalid("steps", "not a whole number from 1 to 5")
	}
	return nil
}}

// operationNamed picks one operation or event of the site's own by its name.
var operationNamed = parameter{name: "operation", bind: func(values []string, bound map[string]string) *core.Error {
	bound["operation"] = ""
	if len(values) > 0 {
		f, fault := parseFilter("operation:" + values[0])
		if fault != nil || f.value == "" {
			return invalid("operation", "not the name of an operation")
		}
		bound["operation"] = f.value
	}
	return nil
}}

var (
	persons       = column{name: "people", kind: count, label: label{"人数", "People"}}
	share         = column{name: "share", kind: ratio, label: label{"割合", "Share"}, derived: true}
	timesUsed     = column{name: "times", label: label{"回数の区分", "Number of times"}}
	operationName = column{name: "name", label: label{"操作", "Operation"}}
	occurrences   = column{name: "count", kind: count, label: label{"回数", "Count"}}
)

// remarkTexts tell what has to be known to read the figures right.
var remarkTexts = map[string]label{
	"lasting_only": {
		"Cookieなしの訪問者は翌日には別の仮名になり、再訪として数えられないため、この集計に含まれません",
		"Visitors without a cookie have another pseudonym on the next day and cannot be seen to return: they are not counted",
	},
	"lasting_beyond_a_day": {
		"期限が1日を超えるファネルには、Cookieなしの訪問者は含まれません（翌日には別の仮名になるため）",
		"A window of more than a day counts no visitors without a cookie: they have another pseudonym on the next day",
	},
	"unrecorded_refusals": {
		"一度も同意せずにすべてを断った人は、識別子を残さないため同意の台帳になく、ここに含まれません。その人のイベントは「保存しなかったイベント」の件数に表れます",
		"Whoever refused everything without ever having agreed leaves no identifier, is not in the consent ledger and not counted here; their events are among those that were not stored",
	},
	"shown_only": {
		"累計と割合は、示した行だけの合計にもとづきます",
		"Running totals and shares are of the rows shown",
	},
}

// behaviour are the reports of what people do over time.
var behaviour = []report{
	{name: "operation_frequency", label: label{"操作の利用回数の分布", "How often operations are used"}, parts: []part{{
		file: "operation_frequency", reads: []string{"operation", "custom_name"}, columns: []column{operationName, timesUsed, users, occurrences},
		order: "name, least",
	}}},
	{name: "operation_adoption", label: label{"操作の浸透", "Adoption of operations"}, parts: []part{{
		file: "operation_adoption", reads: []string{"time", "operation", "custom_name"}, columns: []column{
			{name: "time", from: "start", kind: clock, label: label{"期間の始まり", "Start"}},
			operationName,
			{name: "new_users", from: "people", kind: count, label: label{"初めて使った人", "First-time users"}},
			{name: "users_so_far", kind: count, label: label{"累計の利用者", "Users so far"}, derived: true},
		}, order: "start, name", derive: runningTotals,
	}}, takes: []parameter{interval, operationNamed}, whole: true, remarks: []string{"lasting_only", "shown_only"}},
	{name: "operation_sequences", label: label{"続けて行われた操作", "Operations in sequence"}, parts: []part{{
		file: "operation_sequences", reads: []string{"time", "operation", "custom_name"}, columns: []column{
			{name: "first", from: "one", label: label{"1番目の操作", "First operation"}},
			{name: "second", from: "two", label: label{"2番目の操作", "Second operation"}},
			{name: "third", from: "three", label: label{"3番目の操作", "Third operation"}},
			occurrences, users,
		}, order: "count DESC, length, one, two, three",
	}}},
	{name: "funnel", label: label{"ファネル", "Funnel"}, parts: []part{{
		file: "funnel", reads: []string{"time"}, columns: []column{
			{name: "step", kind: ordinal, label: label{"段階", "Step"}},
			{name: "kind", label: label{"種類", "Kind"}},
			persons,
			{name: "from_first", kind: ratio, label: label{"最初の段階からの転換率", "Conversion from the first step"}, derived: true},
			{name: "from_previous", kind: ratio, label: label{"前の段階からの転換率", "Conversion from the previous step"}, derived: true},
			{name: "seconds", kind: ratio, label: label{"前の段階からの時間の中央値（秒）", "Median time from the previous step (seconds)"}},
		}, order: "step", derive: conversions,
	}}, takes: []parameter{
		stepsParameter("step", 2, 10, "page", "operation", "event", "ad", "click", "search", "purchase"),
		window, strict,
	}, whole: true, remarks: []string{"lasting_beyond_a_day"}},
	{name: "retention", label: label{"継続率", "Retention"}, parts: []part{{
		file: "retention", reads: []string{"time"}, columns: []column{
			{name: "cohort", kind: clock, label: label{"最初の訪問の期間", "First visited in"}},
			{name: "offset", from: "later", kind: ordinal, label: label{"経過した期間の数", "Periods since"}},
			persons, share,
		}, order: "cohort, later", derive: sharesOfCohorts,
	}}, takes: []parameter{oneOf("unit", "neither day, week nor month", "day", "week", "month")}, whole: true, remarks: []string{"lasting_only"}},
	{name: "journeys", label: label{"利用の経路", "Journeys"}, parts: []part{{
		file: "journeys", reads: []string{"time", "path", "operation", "custom_name"}, columns: []column{
			{name: "level", kind: ordinal, label: label{"段数", "Level"}},
			{name: "from_kind", label: label{"移動元の種類", "Kind of the origin"}},
			{name: "from", from: "from_name", label: label{"移動元", "From"}},
			{name: "to_kind", label: label{"移動先の種類", "Kind of the destination"}},
			{name: "to", from: "to_name", label: label{"移動先", "To"}},
			occurrences, persons,
		}, order: "level, count DESC, from_kind, from_name, to_kind, to_name",
	}}, takes: []parameter{
		stepsParameter("start", 0, 1, "page", "operation", "event"), stepsParameter("end", 0, 1, "page", "operation", "event"), levels,
	}, whole: true},
	{name: "usage_frequency", label: label{"利用頻度", "Frequency of use"}, parts: []part{{
		file: "usage_frequency", reads: []string{"time"}, columns: []column{
			{name: "measure", label: label{"数えたもの", "Counted"}},
			timesUsed, visitors, share,
		}, order: "measure, least", derive: func(rows []Row) { sharesOfShown(rows, "measure", "visitors") },
	}}, remarks: []string{"lasting_only", "shown_only"}},
	{name: "usage_orientation", label: label{"利用指向", "Orientation of use"}, parts: []part{{
		file: "usage_orientation", reads: []string{"path", "operation", "custom_name", "search_category", "order_key", "ad_id"}, columns: []column{
			{name: "kind", label: label{"種類", "Kind"}},
			{name: "name", from: "subject_matter", label: label{"対象", "What"}},
			occurrences, visitors, share,
		}, order: "count DESC, kind, subject_matter", derive: func(rows []Row) { sharesOfShown(rows, "", "count") },
	}}, remarks: []string{"shown_only"}},
	{name: "live", label: label{"リアルタイム", "Real time"}, parts: []part{
		{file: "totals", columns: []column{visitors, sessions, views}, order: "people"},
		{file: "live_minutes", reads: []string{"time"}, columns: []column{
			{name: "time", from: "start", kind: clock, label: label{"分", "Minute"}}, visitors, views,
		}, order: "start", optional: true, into: "minutes", label: label{"1分ごと", "By minute"}},
		{file: "live_pages", reads: []string{"path"}, columns: []column{
			{name: "path", label: label{"ページ", "Page"}}, visitors, views,
		}, order: "page_views DESC, path", optional: true, into: "pages", label: label{"ページ", "Pages"}},
		{file: "sources", reads: []string{"time", "channel", "channel_source", "referrer_host"}, columns: []column{
			{name: "channel", label: label{"流入経路", "Channel"}},
			{name: "source", from: "source_name", label: label{"流入元", "Source"}},
			{name: "referrer", label: label{"参照元", "Referrer"}},
			visitors, sessions,
		}, order: "sessions DESC, channel, source_name, referrer", optional: true, into: "sources", label: label{"流入元", "Sources"}},
	}, recent: 30 * time.Minute},
}

// shareOf is a count as a share of another, rounded to four places; nil where the other is not told. Two counts with
// noise may be the wrong way round: a share is never more than all.
func shareOf(part, whole any) any {
	n, ok := part.(uint64)
	all, fine := whole.(uint64)
	if !ok || !fine || all == 0 {
		return nil
	}
	return math.Round(min(float64(n)/float64(all), 1)*1e4) / 1e4
}

// conversions are those of a funnel's steps. A step that is withheld is no step to compare with.
func conversions(rows []Row) {
	people := map[any]any{}
	for _, row := range rows {
		people[row["step"]] = row["people"]
	}
	for _, row := range rows {
		step, _ := row["step"].(uint64)
		row["from_first"], row["from_previous"] = shareOf(row["people"], people[uint64(1)]), shareOf(row["people"], people[step-1])
		if seconds, ok := row["seconds"].(float64); ok {
			row["seconds"] = math.Round(seconds)
		}
		if step == 1 {
			row["seconds"] = nil
		}
	}
}

// sharesOfCohorts are how many of those who came first in a period came again.
func sharesOfCohorts(rows []Row) {
	first := map[any]any{}
	for _, row := range rows {
		if row["offset"] == uint64(0) {
			first[row["cohort"]] = row["people"]
		}
	}
	for _, row := range rows {
		row["share"] = shareOf(row["people"], first[row["cohort"]])
	}
}

// sharesOfShown are shares of all rows that are shown and have the same key.
func sharesOfShown(rows []Row, key, measure string) {
	all := map[any]uint64{}
	for _, row := range rows {
		n, _ := row[measure].(uint64)
		all[row[key]] += n
	}
	for _, row := range rows {
		row["share"] = shareOf(row[measure], all[row[key]])
	}
}

// runningTotals add up who is new, operation by operation. With what is withheld in them, two totals would tell of what
// lies between.
func runningTotals(rows []Row) {
	all := map[any]uint64{}
	for _, row := range rows {
		n, _ := row["new_users"].(uint64)
		all[row["name"]] += n
		row["users_so_far"] = all[row["name"]]
	}
}

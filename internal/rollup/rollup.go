// Package rollup keeps the sums of a site's days in ClickHouse, for each purpose its own, and knows at any moment which of
// them are still true:
//
//	Kind         what one kind of report needs of a day: the same SQL makes the cells that are stored and those of days
//	             that are not
//	Maintainer   builds the days that are due
//	Look         tells of every day of a period whether its build is true, and why not
//
// A build is all cells of one day, policy and purpose. It is made of what the purpose may see at one moment, and is in
// force from when its row in rollup_days is stored, which is the last thing that happens: a build that was broken off is
// seen by nobody.
//
// A build is true while the marks of the day's rows are those it was built from, and the withdrawals that reach the day
// too. Both are asked for with every answer, so late events, erasures, folded withdrawals and expiry cannot be missed:
// nothing has to tell this package of them. What changes rows in a way that reports can see MUST change the marks
// (schemas/clickhouse/00007_rollups.sql).
//
// People are kept as bitmaps of numbers (rollup_subjects), which unite exactly.
package rollup

import (
	"context"
	"embed"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/gate"
)

//go:embed sql/*.sql
var statements embed.FS

// Store is what the package needs of ClickHouse.
type Store interface {
	Select(ctx context.Context, sql string, params map[string]string, limits clickhouse.Limits, scan func(clickhouse.Rows) error) error
}

// Kind is one kind of cells.
type Kind struct {
	Name  string
	Reads []string // columns of the events table; the purpose MUST be allowed all of them
	// Dimensions are the columns that tell the cells of a day apart. They have the names that they have in events.
	Dimensions []string
	sums       []string
	family     string // the statement that makes several kinds at once; empty: the kind has its own
	singles    bool   // a cell is one person's, who stands in person, not in sets
	all        bool   // of all rows, also those that the purpose may not see: how many they are, and why
}

// visits are the sums of kinds that tell visits apart.
var visits = []string{"sessions", "views"}

// origins are the sums of kinds that tell sessions apart by how they began.
var origins = []string{"sessions", "views", "bounces"}

// Kinds are all kinds of cells.
var Kinds = []Kind{
	{Name: "total", sums: []string{"sessions", "views", "rows", "viewing_sessions", "bounces"}},
	{Name: "hour", Reads: []string{"time"}, Dimensions: []string{"hour"}, sums: visits, family: "visits"},
	{Name: "engagement", Reads: []string{"visible_ms"}, sums: []string{"sessions", "visible_ms"}},
	{Name: "act", sums: []string{"rows"}},
	{
		Name: "page", Reads: []string{"time", "host", "path", "view_id", "visible_ms", "scroll_percent"}, Dimensions: []string{"host", "path"},
		sums: []string{"views", "entries", "exits", "visible_ms", "depth", "deep_views"},
	},
	{Name: "entry", Reads: []string{"time", "host", "path"}, Dimensions: []string{"host", "path"}, sums: origins, family: "origins"},
	{
		Name: "source", Reads: []string{"time", "channel", "channel_source", "referrer_host"},
		Dimensions: []string{"channel", "channel_source", "referrer_host"}, sums: origins, family: "origins",
	},
	{Name: "channel", Reads: []string{"time", "channel"}, Dimensions: []string{"channel"}, sums: origins, family: "origins"},
	{Name: "referrer", Reads: []string{"time", "referrer_host"}, Dimensions: []string{"referrer_host"}, sums: origins, family: "origins"},
	{
		Name: "campaign", Reads: []string{"time", "channel_source", "utm_medium", "utm_campaign"},
		Dimensions: []string{"channel_source", "utm_medium", "utm_campaign"}, sums: origins, family: "origins",
	},
	{Name: "location", Reads: []string{"country", "region"}, Dimensions: []string{"country", "region"}, sums: visits, family: "visits"},
	{Name: "country", Reads: []string{"country"}, Dimensions: []string{"country"}, sums: visits, family: "visits"},
	{Name: "language", Reads: []string{"language"}, Dimensions: []string{"language"}, sums: visits, family: "visits"},
	{Name: "device", Reads: []string{"device", "browser", "os"}, Dimensions: []string{"device", "browser", "os"}, sums: visits, family: "visits"},
	{Name: "browser", Reads: []string{"browser", "browser_version"}, Dimensions: []string{"browser", "browser_version"}, sums: visits, family: "visits"},
	{Name: "system", Reads: []string{"os", "os_version"}, Dimensions: []string{"os", "os_version"}, sums: visits, family: "visits"},
	{
		Name: "operation", Reads: []string{"operation", "operation_target", "custom_name"},
		Dimensions: []string{"operation", "operation_target"}, sums: []string{"rows"},
	},
	{
		Name: "search", Reads: []string{"search_query", "search_results", "time", "host", "path"}, Dimensions: []string{"search_query"},
		sums: []string{"rows", "without_result", "refined", "followed"},
	},
	{
		Name: "ad", Reads: []string{"ad_id", "ad_slot", "ad_click", "ad_visible_ms"}, Dimensions: []string{"ad_id", "ad_slot"},
		sums: []string{"impressions", "viewable", "clicks"},
	},
	{
		Name: "order", Reads: []string{"order_key", "currency", "amount", "item_sku", "item_name", "item_quantity", "item_price"},
		Dimensions: []string{"currency"}, singles: true,
		sums: []string{
			"order_id", "order_event", "order_received", "person", "daily", "least", "amount",
			"item_sku", "item_name", "item_quantity", "item_price",
		},
	},
	{Name: "coverage", Dimensions: []string{"left_out"}, sums: []string{"rows"}, all: true},
}

// Named finds a kind.
func Named(name string) (*Kind, bool) {
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return nil, false
	}
	return &Kinds[i], true
}

// allowed reports whether a purpose may use everything that the kind reads.
func (k *Kind) allowed(categories map[string]core.Category, may core.CategorySet) bool {
	return !slices.ContainsFunc(k.Reads, func(column string) bool { return !may.Has(categories[column]) })
}

// sets are the columns that hold the people of a cell.
var sets = []string{"lasting_set", "passing_set", "lasting_count", "passing_count", "least", "greatest"}

// columns are what a cell of the kind has, in their order.
func (k *Kind) columns() []string {
	list := append([]string{"day"}, k.Dimensions...)
	if !k.singles {
		list = append(list, sets...)
	}
	return append(list, k.sums...)
}

// cell are the aggregates by which people are kept: of the rows that match, the numbers of those who last and of those
// who are others each day. Whoever has no number yet is a stranger.
func cell(condition string) string {
	var list strings.Builder
	for _, a := range []struct{ aggregate, condition, name string }{
		{"groupBitmapStateIf(number, number != 0", "NOT daily", "lasting_set"},
		{"groupBitmapStateIf(number, number != 0", "daily", "passing_set"},
		{"uniqExactStateIf(subject, subject != 0 AND number = 0", "NOT daily", "lasting_strangers"},
		{"uniqExactStateIf(subject, subject != 0 AND number = 0", "daily", "passing_strangers"},
		{"minIf(cityHash64(subject), subject != 0", "1", "least"},
	} {
		list.WriteString(a.aggregate + " AND " + a.condition + " AND (" + condition + ")) AS " + a.name + ",\n    ")
	}
	return list.String() + "maxIf(cityHash64(subject), subject != 0 AND (" + condition + ")) AS greatest"
}

// batch are kinds that one statement makes.
type batch []*Kind

// batches puts kinds together as their statements make them.
func batches(kinds []*Kind) []batch {
	var all []batch
	at := map[string]int{}
	for _, k := range kinds {
		if i, known := at[k.family]; known && k.family != "" {
			all[i] = append(all[i], k)
			continue
		}
		at[k.family] = len(all)
		all = append(all, batch{k})
	}
	return all
}

// union is what any of the kinds has, each once, in the order of the kinds.
func (b batch) union(of func(*Kind) []string) []string {
	var list []string
	for _, k := range b {
		for _, name := range of(k) {
			if !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return list
}

func (b batch) dimensions() []string { return b.union(func(k *Kind) []string { return k.Dimensions }) }

// kind names the kind of a group by the dimensions that it is not told apart by: grouping has a bit for each of them.
func (b batch) kind() string {
	all := b.dimensions()
	var bits, names []string
	for _, k := range b {
		without := 0
		for _, d := range all {
			without <<= 1
			if !slices.Contains(k.Dimensions, d) {
				without |= 1
			}
		}
		bits, names = append(bits, strconv.Itoa(without)), append(names, "'"+k.Name+"'")
	}
	return "transform(toUInt64(grouping(" + strings.Join(all, ", ") + ")), [" + strings.Join(bits, ", ") + "], [" + strings.Join(names, ", ") + "], '')"
}

// made is the statement of the kinds, over the expression numbered.
func (b batch) made() string {
	name := b[0].family
	if name == "" {
		name = b[0].Name
	}
	text, err := statements.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic("rollup: " + err.Error()) // a file of this package is missing; a test makes each one
	}
	functions := template.FuncMap{
		"cell": cell, "kind": b.kind,
		"dimensions": func() string { return strings.Join(b.dimensions(), ", ") },
		"hours":      func() bool { return slices.Contains(b.dimensions(), "hour") },
		"elements": func(tuple string) string {
			var list []string
			for i, d := range b.dimensions() {
				list = append(list, "tupleElement("+tuple+", "+strconv.Itoa(i+1)+") AS "+d)
			}
			return strings.Join(list, ", ")
		},
		"sets": func() string {
			var list []string
			for _, k := range b {
				list = append(list, "(day, "+strings.Join(k.Dimensions, ", ")+")")
			}
			return strings.Join(list, ", ")
		},
	}
	var out strings.Builder
	if err := template.Must(template.New(name).Funcs(functions).Parse(strings.TrimSpace(string(text)))).Execute(&out, nil); err != nil {
		panic("rollup: statement " + name + " cannot be made: " + err.Error())
	}
	return out.String()
}

// behindGate is the gate and the cells of the kinds behind it as the expression made, without WITH, of some days or of all
// that the gate reads. known leaves out the rows of strangers.
func (b batch) behindGate(days string, known bool) string {
	rows, sql := "permitted", gate.Permitted(b.union(func(k *Kind) []string { return k.Reads }), nil)
	if b[0].all {
		rows, sql = "gate", gate.Gate(nil)
	}
	only, asked := "", "\n        AND subject IN (SELECT subject FROM "+rows+" WHERE "+days+")"
	if known { // a whole day has most of those who last, so looking them up costs more than it saves
		only, asked = " AND (p.subject = 0 OR n.number != 0)", ""
	}
	return sql + `,
numbers AS
(
    SELECT subject, number
    FROM rollup_subjects
    WHERE site = {site:String}
        AND (seen = toDate(0) OR seen BETWEEN toDate(fromUnixTimestamp64Milli({from:Int64}, {time_zone:String})) - 1 AND toDate(fromUnixTimestamp64Milli({to:Int64}, {time_zone:String})))` + asked + `
),
numbered AS
(
    SELECT p.*, n.number AS number
    FROM ` + rows + ` AS p
    LEFT ANY JOIN numbers AS n ON n.subject = p.subject
    WHERE ` + days + only + `
),
made AS
(
` + b.made() + "\n)"
}

// insert builds the cells of a day. Rows of strangers are left out, as if they came after the build: its marks tell that
// it does not have them.
func (b batch) insert() string {
	columns := b.union((*Kind).columns)
	values := slices.Clone(columns)
	for i, c := range values {
		if b[0].singles {
			break
		}
		switch c {
		case "lasting_count":
			values[i] = "finalizeAggregation(lasting_set)"
		case "passing_count":
			values[i] = "finalizeAggregation(passing_set)"
		}
	}
	kind := "kind"
	if b[0].family == "" {
		kind = "'" + b[0].Name + "'"
	}
	return "INSERT INTO rollup_cells (site, policy, bit, kind, build, " + strings.Join(columns, ", ") + ")\nWITH " + b.behindGate("1", true) +
		"\nSELECT {site:String}, {policy_id:String}, {bit:UInt8}, " + kind + ", {build:UInt64}, " + strings.Join(values, ", ") + "\nFROM made"
}

// Cells is the expressions, without WITH, at whose end stands cells: the cells of a kind from the builds
// {builds:Array(Tuple(UInt16, UInt64))} of the days {first:Date} to {last:Date}, and, with raw, those of the days {raw_days:Array(UInt16)} made of the events
// between {raw_from:Int64} and {raw_to:Int64}. Further bound parameters: those of the gate, and policy_id String.
func (k *Kind) Cells(raw bool) string {
	columns := k.columns()
	list := strings.Join(columns, ", ")
	stored := "    SELECT " + list
	made := "    SELECT " + list
	if raw && !k.singles {
		nobody := "arrayReduce('uniqExactStateIf', [toUInt64(0)], [0])"
		stored += ", " + nobody + " AS lasting_strangers, " + nobody + " AS passing_strangers"
		values := slices.Clone(columns)
		for i, c := range values {
			switch c {
			case "lasting_count":
				values[i] = "finalizeAggregation(lasting_set) + finalizeAggregation(lasting_strangers) AS lasting_count"
			case "passing_count":
				values[i] = "finalizeAggregation(passing_set) + finalizeAggregation(passing_strangers) AS passing_count"
			}
		}
		made = "    SELECT " + strings.Join(values, ", ") + ", lasting_strangers, passing_strangers"
	}
	sql := ""
	if raw {
		sql = strings.NewReplacer("{from:Int64}", "{raw_from:Int64}", "{to:Int64}", "{raw_to:Int64}").
			Replace(batch{k}.behindGate("toUInt16(day) IN {raw_days:Array(UInt16)}", false)) + ",\n"
	}
	sql += "cells AS\n(\n" + stored + `
    FROM rollup_cells
    WHERE site = {site:String} AND policy = {policy_id:String} AND bit = {bit:UInt8} AND kind = '` + k.Name + `'
        AND day BETWEEN {first:Date} AND {last:Date} AND (toUInt16(day), build) IN {builds:Array(Tuple(UInt16, UInt64))}`
	if raw {
		sql += "\n    UNION ALL\n" + made + "\n    FROM made"
	}
	return sql + "\n)"
}

// Functions are for the statements over cells:
//
//	{{people}}    the aggregates lasting, passing, days, low, high and people, as gate.Functions has them
//	{{subjects}}  gate.Subjects
func Functions(raw bool) template.FuncMap {
	return template.FuncMap{"subjects": func() string { return gate.Subjects }, "people": func() string {
		lasting, passing := "groupBitmapMerge(lasting_set)", "groupBitmapMerge(passing_set)"
		if raw {
			lasting += " + uniqExactMerge(lasting_strangers)"
			passing += " + uniqExactMerge(passing_strangers)" //nolint:gosec // G101: a name of an aggregate
		}
		return lasting + " AS lasting,\n    " + passing + " AS passing,\n    uniqExactIf(day, passing_count > 0) AS days,\n    " +
			"minIf(least, lasting_count + passing_count > 0) AS low,\n    maxIf(greatest, lasting_count + passing_count > 0) AS high,\n    lasting + passing AS people"
	}}
}

// definition names how a build is made: what it has, and by which statements. A build by another definition is out of
// date.
func definition(kinds []*Kind, location *time.Location) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(location.String()))
	for _, b := range batches(kinds) {
		_, _ = h.Write([]byte(b.insert()))
	}
	return h.Sum64()
}

// kindsFor are the kinds of cells that a purpose may have.
func kindsFor(categories map[string]core.Category, may core.CategorySet) []*Kind {
	var list []*Kind
	for i := range Kinds {
		if Kinds[i].allowed(categories, may) {
			list = append(list, &Kinds[i])
		}
	}
	return list
}

// Number is how ClickHouse counts days.
func Number(day time.Time) int64 {
	return time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, time.UTC).Unix() / 86400
}

// midnight is when a day begins.
func midnight(day time.Time, location *time.Location) time.Time {
	return time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, location)
}

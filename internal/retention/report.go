package retention

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
)

// Verdict is what a line of the report comes to.
type Verdict string

// The verdicts.
const (
	OK     Verdict = "ok"
	Breach Verdict = "breach"
)

// Parts counts ClickHouse's data parts that hold something over its limit: parts in use, parts that were replaced and
// are not deleted yet, and parts that somebody or a fault took out of the table.
type Parts struct {
	Active   uint64 `json:"active"`
	Inactive uint64 `json:"inactive"`
	Detached uint64 `json:"detached"`

	stuck uint64 // inactive for longer than the engine keeps a replaced part
}

// replacedGrace is how long the engine may keep a part that it replaced: eight minutes, and what its cleaning takes.
const replacedGrace = 20 * time.Minute

// Line is one thing that has to end.
type Line struct {
	Kind     string     `json:"kind"` // table, topic or key
	Name     string     `json:"name"`
	Category string     `json:"category,omitempty"`
	Columns  []string   `json:"columns,omitempty"`
	Oldest   *time.Time `json:"oldest,omitempty"` // none: it holds nothing
	// LimitDays is how old a datum may be. 0: the line says in Detail what holds instead.
	LimitDays float64    `json:"limit_days,omitempty"`
	Until     *time.Time `json:"until,omitempty"` // of a key: when it is to be destroyed
	Over      []string   `json:"over,omitempty"`  // the columns, parts or keys that are over the limit
	Parts     *Parts     `json:"parts_over,omitempty"`
	Verdict   Verdict    `json:"verdict"`
	Detail    string     `json:"detail,omitempty"`
}

// Report is the proof of retention at a moment.
type Report struct {
	At      time.Time `json:"at"`
	Verdict Verdict   `json:"verdict"`
	Lines   []Line    `json:"lines"`
}

// TopicState is what Kafka says of a topic.
type TopicState struct {
	Name     string
	Limit    time.Duration
	Lasting  string    // why it has no limit
	Oldest   time.Time // zero: it is empty
	Settings map[string]string
}

// KeyState is a key that has an end.
type KeyState struct {
	Kind, Epoch string
	Until       time.Time // zero while the key is in use
}

// keyGrace is how long after its time a key may still be there: keys are looked over every minute.
const keyGrace = 10 * time.Minute

// Inspect looks at everything that holds data and gives a verdict on each.
func Inspect(ctx context.Context, db Store, policies *policy.Register, topics []TopicState, keys []KeyState, now time.Time) (Report, error) {
	now = now.UTC()
	r := Report{At: now.Truncate(time.Second), Verdict: OK}
	tables, err := inspectTables(ctx, db, policies, now)
	if err != nil {
		return r, fmt.Errorf("inspect retention: %w", err)
	}
	r.Lines = append(r.Lines, tables...)
	for _, t := range topics {
		r.Lines = append(r.Lines, t.line(now))
	}
	r.Lines = append(r.Lines, keyLines(keys, now)...)
	for _, l := range r.Lines {
		if l.Verdict != OK {
			r.Verdict = Breach
		}
	}
	return r, nil
}

func inspectTables(ctx context.Context, db Store, policies *policy.Register, now time.Time) ([]Line, error) {
	columns, err := eventColumns(ctx, db)
	if err != nil {
		return nil, err
	}
	l, err := limitsAt(columns, policies, now)
	if err != nil {
		return nil, err
	}
	gone, err := detachedParts(ctx, db)
	if err != nil {
		return nil, err
	}
	lines, err := eventLines(ctx, db, columns, l, gone, now)
	if err != nil {
		return nil, err
	}
	known := slices.Concat([]string{"events"}, lastingTables, foreignTables)
	for _, t := range l.tables() {
		line, err := tableLine(ctx, db, t, gone, now)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
		known = append(known, t.name)
	}
	for _, name := range lastingTables {
		lines = append(lines, Line{Kind: "table", Name: name, Category: core.Record.String(), Verdict: OK, Detail: "has no end: it says nothing of a person"})
	}
	strangers, err := otherTables(ctx, db, known)
	if err != nil {
		return nil, err
	}
	for _, name := range strangers {
		lines = append(lines, Line{Kind: "table", Name: name, Verdict: Breach, Detail: "no retention is set for this table"})
	}
	purposeless, err := purposeLine(ctx, db, policies, now)
	return append(lines, purposeless), err
}

// purposeLine tells of rows that no purpose is left for.
func purposeLine(ctx context.Context, db Store, policies *policy.Register, now time.Time) (Line, error) {
	d, err := disposable(ctx, db, policies, now)
	line := Line{Kind: "table", Name: "events", Category: "without a purpose", Verdict: OK, Detail: "no row"}
	if d.Due()+d.Unknown > 0 {
		line.Verdict = Breach
		line.Detail = fmt.Sprintf("%d rows without a purpose, %d whose purposes are no longer in force, %d of a policy that is not registered", d.Purposeless, d.Retired, d.Unknown)
	}
	return line, err
}

// eventLines has a line for each category and limit of the events table.
func eventLines(ctx context.Context, db Store, columns []column, l limits, gone []detached, now time.Time) ([]Line, error) {
	oldest, err := oldestData(ctx, db, columns)
	if err != nil {
		return nil, err
	}
	type group struct {
		category core.Category
		days     int
	}
	grouped := map[group][]column{}
	for _, c := range columns {
		g := group{c.category, l.columns[c.name]}
		grouped[g] = append(grouped[g], c)
	}
	var lines []Line
	for g, its := range grouped {
		line := Line{Kind: "table", Name: "events", Category: g.category.String(), LimitDays: float64(g.days), Parts: &Parts{}}
		cutoff := now.AddDate(0, 0, -g.days)
		var over []column
		for _, c := range its {
			line.Columns = append(line.Columns, c.name)
			t := oldest[c.name]
			if !t.IsZero() && (line.Oldest == nil || t.Before(*line.Oldest)) {
				line.Oldest = &t
			}
			if !t.IsZero() && t.Before(cutoff) {
				over = append(over, c)
				line.Over = append(line.Over, c.name)
			}
		}
		if line.Parts.Active, err = partsOver(ctx, db, over, cutoff); err != nil {
			return nil, err
		}
		row := g.days == l.events
		if err := line.Parts.replaced(ctx, db, "events", its, row, now); err != nil {
			return nil, err
		}
		line.detached("events", g.days, gone, now)
		line = line.judged()
		if l.own[g.category] < g.days {
			line.Detail = strings.TrimPrefix(line.Detail+"; in the sorting key, goes with its row", "; ")
		}
		lines = append(lines, line)
	}
	slices.SortFunc(lines, func(a, b Line) int {
		return cmp.Or(strings.Compare(a.Category, b.Category), cmp.Compare(a.LimitDays, b.LimitDays))
	})
	return lines, nil
}

// tableLine is the line of a table whose rows expire whole.
func tableLine(ctx context.Context, db Store, t table, gone []detached, now time.Time) (Line, error) {
	line := Line{Kind: "table", Name: t.name, Category: t.category.String(), LimitDays: float64(t.days), Parts: &Parts{}}
	var oldest int64
	cutoff := now.AddDate(0, 0, -t.days)
	before := "toUnixTimestamp64Milli(toDateTime64(" + t.time + ", 3))"
	err := clickhouse.One(ctx, db, "SELECT toInt64(min("+before+")), uniqExactIf(_part, "+before+" < {cutoff:Int64}) FROM "+t.name, map[string]string{"cutoff": milli(cutoff)}, &oldest, &line.Parts.Active)
	if err != nil {
		return line, err
	}
	if oldest != 0 {
		at := time.UnixMilli(oldest).UTC()
		line.Oldest = &at
	}
	if err := line.Parts.replaced(ctx, db, t.name, nil, true, now); err != nil {
		return line, err
	}
	line.detached(t.name, t.days, gone, now)
	return line.judged(), nil
}

// detached counts the detached parts of the table that may hold something over the limit, and names them.
func (l *Line) detached(table string, days int, gone []detached, now time.Time) {
	for _, d := range gone {
		if d.table == table && d.over(days, now) {
			l.Parts.Detached++
			l.Over = append(l.Over, d.name)
		}
	}
}

func (l Line) judged() Line {
	l.Verdict = OK
	if l.Parts.Active+l.Parts.Detached+l.Parts.stuck > 0 {
		l.Verdict = Breach
	}
	switch {
	case l.Parts.stuck > 0:
		l.Detail = "replaced parts stay on disk"
	case l.Parts.Inactive > 0:
		l.Detail = "replaced parts go within minutes"
	}
	return l
}

// holds is the condition that a column of a row holds a datum.
func (c column) holds() string {
	if strings.HasPrefix(c.kind, "Array(") || strings.HasPrefix(c.kind, "Map(") {
		return "notEmpty(`" + c.name + "`)"
	}
	return "`" + c.name + "` != defaultValueOfTypeName(" + quote(c.kind) + ")"
}

// oldestData is the time of the oldest row in which a column holds something, by column. It reads the months one after
// another, the oldest first, and of each only the columns that no month before it had.
func oldestData(ctx context.Context, db Store, columns []column) (map[string]time.Time, error) {
	var months []string
	err := db.Select(ctx, "SELECT DISTINCT partition_id FROM system.parts WHERE database = currentDatabase() AND table = 'events' AND active AND rows > 0 ORDER BY partition_id", nil,
		clickhouse.Limits{}, func(rows clickhouse.Rows) error {
			for rows.Next() {
				var id string
				if err := rows.Scan(&id); err != nil {
					return err
				}
				months = append(months, id)
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	oldest := map[string]time.Time{}
	left := slices.Clone(columns)
	for _, month := range months {
		if len(left) == 0 {
			break
		}
		found := make([]int64, len(left))
		asked, to := make([]string, len(left)), make([]any, len(left))
		for i, c := range left {
			asked[i] = "toInt64(toUnixTimestamp64Milli(minIf(time, " + c.holds() + ")))"
			to[i] = &found[i]
		}
		err := clickhouse.One(ctx, db, "SELECT "+strings.Join(asked, ", ")+" FROM events WHERE _partition_id = {month:String}", map[string]string{"month": month}, to...)
		if err != nil {
			return nil, err
		}
		var still []column
		for i, c := range left {
			if found[i] == 0 {
				still = append(still, c)
				continue
			}
			oldest[c.name] = time.UnixMilli(found[i]).UTC()
		}
		left = still
	}
	return oldest, nil
}

// partsOver counts the parts in use in which one of the columns holds something from before the cutoff.
func partsOver(ctx context.Context, db Store, over []column, cutoff time.Time) (n uint64, err error) {
	if len(over) == 0 {
		return 0, nil
	}
	conditions := make([]string, len(over))
	for i, c := range over {
		conditions[i] = c.holds()
	}
	err = clickhouse.One(ctx, db, "SELECT uniqExact(_part) FROM events WHERE time < fromUnixTimestamp64Milli({cutoff:Int64}, 'UTC') AND ("+strings.Join(conditions, " OR ")+")",
		map[string]string{"cutoff": milli(cutoff)}, &n)
	return n, err
}

// replaced counts the replaced parts of a table that hold a row (row) or a column over its limit, by the expiry that the
// engine recorded.
func (p *Parts) replaced(ctx context.Context, db Store, name string, columns []column, row bool, now time.Time) error {
	params := map[string]string{"table": name, "late": unix(now.Add(-margin)), "stuck": unix(now.Add(-replacedGrace))}
	if row {
		return clickhouse.One(ctx, db, `
			SELECT count(), countIf(remove_time <= toDateTime({stuck:UInt32}))
			FROM system.parts
			WHERE database = currentDatabase() AND table = {table:String} AND NOT active AND rows > 0
				AND delete_ttl_info_min > toDateTime(0) AND delete_ttl_info_min <= toDateTime({late:UInt32})`, params, &p.Inactive, &p.stuck)
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = quote(c.name)
	}
	return clickhouse.One(ctx, db, `
		SELECT uniqExact(c.name), uniqExactIf(c.name, p.remove_time <= toDateTime({stuck:UInt32}))
		FROM system.parts_columns AS c
		INNER JOIN system.parts AS p ON p.database = c.database AND p.table = c.table AND p.name = c.name
		WHERE c.database = currentDatabase() AND c.table = {table:String} AND NOT c.active AND c.rows > 0
			AND c.column IN (`+strings.Join(names, ", ")+`) AND c.column_ttl_min > toDateTime(0) AND c.column_ttl_min <= toDateTime({late:UInt32})`,
		params, &p.Inactive, &p.stuck)
}

// otherTables are the tables that hold data and are not known here.
func otherTables(ctx context.Context, db Store, known []string) ([]string, error) {
	var names []string
	err := db.Select(ctx, "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' ORDER BY name", nil, clickhouse.Limits{},
		func(rows clickhouse.Rows) error {
			for rows.Next() {
				var name string
				if err := rows.Scan(&name); err != nil {
					return err
				}
				if !slices.Contains(known, name) {
					names = append(names, name)
				}
			}
			return nil
		})
	return names, err
}

func milli(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

func (t TopicState) line(now time.Time) Line {
	l := Line{Kind: "topic", Name: t.Name, Category: "sealed", LimitDays: t.Limit.Hours() / 24, Verdict: OK}
	if !t.Oldest.IsZero() {
		at := t.Oldest.UTC()
		l.Oldest = &at
	}
	if t.Lasting != "" {
		l.Category, l.LimitDays, l.Detail = core.Record.String(), 0, "has no end: "+t.Lasting
		return l
	}
	if !t.Oldest.IsZero() && now.Sub(t.Oldest) > t.Limit {
		l.Verdict, l.Over = Breach, []string{t.Name}
	}
	if held, ok := Held(t.Settings); !ok || held > t.Limit {
		l.Verdict, l.Detail = Breach, "its settings let a record stay longer"
	}
	return l
}

// keyLines has a line for each kind of key.
func keyLines(keys []KeyState, now time.Time) []Line {
	byKind := map[string][]KeyState{}
	for _, k := range keys {
		byKind[k.Kind] = append(byKind[k.Kind], k)
	}
	var lines []Line
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		l := Line{Kind: "key", Name: kind, Verdict: OK, Detail: "keys: " + strconv.Itoa(len(byKind[kind]))}
		for _, k := range byKind[kind] {
			if k.Until.IsZero() {
				continue
			}
			if until := k.Until.UTC(); l.Until == nil || until.Before(*l.Until) {
				l.Until = &until
			}
			if now.Sub(k.Until) > keyGrace {
				l.Verdict = Breach
				l.Over = append(l.Over, k.Epoch)
			}
		}
		lines = append(lines, l)
	}
	return lines
}

// Write prints the report as a table.
func (r Report) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "VERDICT\tWHAT\tCATEGORY\tOLDEST\tAGE\tLIMIT\tPARTS OVER\tOVER THE LIMIT") // Flush tells
	for _, l := range r.Lines {
		oldest, age, limit, parts := "-", "-", "-", "-"
		if l.Oldest != nil {
			oldest, age = l.Oldest.Format(time.DateTime), days(r.At.Sub(*l.Oldest).Hours()/24)
		}
		if l.LimitDays > 0 {
			limit = days(l.LimitDays)
		}
		if l.Until != nil {
			limit = "until " + l.Until.Format(time.DateTime)
		}
		if l.Parts != nil {
			parts = fmt.Sprintf("%d active, %d replaced, %d detached", l.Parts.Active, l.Parts.Inactive, l.Parts.Detached)
		}
		said := strings.Join(l.Over, " ")
		if l.Detail != "" {
			said = strings.TrimSpace(said + " (" + l.Detail + ")")
		}
		_, _ = fmt.Fprintf(t, "%s\t%s %s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Verdict, l.Kind, l.Name, cmp.Or(l.Category, "-"), oldest, age, limit, parts, said)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print retention report: %w", err)
	}
	_, err := fmt.Fprintf(w, "\n%s at %s UTC\n", r.Verdict, r.At.Format(time.DateTime))
	return err
}

func days(n float64) string { return strconv.FormatFloat(math.Round(n*10)/10, 'f', -1, 64) + " d" }

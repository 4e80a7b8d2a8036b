package rollup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/gate"
)

// Writer is what building needs of ClickHouse.
type Writer interface {
	Store
	Exec(ctx context.Context, sql string) error
	Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error
}

// errClash is two who number subjects at the same time. Both give up what they numbered.
var errClash = errors.New("somebody else numbers subjects at the same time: one process may build rollups")

// build makes the build of one day. What it is made from is looked at before, so that whatever changes meanwhile makes it
// untrue. The day's row comes last.
func (m *Maintainer) build(ctx context.Context, s Scope, kinds []*Kind, date time.Time) error {
	days, err := look(ctx, m.DB, s, definition(kinds, s.Site.Location), date, date, m.Now(), clickhouse.Limits{})
	if err != nil {
		return err
	}
	if len(days) == 0 || days[0].Rows == 0 && days[0].Build == 0 {
		return nil
	}
	d := days[0]
	if d.masks != d.built.masks || d.Build == 0 { // otherwise what the latest build knows is what there is
		if err := findTouching(ctx, m.DB, s.Params(date, date), clickhouse.Limits{}, days); err != nil {
			return err
		}
		d = days[0]
	}
	started := m.Now()
	id := max(uint64(started.UnixMicro()), d.Build+1, m.latest+1)
	m.latest = id
	params := s.Params(date, date)
	params["build"] = strconv.FormatUint(id, 10)
	last, err := m.numberSubjects(ctx, s, date, params)
	if err != nil {
		return err
	}
	for _, b := range batches(kinds) {
		if err := m.DB.Exec(ctx, bind(b.insert()+m.settings(), params)); err != nil {
			return fmt.Errorf("build %s cells: %w", b[0].Name, err)
		}
	}
	err = m.DB.Insert(ctx, "rollup_days", "build/"+s.Site.ID+"/"+s.Pack.ID+"/"+params["bit"]+"/"+params["first"]+"/"+params["build"], []clickhouse.Column{
		{Name: "site", Values: []string{s.Site.ID}},
		{Name: "policy", Values: []string{s.Pack.ID}},
		{Name: "bit", Values: []uint8{uint8(s.Purpose.Bit)}},
		{Name: "day", Values: []time.Time{time.Unix(Number(date)*86400, 0).UTC()}},
		{Name: "build", Values: []uint64{id}},
		{Name: "built_at", Values: []time.Time{started.UTC()}},
		{Name: "definition", Values: []uint64{definition(kinds, s.Site.Location)}},
		{Name: "rows", Values: []uint64{d.Rows}},
		{Name: "marks", Values: []uint64{d.marks}},
		{Name: "masks", Values: []uint64{d.masks}},
		{Name: "touching", Values: []uint64{d.touching}},
		{Name: "last_number", Values: []uint32{last}},
	})
	if err != nil {
		return fmt.Errorf("put build in force: %w", err)
	}
	return nil
}

// settings keep a build from taking the machine away from the answers.
func (m *Maintainer) settings() string {
	if m.Threads == 0 {
		return ""
	}
	return "\nSETTINGS max_threads = " + strconv.Itoa(m.Threads)
}

// numberSubjects gives a number to every subject of the day that has none, and returns the last number there is. A
// number is never given twice, not even after its subject is gone.
func (m *Maintainer) numberSubjects(ctx context.Context, s Scope, date time.Time, params map[string]string) (uint32, error) {
	var last uint32
	err := clickhouse.One(ctx, m.DB, `SELECT greatest((SELECT max(number) FROM rollup_subjects WHERE site = {site:String}), (SELECT max(last_number) FROM rollup_days WHERE site = {site:String}))`,
		map[string]string{"site": s.Site.ID}, &last)
	if err != nil {
		return 0, fmt.Errorf("number subjects: %w", err)
	}
	if last > math.MaxUint32/2 {
		return 0, errors.New("number subjects: the numbers are used up")
	}
	params = maps.Clone(params)
	params["last_number"] = strconv.FormatUint(uint64(last), 10)
	params["until"] = endOfEpoch(date).Format(time.DateOnly)
	sql := "INSERT INTO rollup_subjects (site, seen, subject, number, until, turn)\nWITH " + gate.Gate(nil) + `
SELECT {site:String}, seen, subject, {last_number:UInt32} + row_number() OVER (ORDER BY seen, subject), if(seen = toDate(0), {until:Date}, seen), {build:UInt64}
FROM
(
    SELECT subject, if(any(daily), any(day), toDate(0)) AS seen
    FROM gate
    WHERE subject != 0
    GROUP BY subject
)
WHERE subject NOT IN
(
    SELECT subject
    FROM rollup_subjects
    WHERE site = {site:String} AND (seen = toDate(0) OR seen BETWEEN {first:Date} - 1 AND {first:Date} + 1)
)`
	if err := m.DB.Exec(ctx, bind(sql+m.settings(), params)); err != nil {
		return 0, fmt.Errorf("number subjects: %w", err)
	}
	var rows, numbers, subjects uint64
	var top uint32
	err = clickhouse.One(ctx, m.DB, `SELECT count(), uniqExact(number), uniqExact(subject), max(number) FROM rollup_subjects WHERE site = {site:String} AND number > {last_number:UInt32}`,
		map[string]string{"site": s.Site.ID, "last_number": params["last_number"]}, &rows, &numbers, &subjects, &top)
	if err != nil {
		return 0, fmt.Errorf("number subjects: %w", err)
	}
	if rows != numbers || rows != subjects {
		err := m.DB.Exec(ctx, bind("ALTER TABLE rollup_subjects DELETE WHERE site = {site:String} AND turn = {build:UInt64} SETTINGS mutations_sync = 2", params))
		return 0, fmt.Errorf("number subjects: %w", errors.Join(errClash, err))
	}
	return max(last, top), nil
}

// endOfEpoch is a day after the last one on which a pseudonym of the date can be seen anywhere: the border of epochs is
// UTC's.
func endOfEpoch(date time.Time) time.Time {
	first := time.Date(date.Year(), date.Month(), date.Day()+1, 0, 0, 0, 0, time.UTC)
	month := (int(first.Month())-1)/gate.EpochMonths*gate.EpochMonths + gate.EpochMonths + 1
	return time.Date(first.Year(), time.Month(month), 2, 0, 0, 0, 0, time.UTC)
}

var parameter = regexp.MustCompile(`\{(\w+):(\w+)\}`)

// bind writes parameters into a statement that the driver cannot bind them to. They come from registries, not from
// requests.
func bind(sql string, params map[string]string) string {
	return parameter.ReplaceAllStringFunc(sql, func(p string) string {
		m := parameter.FindStringSubmatch(p)
		switch value := params[m[1]]; m[2] {
		case "String":
			return quote(value)
		case "Date":
			return "toDate(" + quote(value) + ")"
		default:
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				panic("rollup: parameter " + m[1] + " is no number")
			}
			return "CAST(" + strconv.FormatInt(n, 10) + ", '" + m[2] + "')"
		}
	})
}

func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

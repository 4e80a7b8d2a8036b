package rollup

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/retention"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/schemas"
)

// Cause is why a day's build is not true, or why a day is to be built. The zero value is none: the build is true.
type Cause string

// The causes.
const (
	NotBuilt   Cause = "not_built"   // there is no build
	Changed    Cause = "changed"     // rows came, changed or went since
	Withdrawal Cause = "withdrawal"  // a withdrawal since reaches the day
	Redefined  Cause = "redefined"   // it was made in another way: another version of the program, policy or time zone
	Expiring   Cause = "near_expiry" // what it was made of is about to expire, column by column
)

// Freshness is how old the build of a running day may be that is used though rows came since.
const Freshness = 90 * time.Second

// Scope is what builds are kept for.
type Scope struct {
	Site    *site.Site
	Pack    *policy.Pack
	Purpose *policy.Purpose
	// Keep is how long builds are kept: until the first of the categories in them expires.
	Keep time.Duration
}

// Day is one day of a site with at least one row, or with a build.
type Day struct {
	Date    time.Time // midnight in the site's time zone
	Rows    uint64    // of the site, before any gate
	Build   uint64    // 0: none
	BuiltAt time.Time
	// Cause is empty while the build is true.
	Cause Cause
	// Usable says that the build may stand for the day: it is true, or it is of the running day, young, and no withdrawal
	// since reaches it.
	Usable bool

	marks, masks, touching uint64
	built                  made
	age                    time.Duration
}

// made is what a build was made from.
type made struct{ definition, rows, marks, masks, touching uint64 }

// columnLine finds the columns of events in the migration that makes it, with their data categories.
var columnLine = regexp.MustCompile(`(?m)^ {4}(\w+) .*COMMENT '(\w+)'`)

// categories are the data categories of the columns of events, as the schema has them.
func categories() (map[string]core.Category, error) {
	schema, err := schemas.ClickHouse.ReadFile("clickhouse/00001_events.sql")
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	byColumn := map[string]core.Category{}
	for _, m := range columnLine.FindAllSubmatch(schema, -1) {
		category, ok := core.ParseCategory(string(m[2]))
		if !ok {
			return nil, fmt.Errorf("read schema: column %s has no category", m[1])
		}
		byColumn[string(m[1])] = category
	}
	return byColumn, nil
}

// keepMargin is how much earlier than the first expiry of what it was made of a build stops to stand for its day: the
// engine expires events when it likes, up to a day before their limit.
const keepMargin = 3 * 24 * time.Hour

// Keep is for how long the build of a day may stand for it: until the first of the categories in events is about to expire.
func Keep(policies *policy.Register, now time.Time) (time.Duration, error) {
	byColumn, err := categories()
	if err != nil {
		return 0, err
	}
	var keep time.Duration
	for _, c := range byColumn {
		if c == core.Record {
			continue
		}
		if p := retention.Period(policies, c, now); keep == 0 || p < keep {
			keep = p
		}
	}
	return keep - keepMargin, nil
}

// marksOfRows is the statement that the projection marks of events answers.
const marksOfRows = `
    SELECT
        toDate(toStartOfFifteenMinutes(time), {time_zone:String}) AS day,
        count() AS rows,
        sum(cityHash64(event_id, purposes, visitor_id, account_id, device_key)) AS marks
    FROM events
    WHERE site = {site:String}
        AND toStartOfFifteenMinutes(time) >= toDateTime(intDiv({from:Int64}, 1000), 'UTC')
        AND toStartOfFifteenMinutes(time) < toDateTime(intDiv({to:Int64}, 1000), 'UTC')
    GROUP BY day`

// lookAtDays reads the rows' marks, the builds and the marks of all withdrawals of the purpose. A join would let the
// engine read the events themselves, so what belongs together is put together by a second grouping.
const lookAtDays = `
WITH denied AS
(
    SELECT subject, max(denied_at) AS until
    FROM consent_masks
    WHERE site = {site:String} AND purpose = {bit:UInt8} AND subject != 0
    GROUP BY subject
)
SELECT
    toInt64(toUInt16(day)), sum(rows), sum(marks), max(build), max(toUnixTimestamp64Milli(built_at)),
    max(definition), max(built_rows), max(built_marks), max(masks), max(touching),
    (SELECT sum(cityHash64(subject, until)) FROM denied), toInt64(toUnixTimestamp64Milli(now64(3)))
FROM
(
    SELECT day, rows, marks, toUInt64(0) AS build, toDateTime64(0, 3, 'UTC') AS built_at,
        toUInt64(0) AS definition, toUInt64(0) AS built_rows, toUInt64(0) AS built_marks, toUInt64(0) AS masks, toUInt64(0) AS touching
    FROM (` + marksOfRows + `)
    UNION ALL
    SELECT day, toUInt64(0) AS rows, toUInt64(0) AS marks, latest.1, latest.2, latest.3, latest.4, latest.5, latest.6, latest.7
    FROM
    (
        SELECT day, argMax((build, built_at, definition, rows, marks, masks, touching), build) AS latest
        FROM rollup_days
        WHERE site = {site:String} AND policy = {policy_id:String} AND bit = {bit:UInt8} AND day BETWEEN {first:Date} AND {last:Date}
        GROUP BY day
    )
)
GROUP BY day
ORDER BY day`

// lookAtWithdrawals finds the withdrawals that take something of a day away from the purpose.
const lookAtWithdrawals = `
WITH denied AS
(
    SELECT subject, max(denied_at) AS until
    FROM consent_masks
    WHERE site = {site:String} AND purpose = {bit:UInt8} AND subject != 0
    GROUP BY subject
)
SELECT toInt64(toUInt16(day)), sum(cityHash64(subject, until))
FROM
(
    SELECT DISTINCT toDate(e.time, {time_zone:String}) AS day, d.subject AS subject, d.until AS until
    FROM
    (
        SELECT time, arrayJoin([visitor_id, account_id, device_key]) AS id
        FROM events
        WHERE site = {site:String}
            AND time >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
            AND time < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
            AND bitTest(purposes, {bit:UInt8})
            AND hasAny([visitor_id, account_id, device_key], (SELECT groupArray(subject) FROM denied))
    ) AS e
    INNER JOIN denied AS d ON d.subject = e.id
    WHERE e.time <= d.until
)
GROUP BY day`

// Params are bound parameters for the days first to last, both included, besides the gate's.
func (s Scope) Params(first, last time.Time) map[string]string {
	return map[string]string{
		"site": s.Site.ID, "policy": s.Pack.ID + "/", "policy_id": s.Pack.ID, "bit": strconv.Itoa(int(s.Purpose.Bit)),
		"time_zone": s.Site.Location.String(), "first": first.Format(time.DateOnly), "last": last.Format(time.DateOnly),
		"from": strconv.FormatInt(midnight(first, s.Site.Location).UnixMilli(), 10),
		"to":   strconv.FormatInt(midnight(last.AddDate(0, 0, 1), s.Site.Location).UnixMilli(), 10),
	}
}

// Reader asks for builds. It is safe for concurrent use.
type Reader struct {
	DB Store

	categories  map[string]core.Category
	mu          sync.Mutex
	definitions map[reading]uint64
}

// reading is what a definition depends on.
type reading struct {
	zone string
	may  core.CategorySet
}

// NewReader reads the schema.
func NewReader(db Store) (*Reader, error) {
	byColumn, err := categories()
	if err != nil {
		return nil, err
	}
	return &Reader{DB: db, categories: byColumn, definitions: map[reading]uint64{}}, nil
}

// Look tells of the days first to last, both included, which builds may stand for them at this moment. Days of no row and
// no build are not among them.
func (r *Reader) Look(ctx context.Context, s Scope, first, last, now time.Time, limits clickhouse.Limits) ([]Day, error) {
	return look(ctx, r.DB, s, r.definition(s), first, last, now, limits)
}

func (r *Reader) definition(s Scope) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := reading{s.Site.Location.String(), s.Purpose.Categories}
	defined, known := r.definitions[at]
	if !known {
		defined = definition(kindsFor(r.categories, s.Purpose.Categories), s.Site.Location)
		r.definitions[at] = defined
	}
	return defined
}

func look(ctx context.Context, db Store, s Scope, defined uint64, first, last, now time.Time, limits clickhouse.Limits) ([]Day, error) {
	params := s.Params(first, last)
	var days []Day
	err := db.Select(ctx, lookAtDays, params, limits, func(rows clickhouse.Rows) error {
		for rows.Next() {
			var (
				d                Day
				date, built, now int64
			)
			err := rows.Scan(&date, &d.Rows, &d.marks, &d.Build, &built, &d.built.definition, &d.built.rows, &d.built.marks, &d.built.masks, &d.built.touching,
				&d.masks, &now)
			if err != nil {
				return err
			}
			d.Date = midnight(time.Unix(date*86400, 0).UTC(), s.Site.Location)
			if d.Build != 0 {
				d.BuiltAt, d.age = time.UnixMilli(built).UTC(), time.Duration(now-built)*time.Millisecond
			}
			days = append(days, d)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look at days: %w", err)
	}
	if err := findTouching(ctx, db, params, limits, days); err != nil {
		return nil, fmt.Errorf("look at withdrawals: %w", err)
	}
	oldest, today := now.Add(-s.Keep), midnight(now.In(s.Site.Location), s.Site.Location)
	for i := range days {
		days[i].judge(defined, oldest, today)
	}
	return days, nil
}

// findTouching finds what withdrawals take from each day, unless all withdrawals are those that every build knows.
func findTouching(ctx context.Context, db Store, params map[string]string, limits clickhouse.Limits, days []Day) error {
	known := true
	for i := range days {
		known = known && days[i].masks == days[i].built.masks
		days[i].touching = days[i].built.touching
	}
	if known {
		return nil
	}
	touching := map[int64]uint64{}
	err := db.Select(ctx, lookAtWithdrawals, params, limits, func(rows clickhouse.Rows) error {
		for rows.Next() {
			var (
				date int64
				sum  uint64
			)
			if err := rows.Scan(&date, &sum); err != nil {
				return err
			}
			touching[date] = sum
		}
		return nil
	})
	for i := range days {
		days[i].touching = touching[Number(days[i].Date)]
	}
	return err
}

// judge holds the build against what there is now.
func (d *Day) judge(defined uint64, oldest, today time.Time) {
	b := d.built
	switch {
	case d.Date.Before(oldest):
		d.Cause = Expiring
	case d.Build == 0:
		d.Cause = NotBuilt
	case b.definition != defined:
		d.Cause = Redefined
	case b.touching != d.touching:
		d.Cause = Withdrawal
	case b.rows != d.Rows || b.marks != d.marks:
		d.Cause = Changed
		d.Usable = d.Date.Equal(today) && d.age < Freshness
	default:
		d.Usable = true
	}
}

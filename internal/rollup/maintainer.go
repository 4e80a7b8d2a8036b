package rollup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
)

const (
	turnInterval = time.Minute
	// budget is after how much time a turn begins no further build. What is due is due the next time.
	budget = 45 * time.Second
	// Few rows are read as fast as their sums.
	Few = 200_000
	// wantedFor is for how long after a read a purpose's days are kept built. A build nobody reads is a copy without a use.
	wantedFor = 30 * 24 * time.Hour
	// grace is how long a build that is no longer in force may still be read by an answer under way.
	grace = 2 * time.Minute
	// sweepInterval is how often builds of the running day are swept, of which there is a new one each minute.
	sweepInterval = 15 * time.Minute
)

// Maintainer keeps days built. One process may run it.
type Maintainer struct {
	DB       Writer
	Sites    *site.Registry
	Policies *policy.Register
	Metrics  *Metrics // nil: none
	Logger   *slog.Logger
	Now      func() time.Time
	// Threads bound one statement. 0: the engine decides.
	Threads int
	// Few is how few rows of a site are left unbuilt. 0: Few.
	Few uint64

	firstDue map[due]time.Time
	kept     []string // literals (site, policy, bit) of what is kept built
	latest   uint64   // build
	swept    time.Time
	touched  bool // a day that was over was built anew since the last sweep
}

// Metrics tell how far behind the builds are.
type Metrics struct {
	due     prometheus.Gauge
	seconds prometheus.Histogram
}

// NewMetrics registers them.
func NewMetrics(registry *prometheus.Registry) *Metrics {
	m := &Metrics{
		due: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sekisho_rollup_days_due", Help: "Days whose sums are out of date, of all sites and purposes, after the last turn."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sekisho_rollup_build_seconds", Help: "Duration of the build of one day for one purpose.", Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
	}
	registry.MustRegister(m.due, m.seconds)
	return m
}

// due is a day to be built.
type due struct {
	site, policy, purpose string
	date                  time.Time
}

// need is a due day with what it takes to build it.
type need struct {
	due
	scope Scope
	kinds []*Kind
	since time.Time
	over  bool // the day is over
}

// Run builds what is due every minute until ctx ends.
func (m *Maintainer) Run(ctx context.Context) error {
	tick := time.NewTicker(turnInterval)
	defer tick.Stop()
	for {
		built, left, err := m.Turn(ctx)
		switch {
		case err != nil && ctx.Err() == nil: // the answers read what is not built from the events
			m.Logger.LogAttrs(ctx, slog.LevelError, "rollups are behind", slog.Any("error", err))
		case left > 0 && err == nil:
			m.Logger.LogAttrs(ctx, slog.LevelInfo, "days built", slog.Int("built", built), slog.Int("due", left))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Turn builds the days that are due, those that have been due longest first, until its time is up.
func (m *Maintainer) Turn(ctx context.Context) (built, left int, err error) {
	needs, err := m.needs(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("find days due: %w", err)
	}
	began := time.Now()
	for i, n := range needs {
		if time.Since(began) > budget {
			left = len(needs) - i
			break
		}
		if err := m.one(ctx, n); err != nil {
			return built, len(needs) - i, err
		}
		built++
	}
	if m.Metrics != nil {
		m.Metrics.due.Set(float64(left))
	}
	return built, left, m.sweep(ctx, m.touched)
}

func (m *Maintainer) one(ctx context.Context, n need) error {
	began := time.Now()
	if err := m.build(ctx, n.scope, n.kinds, n.date); err != nil {
		return fmt.Errorf("build a day: %w", err)
	}
	m.touched = m.touched || n.over
	delete(m.firstDue, n.due)
	if m.Metrics != nil {
		m.Metrics.seconds.Observe(time.Since(began).Seconds())
	}
	return nil
}

// Rebuild builds one day of a site for every purpose that has rows of it or is named, whether it is due or not. No
// purposes: all of the policy in force.
func (m *Maintainer) Rebuild(ctx context.Context, siteID string, date time.Time, purposes ...string) error {
	where, ok := m.Sites.Get(siteID)
	if !ok {
		return errors.New("rebuild a day: the site is not registered")
	}
	scopes, err := m.scopes(where, purposes)
	if err != nil {
		return fmt.Errorf("rebuild a day: %w", err)
	}
	for _, n := range scopes {
		n.date, n.over = midnight(date, where.Location), true
		if err := m.one(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// scopes are what a site's days may be built for: its policy in force, and of its purposes the named ones, or all.
func (m *Maintainer) scopes(where *site.Site, purposes []string) ([]need, error) {
	now := m.Now()
	pack, ok := m.Policies.At(where.Policy, now)
	if !ok {
		return nil, nil
	}
	keep, err := Keep(m.Policies, now)
	if err != nil {
		return nil, err
	}
	byColumn, err := categories()
	if err != nil {
		return nil, err
	}
	var list []need
	for i := range pack.Purposes {
		p := &pack.Purposes[i]
		if len(purposes) > 0 && !slices.Contains(purposes, p.ID) {
			continue
		}
		list = append(list, need{
			due:   due{site: where.ID, policy: pack.ID, purpose: p.ID},
			scope: Scope{Site: where, Pack: pack, Purpose: p, Keep: keep}, kinds: kindsFor(byColumn, p.Categories),
		})
	}
	return list, nil
}

// needs are the days whose builds are not true, the one that has been due longest first; of several, the latest day.
func (m *Maintainer) needs(ctx context.Context) ([]need, error) {
	now := m.Now()
	var list []need
	m.kept = []string{"('', '', 255)"}
	for _, where := range m.Sites.All() {
		wanted, err := m.wanted(ctx, where.ID)
		if err != nil || len(wanted) == 0 {
			if err != nil {
				return nil, err
			}
			continue
		}
		scopes, err := m.scopes(where, wanted)
		if err != nil {
			return nil, err
		}
		for _, n := range scopes {
			m.kept = append(m.kept, "("+quote(n.site)+", "+quote(n.policy)+", "+strconv.Itoa(int(n.scope.Purpose.Bit))+")")
			found, err := m.needsOf(ctx, n, now)
			if err != nil {
				return nil, err
			}
			list = append(list, found...)
		}
	}
	m.remember(list, now)
	slices.SortFunc(list, func(a, b need) int {
		if c := a.since.Compare(b.since); c != 0 {
			return c
		}
		return b.date.Compare(a.date)
	})
	return list, nil
}

func (m *Maintainer) needsOf(ctx context.Context, n need, now time.Time) ([]need, error) {
	today := midnight(now.In(n.scope.Site.Location), n.scope.Site.Location)
	first := now.Add(-n.scope.Keep).In(n.scope.Site.Location)
	days, err := look(ctx, m.DB, n.scope, definition(n.kinds, n.scope.Site.Location), first, today, now, clickhouse.Limits{})
	if err != nil {
		return nil, err
	}
	var rows uint64
	for _, d := range days {
		rows += d.Rows
	}
	few := m.Few
	if few == 0 {
		few = Few
	}
	var list []need
	for _, d := range days {
		// Where there is a build it is kept true whatever the site's size, so that nothing of what is gone stays in it.
		if d.Cause == "" || d.Cause == Expiring || rows < few && d.Build == 0 {
			continue
		}
		n.date, n.over = d.Date, d.Date.Before(today)
		list = append(list, n)
	}
	return list, nil
}

// remember notes since when each day has been due.
func (m *Maintainer) remember(list []need, now time.Time) {
	since := map[due]time.Time{}
	for i := range list {
		list[i].since = now
		if t, known := m.firstDue[list[i].due]; known {
			list[i].since = t
		}
		since[list[i].due] = list[i].since
	}
	m.firstDue = since
}

// wanted are the purposes for which somebody read the site lately.
func (m *Maintainer) wanted(ctx context.Context, siteID string) ([]string, error) {
	var purposes []string
	err := m.DB.Select(ctx, `SELECT DISTINCT toString(purpose) AS purpose FROM audit
		WHERE site = {site:String} AND result = 'ok' AND time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND purpose != '' ORDER BY purpose`,
		map[string]string{"site": siteID, "since": strconv.FormatInt(m.Now().Add(-wantedFor).UnixMilli(), 10)}, clickhouse.Limits{},
		func(rows clickhouse.Rows) error {
			for rows.Next() {
				var p string
				if err := rows.Scan(&p); err != nil {
					return err
				}
				purposes = append(purposes, p)
			}
			return nil
		})
	return purposes, err
}

// inForce are the builds that answers may read.
const inForce = "(SELECT site, policy, bit, day, max(build) FROM rollup_days GROUP BY site, policy, bit, day)"

// sweep deletes builds that are no longer in force or that nobody reads, and the numbers of subjects that are in none any
// more. now: at once, because somebody may be in them who is in no row any more.
//
// A build that is read by an answer under way stays: cells go when they have been out of force for a while.
func (m *Maintainer) sweep(ctx context.Context, now bool) error {
	if !now && m.Now().Sub(m.swept) < sweepInterval {
		return nil
	}
	old := strconv.FormatInt(m.Now().Add(-grace).UnixMicro(), 10)
	of := "(site, policy, bit, day) IN (SELECT site, policy, bit, day FROM rollup_days GROUP BY site, policy, bit, day HAVING max(build) >= " + old + ")"
	left, err := m.delete(ctx, "rollup_cells", "(site, policy, bit, day, build) NOT IN "+inForce, "build < "+old+" AND NOT "+of)
	if err != nil {
		return fmt.Errorf("sweep old builds: %w", err)
	}
	keep, err := Keep(m.Policies, m.Now())
	if err != nil {
		return fmt.Errorf("sweep old builds: %w", err)
	}
	unread := "((site, policy, bit) NOT IN (" + strings.Join(m.kept, ", ") + ") OR day < toDate(" + quote(m.Now().Add(-keep).AddDate(0, 0, -1).Format(time.DateOnly)) + "))"
	if _, err := m.delete(ctx, "rollup_days", "(site, policy, bit, day, build) NOT IN "+inForce+" OR "+unread, "build < "+old); err != nil {
		return fmt.Errorf("sweep old builds: %w", err)
	}
	if err := m.sweepSubjects(ctx); err != nil {
		return fmt.Errorf("sweep subjects: %w", err)
	}
	m.touched = m.touched && left // what is too young to go is looked for again
	m.swept = m.Now()
	return nil
}

// delete deletes the rows that are to go and may go already, and tells whether others are left.
func (m *Maintainer) delete(ctx context.Context, table, going, may string) (left bool, err error) {
	var gone, young uint64
	err = clickhouse.One(ctx, m.DB, "SELECT countIf("+may+"), countIf(NOT ("+may+")) FROM "+table+" WHERE "+going, nil, &gone, &young)
	if err == nil && gone > 0 {
		err = m.DB.Exec(ctx, "ALTER TABLE "+table+" DELETE WHERE ("+going+") AND ("+may+") SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1")
	}
	return young > 0, err
}

// sweepSubjects deletes the numbers that no stored cell names.
func (m *Maintainer) sweepSubjects(ctx context.Context) error {
	for _, where := range m.Sites.All() {
		its := "site = " + quote(where.ID)
		cells := " FROM rollup_cells WHERE " + its + " AND kind = 'coverage'"
		its += " AND NOT bitmapContains((SELECT groupBitmapMergeState(names) FROM (SELECT lasting_set AS names" + cells + " UNION ALL SELECT passing_set AS names" + cells + ")), number)"
		var gone uint64
		if err := clickhouse.One(ctx, m.DB, "SELECT count() FROM rollup_subjects WHERE "+its, nil, &gone); err != nil {
			return err
		}
		if gone == 0 {
			continue
		}
		if err := m.DB.Exec(ctx, "ALTER TABLE rollup_subjects DELETE WHERE "+its+" SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1"); err != nil {
			return err
		}
	}
	return nil
}

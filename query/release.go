package query

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/gate"
	"github.com/sekisho/sekisho/query/noise"
)

// An answer is released once. The same question, however it is put, gets it again for as long as nothing has changed
// that it rests on; a withdrawal changes that at once. And a question that nearly asks for the people of another one
// gets the other one's answer, because the difference of two answers would be one about few people:
//
//   - A filter that leaves out fewer than the threshold has no effect (A, and A but not B).
//   - A period for which few people are in or out of an earlier one gets the answer of the earlier one.
//
// How few that is has the uncertainty and the constancy of the noise (noise.Cell.Differs).

// release is what was told of a question, whole: limit, form and language pick from it.
type release struct {
	Rows     []Row    `json:"rows"`
	Shown    int      `json:"shown"`
	Withheld int      `json:"withheld"`
	Coverage Coverage `json:"coverage"`
	// Dropped are the filters without effect, by dimension and operator.
	Dropped []string `json:"dropped,omitempty"`

	id       uuid.UUID
	asOf     time.Time
	behind   bool // events have come since asOf
	reused   bool
	from, to time.Time // of the people behind it; not the period that was asked for when that differs by few
}

// Release says which release an answer is.
type Release struct {
	ID     string    `json:"id"`
	AsOf   time.Time `json:"as_of"`
	Reused bool      `json:"reused"`
	// Period is the one that was released, where the one that was asked for differs from it by too few people.
	Period *Period `json:"period,omitempty"`
	// DroppedFilters leave out too few people to have an effect. By dimension and operator.
	DroppedFilters []string `json:"dropped_filters,omitempty"`
}

// describe tells of the release as the answer to a request.
func (l *release) describe(r *request) *Release {
	d := &Release{ID: l.id.String(), AsOf: l.asOf, Reused: l.reused, DroppedFilters: l.Dropped}
	if !l.from.Equal(r.from) || !l.to.Equal(r.to) {
		d.Period = &Period{l.from, l.to}
	}
	return d
}

const (
	// maxNeighbours is how many earlier periods a new one is held against. Each is the nearest in some direction: whoever is
	// in one that is farther is in it as well.
	maxNeighbours = 16
	// maxPeriods is how many earlier periods are looked through for those.
	maxPeriods = 2000
	// maxKept is the most rows of an answer that is kept.
	maxKept = 20_000
)

// decisive are the statements that decide about a release.
var decisive = []string{"release", "state", "neighbours", "cohort", "difference", "private", "spent"}

// release answers a request: with what was released before, or anew.
func (q *Query) release(ctx context.Context, r *request, planned *plan) (*release, error) {
	if q.config.Bare || r.report.records || r.report.recent > 0 { // records have no subjects of their own; a recent period is over at once
		return q.compute(ctx, r, planned)
	}
	state, err := q.state(ctx)
	if err != nil {
		return nil, err
	}
	if found, err := q.released(ctx, r, planned, state); found != nil || err != nil {
		return found, err
	}
	asked := r
	dropped, err := q.ineffective(ctx, r, planned)
	if err != nil {
		return nil, err
	}
	var names []string
	if len(dropped) > 0 {
		without := *r
		without.filters = nil
		for i, f := range r.filters {
			if slices.Contains(dropped, i) {
				names = append(names, f.shape())
			} else {
				without.filters = append(without.filters, f)
			}
		}
		r = &without
		var fault *core.Error
		if planned, fault = q.planner.plan(r); fault != nil {
			return nil, fault
		}
	}
	if r, planned, err = q.nearest(ctx, r, planned); err != nil {
		return nil, err
	}
	answer, err := q.released(ctx, r, planned, state)
	if err != nil {
		return nil, err
	}
	if answer == nil {
		if answer, err = q.compute(ctx, r, planned); err != nil {
			return nil, err
		}
		if !answer.behind { // otherwise it is not the answer for as long as nothing changes
			if err := q.keep(ctx, r, q.key(r, planned), answer, state); err != nil {
				return nil, err
			}
		}
	}
	if len(names) > 0 && len(r.filters) < len(asked.filters) {
		answer.Dropped = names
	}
	return answer, nil
}

// compute reads a report and what its coverage is. Where other filters turned out to mean the very same events before,
// it is the release that they made: no two ways to say one thing are two draws.
func (q *Query) compute(ctx context.Context, r *request, planned *plan) (*release, error) {
	planned, err := q.choose(ctx, r, planned)
	if err != nil {
		return nil, err
	}
	read, err := q.readResults(ctx, r, planned)
	if err != nil {
		return nil, err
	}
	coverage, err := q.cover(ctx, r, planned)
	if err != nil {
		return nil, fmt.Errorf("run coverage: %w", err)
	}
	var content map[string]string
	if len(r.filters) > 0 && !q.config.Bare && r.report.recent == 0 {
		content = q.content(r, planned, read)
		found, err := q.find(ctx, r, planned, content, nil)
		if err != nil {
			return nil, err
		}
		if found != nil {
			found.Coverage = coverage
			return found, nil
		}
	}
	id, err := uuid.NewRandomFromReader(q.deps.Random)
	if err != nil {
		return nil, fmt.Errorf("name release: %w", err)
	}
	told := q.assemble(r, planned, read)
	l := &release{
		Rows: told.rows, Shown: told.shown, Withheld: told.withheld, Coverage: coverage,
		id: id, asOf: q.deps.Now().UTC().Truncate(time.Microsecond), from: r.from, to: r.to,
	}
	if made := planned.choice.asOf; !made.IsZero() {
		l.asOf, l.behind = made, true
	}
	if content == nil {
		return l, nil
	}
	return l, q.keep(ctx, r, content, l, 0)
}

// content binds what was read, before anything was withheld or blurred, in place of the filters that picked it.
func (q *Query) content(r *request, planned *plan, read []*result) map[string]string {
	bare := *r
	bare.filters = nil
	all := append(bare.shapeOf(planned.k), "content")
	for i, part := range read {
		all = append(all, planned.parts[i].part.file, strconv.Itoa(part.small), strconv.FormatUint(part.smallSubjects, 10), strconv.Itoa(part.all))
		for _, g := range part.groups {
			for _, c := range planned.parts[i].part.columns {
				all = append(all, fmt.Sprint(g.row[c.name]))
			}
			for _, n := range []uint64{g.subjects, g.people, g.low, g.high} {
				all = append(all, strconv.FormatUint(n, 10))
			}
		}
	}
	return q.bind(r, all)
}

// key binds the parameters of a question.
func (q *Query) key(r *request, planned *plan) map[string]string {
	shape := append(r.shapeOf(planned.k), r.site.Location.String())
	for _, s := range planned.parts {
		for _, c := range s.part.columns {
			shape = append(shape, s.part.file+"."+c.name)
		}
	}
	return q.bind(r, shape)
}

func (q *Query) bind(r *request, shape []string) map[string]string {
	hash := q.hash.Hash(shape...)
	return map[string]string{
		"site": r.site.ID, "shape": hex.EncodeToString(hash[:]),
		"from": strconv.FormatInt(r.from.UnixMilli(), 10), "to": strconv.FormatInt(r.to.UnixMilli(), 10),
	}
}

// state is a number that is another as soon as anything changes that an answer may rest on.
func (q *Query) state(ctx context.Context) (state uint64, err error) {
	err = q.look(ctx, q.planner.text("state", nil, nil), nil, func(rows clickhouse.Rows) error {
		for rows.Next() {
			if err := rows.Scan(&state); err != nil {
				return err
			}
		}
		return nil
	})
	return state, err
}

// released finds the answer to a question, if there is one and nothing has changed since.
func (q *Query) released(ctx context.Context, r *request, planned *plan, state uint64) (*release, error) {
	return q.find(ctx, r, planned, q.key(r, planned), &state)
}

// find is the latest release under a key, of a state if one is given.
func (q *Query) find(ctx context.Context, r *request, planned *plan, key map[string]string, state *uint64) (*release, error) {
	var found *release
	err := q.look(ctx, q.planner.text("release", nil, nil), key, func(rows clickhouse.Rows) error {
		for rows.Next() {
			var (
				id, answer string
				asOf       time.Time
				rested     uint64
			)
			if err := rows.Scan(&id, &asOf, &rested, &answer); err != nil {
				return err
			}
			if state != nil && rested != *state {
				continue
			}
			kept, err := planned.decode(answer)
			if err != nil {
				return err
			}
			if kept.id, err = uuid.Parse(id); err != nil {
				return err
			}
			kept.asOf, kept.reused, kept.from, kept.to = asOf.UTC(), true, r.from, r.to
			found = kept
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find release: %w", err)
	}
	return found, nil
}

// keep stores an answer before it leaves.
func (q *Query) keep(ctx context.Context, r *request, key map[string]string, l *release, state uint64) error {
	if len(l.Rows) > maxKept {
		return nil // it is the same without being kept, as long as the data is
	}
	answer, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("keep release: %w", err)
	}
	shape, err := hex.DecodeString(key["shape"])
	if err != nil {
		return fmt.Errorf("keep release: %w", err)
	}
	err = q.deps.Store.Insert(ctx, "releases", l.id.String()+"/"+key["shape"], []clickhouse.Column{
		{Name: "site", Values: []string{r.site.ID}},
		{Name: "shape", Values: []string{string(shape)}},
		{Name: "period_from", Values: []time.Time{r.from.UTC()}},
		{Name: "period_to", Values: []time.Time{r.to.UTC()}},
		{Name: "as_of", Values: []time.Time{l.asOf}},
		{Name: "id", Values: []uuid.UUID{l.id}},
		{Name: "state", Values: []uint64{state}},
		{Name: "purpose", Values: []string{r.purpose.ID}},
		{Name: "report", Values: []string{r.report.name}},
		{Name: "answer", Values: []string{string(answer)}},
	})
	if err != nil {
		return fmt.Errorf("keep release: %w", err)
	}
	return nil
}

// decode reads a kept answer back into the types of its columns.
func (p *plan) decode(answer string) (*release, error) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(answer)))
	decoder.UseNumber()
	var l release
	if err := decoder.Decode(&l); err != nil {
		return nil, fmt.Errorf("read release: %w", err)
	}
	for _, s := range p.parts {
		for _, row := range l.Rows {
			rows := []Row{row}
			if s.part.into != "" {
				below, _ := row[s.part.into].([]any)
				rows = make([]Row, 0, len(below))
				for _, b := range below {
					if r, ok := b.(map[string]any); ok {
						rows = append(rows, r)
					}
				}
				if row[s.part.into] != nil {
					row[s.part.into] = rows
				}
			}
			for _, r := range rows {
				if err := s.part.retype(r); err != nil {
					return nil, err
				}
			}
		}
	}
	return &l, nil
}

func (p *part) retype(row Row) error {
	for _, c := range p.columns {
		number, ok := row[c.name].(json.Number)
		if !ok {
			continue
		}
		var err error
		if c.kind == ratio {
			row[c.name], err = number.Float64()
		} else {
			row[c.name], err = strconv.ParseUint(number.String(), 10, 64)
		}
		if err != nil {
			return fmt.Errorf("read release: column %s: %w", c.name, err)
		}
	}
	return nil
}

// clause is a condition of a request that can be left away: the values that a dimension may have, or one that it may not.
type clause struct {
	filters   []int // by their index
	condition string
	text      string
}

// clauses are the conditions that pick among events. A filter that picks among the rows of an answer changes none of them.
func (p *plan) clauses(filters []filter) []clause {
	var all []clause
	at := map[string]int{}
	for i, f := range filters {
		if !slices.ContainsFunc(p.parts, func(s statement) bool { return !s.part.shows(f.dimension) }) {
			continue
		}
		sql := f.condition(dimensions[f.dimension].column, "f"+strconv.Itoa(i))
		if j, more := at[f.dimension]; more && !f.not {
			all[j].filters, all[j].condition, all[j].text = append(all[j].filters, i), all[j].condition+" OR "+sql, all[j].text+"|"+f.String()
			continue
		}
		if !f.not {
			at[f.dimension] = len(all)
		}
		all = append(all, clause{[]int{i}, sql, f.String()})
	}
	return all
}

// shows reports whether the dimension is a column of the part's rows.
func (p *part) shows(dimension string) bool {
	return slices.ContainsFunc(p.columns, func(c column) bool { return c.name == dimension && c.kind == text })
}

// ineffective are the filters, by index, that leave out too few people to be told from no filter: nobody, or a few. Two
// that leave out the same people only together are found one after the other.
func (q *Query) ineffective(ctx context.Context, r *request, planned *plan) (dropped []int, err error) {
	clauses := planned.clauses(r.filters)
	if len(clauses) == 0 {
		return nil, nil
	}
	failing := make([]string, len(clauses))
	columns := slices.Clone(r.reads)
	for i, c := range clauses {
		failing[i] = fmt.Sprintf("toUInt32(NOT (%s)) * %d", c.condition, 1<<i)
		columns = append(columns, dimensions[r.filters[c.filters[0]].dimension].column)
	}
	sql := "WITH " + gate.Permitted(columns, nil) + "\n" +
		strings.Replace(q.planner.text("cohort", nil, nil), "/*failing*/", strings.Join(failing, " + "), 1)
	kept := uint32(1)<<len(clauses) - 1
	for kept != 0 {
		params := planned.over(r.from, r.to).params
		params["kept"] = strconv.FormatUint(uint64(kept), 10)
		alone := map[uint64]noise.Cohort{}
		err := q.look(ctx, sql, params, func(rows clickhouse.Rows) error {
			for rows.Next() {
				var (
					bit uint64
					who noise.Cohort
				)
				if err := rows.Scan(&bit, &who.People, &who.Low, &who.High); err != nil {
					return err
				}
				alone[bit] = who
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("compare cohorts: %w", err)
		}
		i := -1
		for j, c := range clauses {
			bit := uint32(1) << j
			definition := append(r.definition(&part{}, nil), "without", c.text)
			if kept&bit != 0 && !q.differ(definition, alone[uint64(bit)], planned.k) {
				i = j
				break
			}
		}
		if i < 0 {
			break
		}
		kept &^= 1 << i
		dropped = append(dropped, clauses[i].filters...)
	}
	return dropped, nil
}

// differ reports whether a cohort is large enough to be the difference between two answers.
func (q *Query) differ(definition []string, who noise.Cohort, k int) bool {
	if q.noise == nil {
		return who.People >= uint64(k) //nolint:gosec // G115: at least 2
	}
	return q.noise.Cell(definition, who).Differs(uint64(k)) //nolint:gosec // G115: at least 2
}

// stretch is a time [from, to).
type stretch struct{ from, to time.Time }

// nearest is the request itself, or the same one over an earlier period when too few people are in one of the two only.
func (q *Query) nearest(ctx context.Context, r *request, planned *plan) (*request, *plan, error) {
	var others []stretch
	err := q.look(ctx, q.planner.text("neighbours", nil, nil), q.key(r, planned), func(rows clickhouse.Rows) error {
		for rows.Next() {
			var from, to int64
			if err := rows.Scan(&from, &to); err != nil {
				return err
			}
			others = append(others, stretch{time.UnixMilli(from).In(r.site.Location), time.UnixMilli(to).In(r.site.Location)})
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("find earlier periods: %w", err)
	}
	tooMany := &core.Error{Code: core.CodeNearDuplicate, Field: "from", Message: "too many earlier answers are of nearly the same period; ask for one of those"}
	if len(others) > maxPeriods {
		return nil, nil, tooMany
	}
	near := front(stretch{r.from, r.to}, others)
	if len(near) > maxNeighbours {
		return nil, nil, tooMany
	}
	for _, other := range near {
		who, err := q.between(ctx, r, planned, stretch{r.from, r.to}.except(other))
		if err != nil {
			return nil, nil, err
		}
		definition := append(r.definition(&part{}, nil), "but", strconv.FormatInt(other.from.UnixMilli(), 10), strconv.FormatInt(other.to.UnixMilli(), 10))
		if q.differ(definition, who, planned.k) {
			continue
		}
		same := *r
		same.from, same.to = other.from, other.to
		return &same, planned.over(other.from, other.to), nil
	}
	return r, planned, nil
}

// front are the periods that no other one is nearer than, on either side: nearer means that both its beginning and its
// end lie between those of the farther one and those of s, so that whoever is in the difference of s and the nearer is in
// that of s and the farther.
func front(s stretch, others []stretch) []stretch {
	nearer := func(a, b stretch) bool {
		within := func(a, b, s time.Time) bool { // a lies between b and s
			return !a.Before(earlier(b, s)) && !a.After(later(b, s))
		}
		return a != b && within(a.from, b.from, s.from) && within(a.to, b.to, s.to)
	}
	var kept []stretch
	for _, o := range others {
		if !slices.ContainsFunc(others, func(a stretch) bool { return nearer(a, o) }) {
			kept = append(kept, o)
		}
	}
	return kept
}

// except are the times that are in one of two overlapping stretches only.
func (s stretch) except(other stretch) []stretch {
	var parts []stretch
	for _, p := range []stretch{
		{earlier(s.from, other.from), later(s.from, other.from)},
		{earlier(s.to, other.to), later(s.to, other.to)},
	} {
		if p.from.Before(p.to) {
			parts = append(parts, p)
		}
	}
	return parts
}

// between is who is behind a request in some stretches of time. When they are more than can be few, not all are counted.
func (q *Query) between(ctx context.Context, r *request, planned *plan, times []stretch) (noise.Cohort, error) {
	rows, _ := conditions(&part{}, r.filters)
	columns := slices.Clone(r.reads)
	for _, f := range r.filters {
		columns = append(columns, dimensions[f.dimension].column)
	}
	sql := "WITH " + gate.Permitted(columns, rows) + "\n" + q.planner.text("difference", nil, nil)
	type subject struct {
		hash  uint64
		daily bool
		day   uint32
	}
	var (
		who             noise.Cohort
		lasting, days   = map[uint64]bool{}, map[uint32]bool{}
		passing         = map[subject]bool{}
		epochs, periods = 1, 1
	)
	for _, t := range times {
		epochs = max(epochs, gate.Epochs(earlier(t.from, r.from), later(t.to, r.to)))
		periods += int(t.to.Sub(t.from)/(24*time.Hour)) + 1
	}
	few := planned.k
	if q.noise != nil {
		few += 20 * q.noise.Deviation()
	}
	for _, t := range times {
		params := planned.over(t.from, t.to).params
		params["most"] = strconv.Itoa(few * (epochs + periods))
		err := q.look(ctx, sql, params, func(rows clickhouse.Rows) error {
			for rows.Next() {
				var s subject
				if err := rows.Scan(&s.hash, &s.daily, &s.day); err != nil {
					return err
				}
				if len(lasting)+len(passing) == 0 {
					who.Low = s.hash
				}
				who.Low, who.High = min(who.Low, s.hash), max(who.High, s.hash)
				if s.daily {
					passing[s], days[s.day] = true, true
				} else {
					lasting[s.hash] = true
				}
			}
			return nil
		})
		if err != nil {
			return who, fmt.Errorf("compare periods: %w", err)
		}
	}
	who.People = uint64(max((len(lasting)+epochs-1)/epochs, (len(passing)+max(len(days), 1)-1)/max(len(days), 1))) //nolint:gosec // G115: a number of people
	return who, nil
}

// look reads what decides about an answer: the statements of this file.
func (q *Query) look(ctx context.Context, sql string, params map[string]string, scan func(clickhouse.Rows) error) error {
	return q.deps.Store.Select(ctx, sql, params, q.limits(), scan)
}

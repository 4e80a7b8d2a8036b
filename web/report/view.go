package report

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// result is a report as the page shows it.
type result struct {
	Title    string
	Facts    []fact
	Sections []section
	Notes    []string // what has to be known to read the numbers right
	LeftOut  []string // events that the report does not rest on, by reason
	Rests    string   // how many it does rest on
	Empty    bool
	Withheld bool   // it is empty because everything was withheld
	Recent   bool   // it is of what has just been, whatever period was chosen
	Missing  bool   // some cell has no value
	Next     string // address of the rows that follow
	First    string // address of the first rows, where these are others
	File     string // address of the report as a file
}

// fact is a line of what a report is of.
type fact struct{ Name, Value string }

// section is a table with its pictures.
type section struct {
	ID, Title string
	Lead      bool // the report's own rows, not rows within one
	Figures   []figure
	Lines     []*lineChart
	Bars      *barChart
	More      string // how many lines there are beyond those drawn; empty: none
	Table     *table
}

// figure is a single number with its name.
type figure struct{ Name, Value, Was string }

// table is for people and their screen readers: a caption, and headers with their scope.
type table struct {
	Caption string
	Heads   []head
	Rows    [][]cell
	Heat    bool // its cells are shaded by their value
}

type head struct {
	Text   string
	Number bool
	Short  bool // of numbers that name a row
}

// cell is a value, and below it what it was.
type cell struct {
	Text, Was     string
	Number, Names bool
	Shade         int // 1 to 5; 0: none
}

// measure is a column with how it is written, and whether the earlier period's value goes with it.
type measure struct {
	column
	kind     kind
	label    string
	compared bool
}

// unit is how a label ends that names the unit of its numbers.
var unit = regexp.MustCompile(`(?:\((?:seconds|%)\)|（(?:秒|%)）)$`)

// measures are the columns of a table. Those that compare are told with the column that they belong to.
func (p *page) measures(a *answer) []measure {
	names := map[string]bool{}
	for _, c := range a.Columns {
		names[c.Name] = true
	}
	var all []measure
	for _, c := range a.Columns {
		if base, ok := strings.CutSuffix(c.Name, beforeSuffix); ok && names[base] {
			continue
		}
		if base, ok := strings.CutSuffix(c.Name, changeSuffix); ok && names[base] {
			continue
		}
		m := measure{c, a.kindOf(c), plainText(c.Label.in(p.Language)), names[c.Name+beforeSuffix]}
		if m.kind == seconds || m.kind == percent { // the unit stands with each value
			m.label = strings.TrimRight(unit.ReplaceAllString(m.label, ""), " ")
		}
		all = append(all, m)
	}
	return all
}

// result puts an answer into words, pictures and tables.
func (p *page) result(a *answer) *result {
	r := &result{
		Title: p.reportLabel(a.Report), Facts: p.facts(a), Empty: len(a.Rows) == 0,
		Withheld: len(a.Rows) == 0 && a.Suppressed.Groups > 0, Recent: slices.Contains(recent, a.Report), File: "report.csv" + p.Form.query(),
	}
	if a.Next != "" {
		next := p.Form
		next.Cursor = a.Next
		r.Next = "./" + next.query() + "#result"
	}
	if p.Form.Cursor != "" {
		first := p.Form
		first.Cursor = ""
		r.First = "./" + first.query() + "#result"
	}
	p.remark(r, a)
	if !r.Empty {
		r.Sections = append(r.Sections, p.section(r, a, "rows", r.Title))
		r.Sections[0].Lead = true
		p.within(r, a)
	}
	return r
}

// within makes sections of the rows that are within the answer's only row.
func (p *page) within(r *result, a *answer) {
	if len(a.Rows) != 1 {
		return
	}
	for _, m := range p.measures(a) {
		rows, ok := a.Rows[0][m.Name].([]any)
		if m.kind != nested || !ok || len(rows) == 0 {
			continue
		}
		below := *a
		below.Rows, below.Columns, below.Interval, below.Report = nil, nil, "", a.Report+"."+m.Name
		for _, one := range rows {
			if fields, ok := one.(row); ok {
				below.Rows = append(below.Rows, fields)
			}
		}
		below.Columns = p.columnsWithin(&below)
		if len(below.Columns) > 0 {
			r.Sections = append(r.Sections, p.section(r, &below, fmt.Sprintf("within-%d", len(r.Sections)), m.label))
		}
	}
}

// columnsWithin tells the columns of rows within a row: times and names first, then numbers.
func (p *page) columnsWithin(a *answer) []column {
	seen := map[string]bool{}
	var columns []column
	for _, r := range a.Rows {
		for name := range r {
			if !seen[name] {
				seen[name] = true
				c := column{Name: name, Label: label{name, name}}
				if known, ok := p.catalogue.labelOf(name, strings.Split(a.Report, ".")[0]); ok {
					c.Label = known
				}
				columns = append(columns, c)
			}
		}
	}
	rank := func(c column) int {
		k := a.kindOf(c)
		if i := slices.Index([]kind{moment, words, ordinal}, k); i >= 0 {
			return i
		}
		return 3
	}
	slices.SortFunc(columns, func(x, y column) int {
		if d := rank(x) - rank(y); d != 0 {
			return d
		}
		return strings.Compare(x.Name, y.Name)
	})
	return columns
}

// section makes the table of an answer's rows, and the pictures that they call for.
func (p *page) section(r *result, a *answer, id, title string) section {
	s := section{ID: id, Title: title}
	all := p.measures(a)
	var keys, numbers []measure
	for _, m := range all {
		switch {
		case m.kind.names():
			keys = append(keys, m)
		case m.kind != nested:
			numbers = append(numbers, m)
		}
	}
	switch {
	case len(keys) == 0 && len(a.Rows) == 1:
		for _, m := range numbers {
			value := p.cellOf(m, a.Rows[0], a)
			if value.Text == "" {
				value.Text, r.Missing = p.say("missing"), true
			}
			s.Figures = append(s.Figures, figure{m.label, value.Text, value.Was})
		}
		return s
	case len(keys) == 2 && keys[0].kind == moment && keys[1].kind == ordinal && len(numbers) > 0:
		s.Table = p.cohorts(r, a, title, keys, numbers)
		return s
	case len(keys) == 0:
	case keys[0].kind == moment:
		s.Lines = p.lines(a, id, keys, numbers)
	default:
		s.Bars = p.bars(a, id, keys, numbers)
		if s.Bars != nil && len(a.Rows) > len(s.Bars.Bars) {
			s.More = p.say("chart.more", len(s.Bars.Bars), p.Number(len(a.Rows)))
		}
	}
	s.Table = p.table(r, a, title, all)
	return s
}

func (p *page) table(r *result, a *answer, title string, all []measure) *table {
	t := &table{Caption: p.say("table.caption", title, p.period(a.From.In(a.location), a.To.In(a.location)))}
	all = slices.DeleteFunc(slices.Clone(all), func(m measure) bool { return m.kind == nested })
	for _, m := range all {
		t.Heads = append(t.Heads, head{m.label, !m.kind.names(), m.kind == ordinal})
	}
	// The first column that tells rows apart names them.
	naming := 0
	if keys := telling(slices.DeleteFunc(slices.Clone(all), func(m measure) bool { return !m.kind.names() }), a); len(keys) > 0 {
		naming = slices.IndexFunc(all, func(m measure) bool { return m.Name == keys[0].Name })
	}
	for _, fields := range a.Rows {
		cells := make([]cell, len(all))
		for i, m := range all {
			cells[i] = p.cellOf(m, fields, a)
			cells[i].Names = i == naming
			if cells[i].Text == "" {
				cells[i].Text, r.Missing = p.say("missing"), true
			}
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// cellOf writes a value and, below it, what it was.
func (p *page) cellOf(m measure, fields row, a *answer) cell {
	c := cell{Text: p.cell(m.kind, m.column, fields, a), Number: !m.kind.names()}
	if !m.compared {
		return c
	}
	was := p.cell(m.kind, column{Name: m.Name + beforeSuffix}, fields, a)
	if was == "" {
		c.Was = p.say("was.nothing")
		return c
	}
	c.Was = p.say("was", was)
	if n, ok := decimalOf(fields[m.Name+changeSuffix]); ok {
		c.Was = p.say("was.change", was, p.change(n))
	}
	return c
}

// cell writes a value of a row: a purpose by its label, and a step of a funnel, which the answer only numbers, as the
// reader called it.
func (p *page) cell(k kind, c column, fields row, a *answer) string {
	switch id, _ := fields[c.Name].(string); {
	case c.Name == "purpose" && id != "":
		return p.purposeLabel(a.Site, id)
	case c.Name == "step" && k == ordinal:
		if n, ok := decimalOf(fields[c.Name]); ok {
			if i := n.IntPart(); i >= 1 && i <= int64(len(p.Form.Own["step"])) {
				return p.say("step", i, plainText(p.Form.Own["step"][i-1]))
			}
		}
	}
	return p.voice.cell(k, c, fields, a)
}

// nameOf is what a row is called.
func (p *page) nameOf(keys []measure, fields row, a *answer) string {
	var parts []string
	for _, k := range keys {
		text := p.cell(k.kind, k.column, fields, a)
		if v, ok := fields[k.Name].(string); ok && v == "" && len(keys) > 1 {
			continue
		}
		if text != "" {
			parts = append(parts, text)
		}
	}
	if len(parts) == 0 {
		return p.say("none")
	}
	return strings.Join(parts, p.say("join"))
}

func valueOf(fields row, name string) float64 {
	if n, ok := decimalOf(fields[name]); ok {
		return n.InexactFloat64()
	}
	return math.NaN()
}

// bars draws the first rows by their first count, in their order. A share that goes with it is written beside it.
func (p *page) bars(a *answer, id string, keys, numbers []measure) *barChart {
	i := slices.IndexFunc(numbers, func(m measure) bool { return m.kind.counts() })
	if i < 0 || len(a.Rows) < 2 {
		return nil
	}
	m := numbers[i]
	// What is the same in every row is left to the table, and so is what a step is beside what the reader called it.
	keys = telling(keys, a)
	if len(p.Form.Own["step"]) > 0 && keys[0].Name == "step" {
		keys = keys[:1]
	}
	beside := slices.IndexFunc(numbers, func(n measure) bool { return n.kind == share })
	var bars []bar
	longest := -1
	for _, fields := range a.Rows[:min(len(a.Rows), maxBars)] {
		b := bar{Label: p.nameOf(keys, fields, a), now: valueOf(fields, m.Name), Value: p.cell(m.kind, m.column, fields, a)}
		if b.Value == "" {
			b.Value = p.say("missing")
		}
		if beside >= 0 && a.Report == "funnel" {
			if text := p.cell(share, numbers[beside].column, fields, a); text != "" {
				b.Value = p.say("value.share", b.Value, text)
			}
		}
		if m.compared {
			b.before = valueOf(fields, m.Name+beforeSuffix)
			b.hasBefore = !math.IsNaN(b.before)
		}
		b.hasNow = !math.IsNaN(b.now)
		if !b.hasNow {
			b.now = 0
		}
		if !b.hasBefore {
			b.before = 0
		}
		if longest < 0 || b.now > bars[longest].now {
			longest = len(bars)
		}
		bars = append(bars, b)
	}
	text := p.say("chart.bars", len(bars), m.label, bars[longest].Label, bars[longest].Value)
	chart := drawBars(id+"-bars", m.label, text, bars)
	chart.NowText, chart.WasText = p.say("chart.now"), p.say("chart.was")
	return chart
}

// telling are the keys that tell rows apart; all of them where none does.
func telling(keys []measure, a *answer) []measure {
	var some []measure
	for _, k := range keys {
		first := fmt.Sprint(a.Rows[0][k.Name])
		if slices.ContainsFunc(a.Rows, func(r row) bool { return fmt.Sprint(r[k.Name]) != first }) {
			some = append(some, k)
		}
	}
	if len(some) == 0 {
		return keys
	}
	return some
}

// lines draws a series: each of its counts, or the first of them for each name where the rows have names too.
func (p *page) lines(a *answer, id string, keys, numbers []measure) []*lineChart {
	var counts []measure
	for _, m := range numbers {
		if m.kind.counts() {
			counts = append(counts, m)
		}
	}
	if len(counts) == 0 {
		return nil
	}
	var charts []*lineChart
	draw := func(title string, m measure, rows []row) {
		if len(charts) == maxLines {
			return
		}
		if c := p.line(a, fmt.Sprintf("%s-line-%d", id, len(charts)), title, keys[0], m, rows); c != nil {
			charts = append(charts, c)
		}
	}
	if len(keys) == 1 {
		for _, m := range counts {
			draw(m.label, m, a.Rows)
		}
		return charts
	}
	var names []string
	byName := map[string][]row{}
	for _, fields := range a.Rows {
		name := p.nameOf(keys[1:], fields, a)
		if byName[name] == nil {
			names = append(names, name)
		}
		byName[name] = append(byName[name], fields)
	}
	for _, name := range names {
		draw(p.say("chart.of", counts[0].label, shortened(name, 40)), counts[0], byName[name])
	}
	return charts
}

// line draws one measure. A step without a row, which may be withheld, is a gap and no zero.
func (p *page) line(a *answer, id, title string, key, m measure, rows []row) *lineChart {
	var points []point
	at := map[int64]int{}
	step := func(t time.Time) {
		at[t.Unix()] = len(points)
		points = append(points, point{p.at(t, a.Interval, true), math.NaN(), math.NaN()})
	}
	from, to := a.From.In(a.location), a.To.In(a.location)
	for _, t := range starts(from, to, a.Interval) {
		step(t)
	}
	times := make([]time.Time, len(rows))
	for i, fields := range rows {
		t, err := time.Parse(time.RFC3339, fmt.Sprint(fields[key.Name]))
		if err != nil {
			return nil
		}
		times[i] = t.In(a.location)
	}
	if slices.ContainsFunc(times, func(t time.Time) bool { _, there := at[t.Unix()]; return !there }) {
		// Other steps than those of the calendar: the rows themselves are all that is known.
		clear(at)
		points = nil
		for _, t := range times {
			if _, there := at[t.Unix()]; !there {
				step(t)
			}
		}
	}
	low, high := -1, -1
	currency := ""
	for i, fields := range rows {
		n := at[times[i].Unix()]
		points[n].now = valueOf(fields, m.Name)
		if m.compared {
			points[n].before = valueOf(fields, m.Name+beforeSuffix)
		}
		if code, ok := fields["currency"].(string); ok {
			currency = code
		}
		if math.IsNaN(points[n].now) {
			continue
		}
		if low < 0 || points[n].now < valueOf(rows[low], m.Name) {
			low = i
		}
		if high < 0 || points[n].now > valueOf(rows[high], m.Name) {
			high = i
		}
	}
	if high < 0 {
		return nil
	}
	when := func(i int) string { return p.at(times[i], a.Interval, false) }
	text := p.say("chart.line", p.cell(m.kind, m.column, rows[high], a), when(high), p.cell(m.kind, m.column, rows[low], a), when(low))
	chart := drawLine(id, title, text, points, func(v float64) string {
		return p.measure(m.kind, decimal.NewFromFloat(v), currency)
	})
	chart.NowText, chart.WasText = p.say("chart.now"), p.say("chart.was")
	return chart
}

// cohorts lays rows of (first time, periods since) out as a square, shaded by the share that came back.
func (p *page) cohorts(r *result, a *answer, title string, keys, numbers []measure) *table {
	shown := numbers[0]
	if i := slices.IndexFunc(numbers, func(m measure) bool { return m.kind == share }); i >= 0 {
		shown = numbers[i]
	}
	beside := slices.IndexFunc(numbers, func(m measure) bool { return m.Name != shown.Name })
	type place struct {
		cohort string
		offset int64
	}
	cells := map[place]cell{}
	var cohorts []string
	widest, highest := int64(0), 0.0
	const most = 120 // periods across
	for _, fields := range a.Rows {
		highest = max(highest, valueOf(fields, shown.Name))
	}
	for _, fields := range a.Rows {
		name := p.cell(moment, keys[0].column, fields, a)
		n, ok := decimalOf(fields[keys[1].Name])
		if offset := n.IntPart(); ok && offset >= 0 && offset < most {
			if !slices.Contains(cohorts, name) {
				cohorts = append(cohorts, name)
			}
			c := p.cellOf(shown, fields, a)
			if beside >= 0 {
				c.Was = p.cell(numbers[beside].kind, numbers[beside].column, fields, a)
			}
			if v := valueOf(fields, shown.Name); shown.kind == share && v >= 0 {
				c.Shade = 1 + int(min(v, 1)*4.999)
			}
			cells[place{name, offset}] = c
			widest = max(widest, offset)
		}
	}
	t := &table{Heat: true, Caption: p.say("cohorts.caption", title, shown.label, p.period(a.From.In(a.location), a.To.In(a.location)))}
	t.Heads = append(t.Heads, head{Text: keys[0].label})
	for offset := range widest + 1 {
		t.Heads = append(t.Heads, head{Text: p.say("cohorts.offset", strconv.FormatInt(offset, 10)), Number: true})
	}
	for _, name := range cohorts {
		line := []cell{{Text: name, Names: true}}
		last := widest
		for last > 0 && cells[place{name, last}].Text == "" {
			last--
		}
		for offset := range widest + 1 {
			c := cells[place{name, offset}]
			if c.Text == "" && offset < last { // withheld, and not yet to come
				c, r.Missing = cell{Text: p.say("missing"), Number: true}, true
			}
			line = append(line, c)
		}
		t.Rows = append(t.Rows, line)
	}
	return t
}

// facts say what the report is of.
func (p *page) facts(a *answer) []fact {
	facts := []fact{
		{p.say("fact.site"), p.siteName(a.Site)},
		{p.say("fact.purpose"), p.purposeLabel(a.Site, a.Purpose)},
		{p.say("fact.period"), p.say("zone", p.period(a.From.In(a.location), a.To.In(a.location)), a.TimeZone)},
	}
	if a.Compared != nil {
		facts = append(facts, fact{p.say("fact.compared"), p.period(a.Compared.From.In(a.location), a.Compared.To.In(a.location))})
	}
	for _, f := range p.Form.Filters {
		facts = append(facts, fact{p.say("fact.filter"), p.say("filter."+f.Operator, p.dimensionLabel(f.Dimension), plainText(f.Value))})
	}
	if p.Form.Segment != "" {
		facts = append(facts, fact{p.say("form.segment"), plainText(p.Form.Segment)})
	}
	return append(facts, fact{p.say("fact.policy"), a.Policy})
}

// sentence is a text of the API among others of this page: it ends as they do.
func (p *page) sentence(l label) string {
	end := "."
	if p.Language == "ja" {
		end = "。"
	}
	return strings.TrimSuffix(plainText(l.in(p.Language)), end) + end
}

// remark says what was withheld, left out, made uncertain or cut off.
func (p *page) remark(r *result, a *answer) {
	if n := a.Suppressed.Groups; n > 0 {
		key := "note.suppressed"
		switch {
		case a.about():
			key = "note.suppressed.about"
		case n == 1:
			key = "note.suppressed.one"
		}
		r.Notes = append(r.Notes, p.say(key, p.Number(n), p.Number(a.Threshold)))
	}
	if a.noisy() {
		r.Notes = append(r.Notes, p.say("note.noise"))
	}
	if n, ok := decimalOf(a.Sample); ok && n.IsPositive() && n.LessThan(decimal.NewFromInt(1)) {
		r.Notes = append(r.Notes, p.say("note.sample", p.ratio(n)))
	}
	if l := a.Release; l != nil {
		if len(l.DroppedFilters) > 0 {
			r.Notes = append(r.Notes, p.say("note.dropped"))
		}
		if l.Period != nil {
			r.Notes = append(r.Notes, p.say("note.period", p.period(l.Period.From.In(a.location), l.Period.To.In(a.location))))
		}
		if l.Reused {
			r.Notes = append(r.Notes, p.say("note.reused", p.at(l.AsOf.In(a.location), "", false)))
		}
	}
	if a.Truncated {
		r.Notes = append(r.Notes, p.say("note.truncated"))
	}
	for _, one := range a.Remarks {
		r.Notes = append(r.Notes, p.sentence(one.Text))
	}
	r.Rests = p.say("coverage.withheld")
	if a.Coverage.Included != nil {
		if n, ok := decimalOf(*a.Coverage.Included); ok {
			r.Rests = p.say("coverage.included", p.number(n))
		}
	}
	for _, l := range a.Coverage.LeftOut {
		line := p.say("coverage.few", plainText(l.Text.in(p.Language)))
		if l.Count != nil {
			n, ok := decimalOf(*l.Count)
			if !ok || n.IsZero() {
				continue
			}
			line = p.say("coverage.left", p.number(n), plainText(l.Text.in(p.Language)))
		}
		r.LeftOut = append(r.LeftOut, line)
	}
}

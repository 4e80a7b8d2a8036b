package query_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/query"
	"github.com/sekisho/sekisho/query/noise"
)

// The attack suite. In every trial a coin decides whether a planted person is among a crowd. The attacker knows all but
// this one bit: everybody else and what they did, the planted person's time, place, browser, pages and purchases, the
// program with its thresholds and the distribution of its noise, and may send fake visitors; but not the key of the noise.
// The attacker guesses the bit by a likelihood ratio of all that was told. Guessing without a look is right in half of the
// trials.
//
// allowance is how much better an attack may surely be. It is what the noise gives away by design: after one answer, the
// best rule there is is right in 53 of 100 cases (half of the variation distance of two Gaussians of deviation 5 sqrt 2
// that are 1 apart); after one of the two draws was averaged away, in 54 (deviation 5); a person who does twice as much as
// others adds half a point. Every further cohort that holds the person and differs by more than k others is another
// reading: with the seven windows of days below it is 58 by computation, and grows with the root of their number
// (docs/adr/0010-safe-answers.md). A defence that fails gives 1, not .6.
const allowance = .05

// crowds are as many trials.
const crowds = 300

// world is the data of all trials at once: each crowd has a page, a product and an address of its own, so that one
// breakdown is an answer about every one of them, and a filter about one.
type world struct {
	t       *testing.T
	db      *clickhouse.DB
	desk    *desk
	exact   bool // the defences are off
	random  *rand.Rand
	present [crowds]bool
	id      uint64
	fakes   int
	asked   int
	poured  int
}

var (
	attackDay = time.Date(2026, 11, 3, 0, 0, 0, 0, location)
	planted   = attackDay.Add(12*time.Hour + 30*time.Second)
)

// Sizes of a crowd: on the day of the planted person, on every other day, and in the places for padding.
const (
	onDay    = 40
	otherDay = 20
	twice    = 2 // page views of the planted person, where everybody else has one
)

func pageOf(i int) string { return fmt.Sprintf("/t/%03d", i) }

// visitor is somebody with one page view, or more.
func (w *world) visitor(at time.Time, views int, change func(*event)) []event {
	w.id++
	who := w.id
	all := make([]event, views)
	for i := range all {
		w.id++
		e := event{
			id: w.id, at: at.Add(time.Duration(i) * time.Second), kind: "page_view", purposes: 1 << bitDevelopment, linkage: "visitor",
			visitor: who<<20 | 1, session: who<<20 | 1, host: "shop.example", country: "JP", class: "mobile", browser: "Safari", os: "iOS", results: -1,
		}
		e.received = e.at.Add(time.Second)
		change(&e)
		all[i] = e
	}
	return all
}

// pour stores events. Each call is a batch of its own.
func (w *world) pour(site string, events []event) {
	w.t.Helper()
	w.poured++
	e := events
	err := w.db.Insert(w.t.Context(), "events", fmt.Sprint("attack/", w.t.Name(), w.exact, w.poured), []clickhouse.Column{
		clickhouse.Gather("site", e, func(event) string { return site }),
		clickhouse.Gather("time", e, func(e event) time.Time { return e.at.UTC() }),
		clickhouse.Gather("received_at", e, func(e event) time.Time { return e.received.UTC() }),
		clickhouse.Gather("event_id", e, func(e event) uint64 { return e.id }),
		clickhouse.Gather("type", e, func(e event) string { return e.kind }),
		clickhouse.Gather("purposes", e, func(e event) uint32 { return e.purposes }),
		clickhouse.Gather("policy", e, func(event) string { return "default/2022-09-15" }),
		clickhouse.Gather("linkage", e, func(e event) string { return e.linkage }),
		clickhouse.Gather("session_id", e, func(e event) uint64 { return e.session }),
		clickhouse.Gather("visitor_id", e, func(e event) uint64 { return e.visitor }),
		clickhouse.Gather("host", e, func(e event) string { return e.host }),
		clickhouse.Gather("path", e, func(e event) string { return e.path }),
		clickhouse.Gather("visible_ms", e, func(e event) uint32 { return e.visibleMS }),
		clickhouse.Gather("country", e, func(e event) string { return e.country }),
		clickhouse.Gather("device", e, func(e event) string { return e.class }),
		clickhouse.Gather("browser", e, func(e event) string { return e.browser }),
		clickhouse.Gather("os", e, func(e event) string { return e.os }),
		clickhouse.Gather("currency", e, func(e event) string { return e.currency }),
		clickhouse.Gather("amount", e, func(e event) decimal.Decimal { return e.amount }),
		clickhouse.Gather("item_sku", e, func(e event) []string { return each(e.items, func(i item) string { return i.sku }) }),
		clickhouse.Gather("item_name", e, func(e event) []string { return each(e.items, func(i item) string { return i.name }) }),
		clickhouse.Gather("item_quantity", e, func(e event) []uint32 { return each(e.items, func(i item) uint32 { return i.quantity }) }),
		clickhouse.Gather("item_price", e, func(e event) []decimal.Decimal {
			return each(e.items, func(i item) decimal.Decimal { return i.price })
		}),
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// makeWorld plays the same people for the attacker of the defences and for that of none.
func makeWorld(t *testing.T, db *clickhouse.DB, exact bool) *world {
	w := &world{t: t, db: db, exact: exact, random: rand.New(rand.NewPCG(20261125, 4))}
	config := query.Config{Exact: true, Bare: true, Threshold: 2, FineThreshold: 2}
	if !exact { // all defaults. The key is always the same, so that the rates are, too
		config = query.Config{NoiseKey: filepath.Join(t.TempDir(), "noise.key")}
		if err := os.WriteFile(config.NoiseKey, bytes.Repeat([]byte("sekisho"), 5)[:noise.KeySize], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.desk = newDeskOf(t, db, config)
	w.desk.key = w.desk.create([]string{"usage_based_development"}, "shop", "other")
	w.id = uint64(len(t.Name())) << 32 // no two of them play the same visitors
	for i := range w.present {
		w.present[i] = w.random.IntN(2) == 1
	}
	return w
}

// populate stores the crowds, and the planted persons whose coin says so.
func (w *world) populate() {
	price := decimal.New(10, 0)
	var all []event
	for i := range crowds {
		person := func(at time.Time, views int, change func(*event)) {
			visit := w.visitor(at, views, func(e *event) {
				e.path = pageOf(i)
				if change != nil {
					change(e)
				}
			})
			all = append(all, visit...)
			last := visit[len(visit)-1]
			more := func(kind string, after time.Duration, change func(*event)) {
				w.id++
				e := last
				e.id, e.kind, e.at = w.id, kind, last.at.Add(after)
				change(&e)
				all = append(all, e)
			}
			more("engagement", time.Second, func(e *event) { e.visibleMS = uint32(10_000 * views * views) })
			if at.After(attackDay) && at.Before(attackDay.AddDate(0, 0, 1)) {
				more("purchase", 2*time.Second, func(e *event) {
					e.currency, e.amount = "JPY", price
					e.items = []item{{fmt.Sprintf("T%03d", i), "Tea", 1, price}}
				})
			}
		}
		for n := range onDay {
			person(attackDay.Add(6*time.Hour+time.Duration(n)*15*time.Minute+time.Duration(i)*time.Millisecond), 1, nil)
		}
		for d := -7; d < 0; d++ {
			for n := range otherDay {
				person(attackDay.AddDate(0, 0, d).Add(8*time.Hour+time.Duration(n)*20*time.Minute), 1, nil)
			}
		}
		for n := range otherDay { // the day after
			person(attackDay.AddDate(0, 0, 1).Add(8*time.Hour+time.Duration(n)*time.Minute), 1, nil)
		}
		if w.present[i] {
			person(planted, twice, func(e *event) { e.browser, e.class = "Rare", "tablet" })
		}
	}
	w.pour("shop", all)
}

// ask reads a report as the attacker.
func (w *world) ask(path string) query.Answer {
	w.t.Helper()
	w.asked++
	status, body := w.desk.get(w.desk.key, path)
	if status != http.StatusOK {
		w.t.Fatalf("%s: %d %s", path, status, body)
	}
	var a query.Answer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		w.t.Fatal(err)
	}
	return a
}

const (
	attacked = "site=shop&purpose=usage_based_development&limit=1000"
	alone    = "site=other&purpose=usage_based_development&from=2026-11-03" // in Tokyo, where it is night and the next day when it is noon
)

// breakdown is what a report tells of every crowd, by its page.
func (w *world) breakdown(report, more string) map[string]query.Row {
	rows := map[string]query.Row{}
	for _, row := range w.ask("/v1/reports/" + report + "?" + attacked + more).Rows {
		if path, ok := row["path"].(string); ok {
			rows[path] = row
		}
		if sku, ok := row["sku"].(string); ok {
			rows["/t/"+strings.TrimPrefix(sku, "T")] = row
		}
	}
	return rows
}

// belief is the attacker's logarithm of the odds that the planted person is there.
type belief [crowds]float64

// clue is a number that was told: what it would be without and with the planted person, and the deviation of its noise.
type clue struct{ number, without, with, deviation float64 }

// odds is what a number says.
func (o clue) odds() float64 {
	if math.IsNaN(o.number) {
		return 0
	}
	square := func(x float64) float64 { return x * x }
	return (square(o.number-o.without) - square(o.number-o.with)) / 2 / square(max(o.deviation, .05))
}

func numberOf(v any) float64 {
	switch x := v.(type) {
	case float64:
		return x
	case string:
		return decimal.RequireFromString(x).InexactFloat64()
	}
	return math.NaN()
}

// deviation of both draws together, in people.
var deviation = 5 * math.Sqrt2

// views is what a row of pages says: n people with as many views, and the planted one besides. Of what all are moved by
// alike, the number of people says all; what views say besides is how many more they are than people.
func (w *world) odds(row query.Row, n int) float64 {
	if row == nil {
		return 0
	}
	people, views := numberOf(row["visitors"]), numberOf(row["views"])
	sd := deviation
	if w.exact {
		sd = .05
	}
	return clue{people, float64(n), float64(n + 1), sd}.odds() + clue{views - people, 0, twice - 1, 2 * sd}.odds()
}

// success prints an attack's rate with its 95 % interval (Wilson), and holds it against what is allowed, or against what
// an undefended house must lose.
func (w *world) success(name string, right, trials float64) {
	w.t.Helper()
	const z = 1.96
	p := right / trials
	center := (p + z*z/2/trials) / (1 + z*z/trials)
	reach := z * math.Sqrt(p*(1-p)/trials+z*z/4/trials/trials) / (1 + z*z/trials)
	house := "defended"
	if w.exact {
		house = "undefended"
	}
	w.t.Logf("%-46s %-10s success %.3f, 95 %% interval %.3f to %.3f, %g trials", name, house, p, center-reach, center+reach, trials)
	switch {
	case w.exact && p < .9:
		w.t.Errorf("%s: the suite does not bite: %.3f without any defence", name, p)
	case !w.exact && center-reach > .5+allowance:
		w.t.Errorf("%s: right in %.3f of all trials, surely more than %.3f", name, p, .5+allowance)
	}
}

// judge guesses by the odds, and by a coin where there are none.
func (w *world) judge(name string, b *belief, trials int) {
	w.t.Helper()
	right := 0.
	for i := range trials {
		switch guess := b[i]; {
		case guess == 0:
			right += .5
		case (guess > 0) == w.present[i]:
			right++
		}
	}
	w.success(name, right, float64(trials))
}

const (
	theDay = "&from=2026-11-03&to=2026-11-03"
	single = 200 // trials of the attacks that ask about one crowd at a time
)

func (w *world) attack() {
	one := w.breakdown("pages", theDay)
	if len(one) < crowds/2 {
		w.t.Fatalf("%d pages are told of", len(one))
	}
	w.eachCrowd("one answer", func(i int) float64 { return w.odds(one[pageOf(i)], onDay) })

	// Repeats: fifty times, in every form and with every word for the same. Whatever varies is averaged.
	sums, counts := map[string][2]float64{}, map[string]float64{}
	for n := range w.fewer(50, 4) {
		words := []string{
			"", "&filter=host:shop.example", "&filter=path*/t/*", "&filter=host~SHOP", "&filter=!language:fr", "&filter=host:shop.example&filter=host:other",
			"&filter=country:JP&filter=country:XX", "&filter=!host:nobody.example", "&filter=path**", "&filter=os:iOS",
		}
		forms := []string{"", "&sample=1", "&compare=previous_period", "&format=json", "&explain=false"}
		for path, row := range w.breakdown("pages", theDay+words[n%len(words)]+forms[n%len(forms)]) {
			s := sums[path]
			sums[path] = [2]float64{s[0] + numberOf(row["visitors"]), s[1] + numberOf(row["views"])}
			counts[path]++
		}
	}
	w.eachCrowd("repeats, 50 in 10 wordings and 5 forms", func(i int) float64 {
		n := counts[pageOf(i)]
		if n == 0 {
			return 0
		}
		return w.odds(query.Row{"visitors": sums[pageOf(i)][0] / n, "views": sums[pageOf(i)][1] / n}, onDay)
	})

	// Two filters that differ by the planted person, and A against A and not B. By the difference, and by the first alone.
	for name, filters := range map[string][2]string{
		"differencing, two filters": {"&filter=browser:Safari&filter=browser:Rare", "&filter=browser:Safari"},
		"A against A and not B":     {"&filter=host:shop.example", "&filter=host:shop.example&filter=!browser:Rare"},
	} {
		a, b := w.breakdown("pages", theDay+filters[0]), w.breakdown("pages", theDay+filters[1])
		w.eachCrowd(name, func(i int) float64 {
			with, without := a[pageOf(i)], b[pageOf(i)]
			if with == nil || without == nil {
				return w.odds(with, onDay)
			}
			people := numberOf(with["visitors"]) - numberOf(without["visitors"])
			sd := deviation * math.Sqrt2
			if w.exact {
				sd = .05
			}
			return clue{people, 0, 1, sd}.odds()
		})
	}

	// Seven windows of seven days, all with the planted person's day; each has its own people besides.
	var days belief
	for shift := range 7 {
		from, to := attackDay.AddDate(0, 0, -shift), attackDay.AddDate(0, 0, min(1, 6-shift))
		rows := w.breakdown("pages", "&from="+from.Format(time.DateOnly)+"&to="+to.Format(time.DateOnly))
		n := onDay + shift*otherDay
		if to.After(attackDay) {
			n += otherDay
		}
		for i := range crowds {
			days[i] += w.odds(rows[pageOf(i)], n)
		}
	}
	w.judge("sliding windows, days", &days, crowds)

	// Eight windows of hours that end just after the planted person came.
	var hours belief
	for n := range 8 {
		from := attackDay.Add(6*time.Hour - time.Minute + time.Duration(n)*15*time.Minute)
		rows := w.breakdown("pages", "&"+url.Values{"from": {from.UTC().Format(time.RFC3339)}, "to": {planted.Add(10 * time.Second).UTC().Format(time.RFC3339)}}.Encode())
		for i := range crowds {
			hours[i] += w.odds(rows[pageOf(i)], 25-n) // 6:00 to 12:00, every 15 minutes
		}
	}
	w.judge("sliding windows, hours", &hours, crowds)

	// A ratio: the planted person was visible for twice as long on each of two pages.
	w.eachCrowd("ratio: seconds a view", func(i int) float64 {
		row := one[pageOf(i)]
		if row == nil {
			return 0
		}
		sd := 2 * 10 * deviation / onDay
		if w.exact {
			sd = .01
		}
		return clue{numberOf(row["visible_seconds"]), 10, 10. * (onDay + twice*twice) / (onDay + twice), sd}.odds()
	})

	// Money: revenue, quantity and orders of a product are moved alike.
	sales := w.breakdown("purchases", theDay)
	w.eachCrowd("revenue, orders and quantity", func(i int) float64 {
		row := sales[pageOf(i)]
		if row == nil {
			return 0
		}
		mean := (numberOf(row["revenue"])/10 + numberOf(row["orders"]) + numberOf(row["quantity"])) / 3
		sd := deviation * math.Sqrt(1+4./3)
		if w.exact {
			sd = .05
		}
		return clue{mean, onDay, onDay + 1, sd}.odds()
	})
}

// fewer is how often something is done: without defences a few times prove it.
func (w *world) fewer(times, bare int) int {
	if w.exact {
		return bare
	}
	return times
}

// pad sends fake visitors: one fewer than the threshold to a page that nobody but the planted person visits, then more
// and more, always in another number, so that every draw that depends on them is averaged; then a multitude.
func (w *world) pad() {
	const fewest, rounds, multitude = 9, 13, 150
	day := attackDay.AddDate(0, 0, -10) // nobody else is there
	send := func(n int) {
		var all []event
		for i := range crowds {
			for range n {
				w.fakes++
				all = append(all, w.visitor(day.Add(time.Hour+time.Duration(w.fakes)*50*time.Millisecond), 1, func(e *event) { e.path = pageOf(i) })...)
			}
		}
		w.pour("shop", all)
	}
	if !w.exact { // both attackers look at the same data, the undefended house afterwards
		var all []event
		for i := range crowds {
			if w.present[i] {
				all = append(all, w.visitor(day.Add(12*time.Hour), twice, func(e *event) { e.path = pageOf(i) })...)
			}
		}
		w.pour("shop", all)
	}
	const asked = "&from=2026-10-24&to=2026-10-24"
	if w.exact {
		rows := w.breakdown("pages", asked)
		w.eachCrowd("padding", func(i int) float64 { return w.odds(rows[pageOf(i)], fewest+3*(rounds-1)+multitude) })
		return
	}
	var (
		people, views = map[int][]float64{}, map[int][]float64{}
		first         belief
		sent          = fewest
	)
	send(fewest)
	for round := range rounds {
		if round > 0 {
			send(3)
			sent += 3
		}
		rows := w.breakdown("pages", asked)
		for i := range crowds {
			row := rows[pageOf(i)]
			if row == nil {
				continue
			}
			if round == 0 { // the threshold itself tells: k are there
				first[i] = 1
			}
			people[i] = append(people[i], numberOf(row["visitors"])-float64(sent))
			views[i] = append(views[i], numberOf(row["views"])-float64(sent))
		}
	}
	for i := range first {
		if first[i] == 0 {
			first[i] = -.01 // k-1 or k, and not shown: rather not
		}
	}
	w.judge("padding, k-1 fakes at the threshold", &first, crowds)
	w.eachCrowd("padding, 13 numbers of fakes averaged", func(i int) float64 {
		if len(people[i]) == 0 {
			return 0
		}
		return w.odds(query.Row{"visitors": mean(people[i]), "views": mean(views[i])}, 0)
	})
	send(multitude)
	rows := w.breakdown("pages", asked)
	w.eachCrowd("padding, many fakes", func(i int) float64 { return w.odds(rows[pageOf(i)], sent+multitude) })
}

func mean(values []float64) (m float64) {
	for _, v := range values {
		m += v / float64(len(values))
	}
	return m
}

// The crowds that are asked about one by one are on a site of their own.
const (
	alike  = 60 // on the page
	unlike = 9  // with a rare browser, as the planted person, who alone has a tablet: one fewer than the threshold
)

// populateAlone stores them. Those with the rare browser come after noon.
func (w *world) populateAlone() {
	var all []event
	for i := range single {
		add := func(at time.Time, change func(*event)) {
			all = append(all, w.visitor(at, 1, func(e *event) {
				e.path = pageOf(i)
				change(e)
			})...)
		}
		for n := range alike {
			add(attackDay.Add(9*time.Hour+time.Duration(n)*time.Minute), func(e *event) { e.os = fmt.Sprintf("T%03d", i) })
		}
		for n := range unlike {
			add(attackDay.Add(12*time.Hour+time.Duration(n)*time.Second), func(e *event) { e.browser, e.os = "Rare", fmt.Sprintf("T%03d", i) })
		}
		if w.present[i] {
			add(planted, func(e *event) { e.browser, e.class, e.os = "Rare", "tablet", fmt.Sprintf("T%03d", i) })
		}
	}
	w.pour("other", all)
}

// attackAlone asks about one crowd at a time: here the house decides itself what is a near duplicate, and each decision
// is a question that the attacker may ask with k-1 fakes on the edge.
func (w *world) attackAlone() {
	var not, period, groups belief
	sum := func(a query.Answer) (n float64) {
		for _, row := range a.Rows {
			n += numberOf(row["visitors"])
		}
		return n
	}
	sd := deviation
	if w.exact {
		sd = .05
	}
	trials := w.fewer(single, 40)
	for i := range trials {
		path := "/v1/reports/devices?" + alone + "&filter=path:" + pageOf(i)
		morning := w.ask(path + "&to=" + url.QueryEscape(attackDay.Add(12*time.Hour).Format(time.RFC3339)))
		day := w.ask(path + "&to=2026-11-04")
		without := w.ask(path + "&filter=!browser:Rare&to=2026-11-04")
		if w.exact {
			// The fakes are told of, and how many groups are not: only the planted person's.
			said := func(a query.Answer) float64 { return sum(a) + float64(a.Suppressed.Groups) }
			period[i] = clue{said(day) - said(morning), unlike, unlike + 1, .05}.odds()
			not[i] = clue{said(day) - said(without), unlike, unlike + 1, .05}.odds()
			groups[i] = clue{float64(day.Suppressed.Groups), 0, 1, .05}.odds()
			continue
		}
		// Taken for the same, k-1 or k are between: rather k-1. Not taken for the same: surely k.
		period[i], not[i] = -.01, -.01
		if day.Release.Period == nil {
			period[i] = 1
		}
		if len(without.Release.DroppedFilters) == 0 {
			not[i] = 1
		}
		// One group is withheld, or two.
		groups[i] = clue{float64(day.Suppressed.Groups), 1, 2, 2 * deviation}.odds()
	}
	w.judge("sliding window, k-1 fakes at the edge", &period, trials)
	w.judge("A against A and not B, k-1 fakes at the edge", &not, trials)
	w.judge("number of groups withheld", &groups, trials)

	// The total of a system, minus its devices that are shown: all systems at once.
	totals, parts := map[string]float64{}, map[string]float64{}
	for _, row := range w.ask("/v1/reports/systems?" + alone + "&to=2026-11-04&limit=1000").Rows {
		totals[row["os"].(string)] += numberOf(row["visitors"])
	}
	for _, row := range w.ask("/v1/reports/devices?" + alone + "&to=2026-11-04&limit=1000").Rows {
		parts[row["os"].(string)] += numberOf(row["visitors"])
	}
	var rest belief
	for i := range single {
		system := fmt.Sprintf("T%03d", i)
		if totals[system] == 0 || parts[system] == 0 {
			continue
		}
		withheld := float64(unlike)
		if w.exact {
			withheld = 0 // with k = 2, the fakes are shown
		}
		rest[i] = clue{totals[system] - parts[system], withheld, withheld + 1, sd * math.Sqrt2}.odds()
	}
	w.judge("total minus the groups shown", &rest, single)
}

// eachCrowd judges what an attack says of each crowd.
func (w *world) eachCrowd(name string, odds func(i int) float64) {
	w.t.Helper()
	var b belief
	for i := range crowds {
		b[i] = odds(i)
	}
	w.judge(name, &b, crowds)
}

func TestNoAttackFindsAPlantedPerson(t *testing.T) {
	db := testkit.ClickHouse(t)
	for _, way := range []struct {
		name             string
		populate, attack func(*world)
	}{
		{"many crowds at once", (*world).populate, (*world).attack},
		{"with fake visitors", func(*world) {}, (*world).pad},
		{"one crowd at a time", (*world).populateAlone, (*world).attackAlone},
	} {
		t.Run(way.name, func(t *testing.T) {
			began := time.Now()
			defended, bare := makeWorld(t, db, false), makeWorld(t, db, true)
			way.populate(defended)
			way.attack(defended)
			way.attack(bare)
			t.Logf("%d and %d questions in %s", defended.asked, bare.asked, time.Since(began).Round(time.Second))
		})
	}
}

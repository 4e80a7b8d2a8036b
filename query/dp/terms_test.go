package dp_test

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"github.com/sekisho/sekisho/query/dp"
)

func terms(known bool) dp.Terms {
	t := dp.Terms{Epsilon: big.NewRat(1, 2), Delta: big.NewRat(1, 100_000), Cells: 4, Events: 10, Known: known}
	if known {
		t.Delta = new(big.Rat)
	}
	return t
}

// The promise, measured: over many releases of two neighbouring data sets, no set of answers is more than exp(epsilon)
// times as likely with one subject's day as without it.
func TestNeighboursAreHardlyTold(t *testing.T) {
	const runs = 40_000
	promise := dp.Terms{Epsilon: big.NewRat(1, 1), Delta: new(big.Rat), Cells: 1, Events: 1, Known: true}
	seen := [2]map[dp.Cell]float64{{}, {}}
	for world := range seen {
		s := dp.NewSampler(stream(byte(50 + world)))
		for range runs {
			told, err := promise.Release([]dp.Cell{{int64(20 + world), int64(20 + world)}}, s)
			if err != nil {
				t.Fatal(err)
			}
			seen[world][*told[0]]++
		}
	}
	for _, pair := range [][2]int{{0, 1}, {1, 0}} {
		worst, n := 0., 0
		for cell, count := range seen[pair[0]] {
			other := seen[pair[1]][cell]
			if count < 200 { // too seldom for a rate
				continue
			}
			n++
			worst = max(worst, math.Log(count/max(other, 1)))
		}
		if n < 20 || worst > 1.35 { // epsilon, and what 200 counts vary by
			t.Errorf("a ratio of exp(%.2f) over %d answers", worst, n)
		}
	}
}

func TestACellOfOneSubjectIsHardlyEverTold(t *testing.T) {
	promise := dp.Terms{Epsilon: big.NewRat(1, 1), Delta: big.NewRat(1, 50), Cells: 1, Events: 1}
	s := dp.NewSampler(stream(60))
	const runs = 50_000
	passed := 0.
	for range runs {
		told, err := promise.Release([]dp.Cell{{1, 1}}, s)
		if err != nil {
			t.Fatal(err)
		}
		if told[0] != nil {
			passed++
			if told[0].Days < promise.Threshold() {
				t.Fatalf("%d days are told of, fewer than %d", told[0].Days, promise.Threshold())
			}
		}
	}
	if rate := passed / runs; rate > .02 || rate < .0005 {
		t.Errorf("it is told in %.5f of all releases, delta is 0.02", rate)
	}
	if strict := terms(false); strict.Threshold() < 200 || strict.Threshold() > 220 { // 16 ln(400,000) = 206.4
		t.Errorf("threshold %d", strict.Threshold())
	}
}

func TestALargeCellIsToldAboutRight(t *testing.T) {
	s := dp.NewSampler(stream(61))
	told, err := terms(false).Release([]dp.Cell{{10_000, 50_000}, {0, 0}}, s)
	if err != nil || told[0] == nil || told[1] != nil {
		t.Fatalf("%v, %v", told, err)
	}
	if math.Abs(float64(told[0].Days-10_000)) > 300 || math.Abs(float64(told[0].Events-50_000)) > 3000 {
		t.Errorf("%+v", told[0])
	}
	known, err := terms(true).Release([]dp.Cell{{0, 0}, {0, 0}, {0, 0}, {0, 0}}, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range known {
		if c == nil || c.Days < 0 || c.Events < 0 {
			t.Errorf("a known cell is %+v", c)
		}
	}
}

func TestTermsThatNothingKeepsAreRefused(t *testing.T) {
	for name, change := range map[string]func(*dp.Terms){
		"no epsilon":                   func(t *dp.Terms) { t.Epsilon = new(big.Rat) },
		"less than no epsilon":         func(t *dp.Terms) { t.Epsilon = big.NewRat(-1, 2) },
		"nothing at all":               func(t *dp.Terms) { *t = dp.Terms{} },
		"no cells":                     func(t *dp.Terms) { t.Cells = 0 },
		"no events":                    func(t *dp.Terms) { t.Events = 0 },
		"unknown cells without delta":  func(t *dp.Terms) { t.Delta = new(big.Rat) },
		"a delta that promises little": func(t *dp.Terms) { t.Delta = big.NewRat(3, 4) },
	} {
		wrong := terms(false)
		change(&wrong)
		if _, err := wrong.Release([]dp.Cell{{1, 1}}, dp.NewSampler(stream(1))); !errors.Is(err, dp.ErrTerms) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, s := range []string{"", "-1", "1e5", "0x1", "1.", ".5", "NaN", "1/2", " 1", "1234567", "0.1234567890123456789012345"} {
		if r, ok := dp.Parse(s); ok {
			t.Errorf("%q is read as %s", s, r)
		}
	}
	if r, ok := dp.Parse("0.1"); !ok || r.Cmp(big.NewRat(1, 10)) != 0 {
		t.Errorf("0.1 is read as %s", r)
	}
}

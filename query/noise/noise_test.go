package noise_test

import (
	"bytes"
	"crypto/rand"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/query/noise"
)

// The key is fixed, so that the statistics are what they are and no test fails by chance.
var key = [noise.KeySize]byte{1, 2, 3}

const deviation = 5

// moments are mean and standard deviation.
func moments(values []float64) (mean, deviation float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		deviation += (v - mean) * (v - mean) / float64(len(values))
	}
	return mean, math.Sqrt(deviation)
}

func correlation(a, b []float64) (c float64) {
	ma, sa := moments(a)
	mb, sb := moments(b)
	for i := range a {
		c += (a[i] - ma) * (b[i] - mb) / sa / sb / float64(len(a))
	}
	return c
}

func TestNoiseHasMeanZeroAndTheDeviationOfTwoDraws(t *testing.T) {
	const draws = 20_000
	n := noise.New(key, deviation)
	numbers := map[string][]float64{}
	for i := range uint64(draws) {
		c := n.Cell([]string{strconv.FormatUint(i, 10)}, noise.Cohort{Low: i, High: 1 << 60, People: 1000})
		numbers["people"] = append(numbers["people"], float64(c.People("visitors", 1000, 10))-1000)
		numbers["count"] = append(numbers["count"], (float64(c.Count("views", 3000))-3000)/3)
		numbers["sparse"] = append(numbers["sparse"], float64(c.Count("orders", 500))-500)
		numbers["amount"] = append(numbers["amount"], (c.Amount("revenue", decimal.New(7_000_000, 0)).InexactFloat64()-7e6)/7000)
		numbers["rate"] = append(numbers["rate"], (c.Mean("rate", .5, true)-.5)*1000)
		numbers["mean"] = append(numbers["mean"], (c.Mean("seconds", 20, false)-20)*1000/40)
	}
	for name, values := range numbers {
		want := deviation * math.Sqrt2
		shared := name == "count" || name == "sparse" || name == "amount" // one share a person, and twice that of their own
		if shared {
			want *= math.Sqrt(5)
		}
		mean, sd := moments(values)
		if bound := 4 * want / math.Sqrt(draws); math.Abs(mean) > bound {
			t.Errorf("%s: mean %.3f, more than %.3f", name, mean, bound)
		}
		if math.Abs(sd-want) > 4*want/math.Sqrt(2*draws)+.05 { // rounding to whole numbers adds a little
			t.Errorf("%s: deviation %.3f, want %.3f", name, sd, want)
		}
		for other, more := range numbers {
			together := 0.
			switch alike := other == "count" || other == "sparse" || other == "amount"; {
			case shared && alike:
				together = 1. / 5
			case shared && other == "people", alike && name == "people":
				together = 1 / math.Sqrt(5)
			}
			if c := correlation(values, more); name != other && math.Abs(c-together) > 4/math.Sqrt(draws) {
				t.Errorf("%s and %s hang together by %.3f, not by %.3f", name, other, c, together)
			}
		}
	}
}

// Each draw has the distribution that is claimed, beside the other one held fast.
func TestTheDrawsAreIndependentAndDiscreteGaussian(t *testing.T) {
	const draws = 40_000
	n := noise.New(key, deviation)
	people := func(definition, low uint64) float64 {
		return float64(n.Cell([]string{strconv.FormatUint(definition, 10)}, noise.Cohort{Low: low, People: 1000}).People("visitors", 1000, 0)) - 1000
	}
	var asked, counted []float64
	for i := range uint64(draws) {
		asked, counted = append(asked, people(i, 7)), append(counted, people(7, i))
	}
	if c := correlation(asked, counted); math.Abs(c) > 4/math.Sqrt(draws) {
		t.Errorf("correlation %.3f", c)
	}
	for name, values := range map[string][]float64{"definition": asked, "cohort": counted} {
		fixed, sd := moments(values)
		if math.Abs(sd-deviation) > .1 {
			t.Errorf("%s: deviation %.3f", name, sd)
		}
		offset := math.Round(fixed) // of the draw that was held fast
		seen := map[int]float64{}
		for _, v := range values {
			seen[int(v-offset)]++
		}
		var sum float64
		for x := -60; x <= 60; x++ {
			sum += math.Exp(-float64(x*x) / 2 / deviation / deviation)
		}
		var chi float64
		const classes = 31
		for x := -classes / 2; x <= classes/2; x++ {
			expected := draws * math.Exp(-float64(x*x)/2/deviation/deviation) / sum
			chi += (seen[x] - expected) * (seen[x] - expected) / expected
		}
		if chi > 70 { // 31 classes: exceeded once in 20,000
			t.Errorf("%s: chi square %.1f", name, chi)
		}
	}
}

func TestTheSameQuestionAboutTheSamePeopleGetsTheSameNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		definition := rapid.SliceOfN(rapid.String(), 1, 4).Draw(t, "definition")
		c := noise.Cohort{Low: rapid.Uint64().Draw(t, "low"), High: rapid.Uint64().Draw(t, "high"), People: rapid.Uint64Range(0, 1<<40).Draw(t, "people")}
		value := rapid.Uint64Range(0, 1<<50).Draw(t, "value")
		amount := decimal.New(rapid.Int64Range(0, 1<<60).Draw(t, "amount"), -4)
		a, b := noise.New(key, deviation).Cell(definition, c), noise.New(key, deviation).Cell(definition, c)
		if a.People("x", value, 10) != b.People("x", value, 10) || a.Count("x", value) != b.Count("x", value) ||
			!a.Amount("x", amount).Equal(b.Amount("x", amount)) || a.Mean("x", .3, true) != b.Mean("x", .3, true) || a.Mean("x", 3, false) != b.Mean("x", 3, false) {
			t.Fatal("another number")
		}
		if told := a.People("x", value, 10); told < 10 {
			t.Fatalf("%d people of a cell that is shown", told)
		}
		if told := a.Amount("x", amount); told.IsNegative() || told.Exponent() < -4 {
			t.Fatalf("amount %s", told)
		}
		if told := a.Mean("x", .3, true); told < 0 || told > 1 {
			t.Fatalf("rate %v", told)
		}
	})
}

// A person more, a deed more or another word draws anew: the numbers are those of a fresh draw, unrelated to the first.
func TestEverythingThatMattersDrawsAnew(t *testing.T) {
	const draws = 5000
	n := noise.New(key, deviation)
	for name, change := range map[string]func(i uint64) (*noise.Cell, uint64){
		"another definition": func(i uint64) (*noise.Cell, uint64) {
			return n.Cell([]string{"a", strconv.FormatUint(i, 10), "b"}, noise.Cohort{Low: i, People: 1000}), 2000
		},
		"cut elsewhere": func(i uint64) (*noise.Cell, uint64) {
			return n.Cell([]string{"a" + strconv.FormatUint(i, 10)}, noise.Cohort{Low: i, People: 1000}), 2000
		},
		"a person more": func(i uint64) (*noise.Cell, uint64) {
			return n.Cell([]string{"a", strconv.FormatUint(i, 10)}, noise.Cohort{Low: i, People: 1001}), 2000
		},
		"a deed more": func(i uint64) (*noise.Cell, uint64) {
			return n.Cell([]string{"a", strconv.FormatUint(i, 10)}, noise.Cohort{Low: i, People: 1000}), 2001
		},
	} {
		same := 0
		for i := range uint64(draws) {
			before := n.Cell([]string{"a", strconv.FormatUint(i, 10)}, noise.Cohort{Low: i, People: 1000})
			after, value := change(i)
			if before.Count("views", 2000)-2000 == after.Count("views", value)-value {
				same++
			}
		}
		if share := float64(same) / draws; share > .1 {
			t.Errorf("%s: the same noise in %.2f of all cases", name, share)
		}
	}
}

func TestAThresholdIsNeverBelowKAndNobodyKnowsWhereItIs(t *testing.T) {
	const k, cells = 10, 20_000
	n := noise.New(key, deviation)
	passed := map[uint64]int{}
	for i := range uint64(cells) {
		c := n.Cell([]string{strconv.FormatUint(i, 10)}, noise.Cohort{Low: i, People: 30})
		before := false
		for subjects := range uint64(60) {
			passes := c.Passes(subjects, k)
			if before && !passes {
				t.Fatal("one person more, and it does not pass any more")
			}
			if before = passes; passes {
				passed[subjects]++
			}
		}
	}
	for subjects := range uint64(60) {
		switch share := float64(passed[subjects]) / cells; {
		case subjects < k && share != 0, subjects == k && share > .03, subjects >= 5*k && share < 1:
			t.Errorf("%d subjects pass in %.3f of all cases", subjects, share)
		case subjects > 0 && share-float64(passed[subjects-1])/cells > .085:
			t.Errorf("the step to %d subjects gives away %.3f", subjects, share-float64(passed[subjects-1])/cells)
		}
	}
	if c := n.Cell([]string{"x"}, noise.Cohort{People: k - 1}); c.Differs(k) {
		t.Error("fewer than k are a difference")
	}
	if c := n.Cell([]string{"x"}, noise.Cohort{People: 1 << 63}); !c.Differs(k) || !c.Passes(math.MaxUint64, k) {
		t.Error("a multitude is none")
	}
}

func TestAKeyIsMadeOnceAndKeptToItsOwner(t *testing.T) {
	file := filepath.Join(t.TempDir(), "noise.key")
	var (
		mu   sync.Mutex
		seen = map[[noise.KeySize]byte]bool{}
		work sync.WaitGroup
	)
	for range 20 { // processes that start at once agree
		work.Go(func() {
			k, err := noise.Key(file, rand.Reader)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[k] = true
		})
	}
	work.Wait()
	if len(seen) != 1 {
		t.Errorf("%d keys", len(seen))
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".noise-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	for name, tc := range map[string]struct {
		content []byte
		mode    os.FileMode
	}{
		"short": {[]byte("short"), 0o600}, "long": {bytes.Repeat([]byte{1}, 33), 0o600}, "zero": {make([]byte, 32), 0o600},
		"readable by others": {bytes.Repeat([]byte{1}, 32), 0o644},
	} {
		other := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(other, tc.content, tc.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := noise.Key(other, rand.Reader); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := noise.Key(filepath.Join(t.TempDir(), "none", "key"), rand.Reader); err == nil {
		t.Error("made where no directory is")
	}
	if _, err := noise.Key(filepath.Join(t.TempDir(), "key"), bytes.NewReader(nil)); err == nil {
		t.Error("made without randomness")
	}
}

func BenchmarkACellOfFourNumbers(b *testing.B) {
	n := noise.New(key, deviation)
	for i := range uint64(b.N) {
		c := n.Cell([]string{"site", "purpose", "group"}, noise.Cohort{Low: i, High: 1 << 60, People: 1000})
		c.Passes(1000, 10)
		c.People("visitors", 1000, 10)
		c.Count("views", 3000)
		c.Mean("bounce_rate", .4, true)
	}
}

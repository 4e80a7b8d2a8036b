package dp_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"math"
	"math/big"
	chacha "math/rand/v2"
	"testing"

	"github.com/sekisho/sekisho/query/dp"
)

// stream is randomness that is the same in every run, so that no test fails by chance.
func stream(seed byte) io.Reader { return chacha.NewChaCha8([32]byte{seed}) }

// chiSquare holds draws against the exact distribution given by its weights. Classes are of 20 expected draws or more.
// The limit is exceeded once in a million runs (Wilson and Hilferty).
func chiSquare(draws []int64, weight func(x int64) float64) (chi, limit float64) {
	const reach = 5000
	var sum float64
	for x := int64(-reach); x <= reach; x++ {
		sum += weight(x)
	}
	seen := map[int64]float64{}
	for _, d := range draws {
		seen[d]++
	}
	n := float64(len(draws))
	var expected, counted float64
	classes := 0
	for x := int64(-reach); x <= reach; x++ {
		expected, counted = expected+n*weight(x)/sum, counted+seen[x]
		if expected < 20 {
			continue
		}
		chi += (counted - expected) * (counted - expected) / expected
		classes++
		expected, counted = 0, 0
	}
	if expected > 0 {
		chi += (counted - expected) * (counted - expected) / max(expected, 5)
		classes++
	}
	free := float64(classes - 1)
	return chi, free * math.Pow(1-2/(9*free)+4.75*math.Sqrt(2/(9*free)), 3)
}

func TestNoiseHasExactlyTheDistributionThatIsPromised(t *testing.T) {
	const draws = 30_000
	for i, scale := range []*big.Rat{big.NewRat(1, 3), big.NewRat(1, 1), big.NewRat(7, 2), big.NewRat(20, 1), big.NewRat(1_000_001, 100_000)} {
		s := dp.NewSampler(stream(byte(i)))
		all := make([]int64, draws)
		for j := range all {
			x, err := s.Laplace(scale)
			if err != nil {
				t.Fatal(err)
			}
			all[j] = x.Int64()
		}
		b, _ := scale.Float64()
		if chi, limit := chiSquare(all, func(x int64) float64 { return math.Exp(-math.Abs(float64(x)) / b) }); chi > limit {
			t.Errorf("Laplace of scale %s: chi square %.1f, more than %.1f", scale, chi, limit)
		}
	}
	for i, variance := range []*big.Rat{big.NewRat(1, 4), big.NewRat(1, 1), big.NewRat(25, 2), big.NewRat(400, 1)} {
		s := dp.NewSampler(stream(byte(100 + i)))
		all := make([]int64, draws)
		for j := range all {
			x, err := s.Gaussian(variance)
			if err != nil {
				t.Fatal(err)
			}
			all[j] = x.Int64()
		}
		v, _ := variance.Float64()
		if chi, limit := chiSquare(all, func(x int64) float64 { return math.Exp(-float64(x*x) / 2 / v) }); chi > limit {
			t.Errorf("Gaussian of variance %s: chi square %.1f, more than %.1f", variance, chi, limit)
		}
	}
}

// A sampler that is a little off has to be noticed: the statistic is seen to bite.
func TestTheStatisticNoticesAnotherScale(t *testing.T) {
	s := dp.NewSampler(stream(9))
	all := make([]int64, 30_000)
	for j := range all {
		x, err := s.Laplace(big.NewRat(22, 1))
		if err != nil {
			t.Fatal(err)
		}
		all[j] = x.Int64()
	}
	if chi, limit := chiSquare(all, func(x int64) float64 { return math.Exp(-math.Abs(float64(x)) / 20) }); chi <= limit {
		t.Errorf("a scale of 22 passes for 20: %.1f of %.1f", chi, limit)
	}
}

func TestNoNoiseIsNoNumber(t *testing.T) {
	cut := errors.New("cut")
	for name, random := range map[string]io.Reader{"empty": bytes.NewReader(nil), "broken": io.MultiReader(bytes.NewReader([]byte{1, 2, 3}), broken{cut})} {
		s := dp.NewSampler(random)
		if _, err := s.Laplace(big.NewRat(1000, 1)); err == nil {
			t.Errorf("%s: drawn without randomness", name)
		}
		if _, err := s.Gaussian(big.NewRat(1000, 1)); err == nil {
			t.Errorf("%s: drawn after a failure", name)
		}
	}
	s := dp.NewSampler(rand.Reader)
	for _, scale := range []*big.Rat{new(big.Rat), big.NewRat(-1, 1)} {
		if _, err := s.Laplace(scale); !errors.Is(err, dp.ErrScale) {
			t.Errorf("Laplace of scale %s: %v", scale, err)
		}
		if _, err := s.Gaussian(scale); !errors.Is(err, dp.ErrScale) {
			t.Errorf("Gaussian of variance %s: %v", scale, err)
		}
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func BenchmarkLaplace(b *testing.B) {
	s := dp.NewSampler(rand.Reader)
	for b.Loop() {
		if _, err := s.Laplace(big.NewRat(40, 1)); err != nil {
			b.Fatal(err)
		}
	}
}

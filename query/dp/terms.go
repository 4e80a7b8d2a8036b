package dp

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
)

// Terms are what a release promises, and the bounds that make it possible.
type Terms struct {
	// Epsilon and Delta are spent on each day of the data: besides an event of probability Delta, no answer is more than
	// exp(Epsilon) times as likely with one subject's day as without it.
	Epsilon, Delta *big.Rat
	// Cells is to how many cells one subject adds on one day, Events how many events to each. What is more is not counted.
	Cells, Events int64
	// Known says that which cells there are is known beforehand, as with the days of a period. Otherwise a cell is only
	// told of where so many are in it that it does not tell of one, and Delta is the price.
	Known bool
}

// Cell is a number of subjects' days, and of their events.
type Cell struct{ Days, Events int64 }

// Mechanism is the name of what Release does.
const Mechanism = "discrete_laplace"

// ErrTerms says that no release can keep such terms.
var ErrTerms = errors.New("terms of a release: epsilon, delta and bounds have to be positive; delta is 0 with known cells")

func (t Terms) check() error {
	if t.Epsilon == nil || t.Delta == nil || t.Epsilon.Sign() <= 0 || t.Cells < 1 || t.Events < 1 || t.Known != (t.Delta.Sign() == 0) || t.Delta.Sign() < 0 ||
		t.Delta.Cmp(big.NewRat(1, 2)) > 0 {
		return ErrTerms
	}
	return nil
}

// DayScale and EventScale are the scales of the noise of both numbers. One subject's day changes the days of a release
// by Cells at most in sum, and its events by Cells times Events; each number has half of Epsilon (basic composition).
func (t Terms) DayScale() *big.Rat {
	return new(big.Rat).Quo(big.NewRat(2*t.Cells, 1), t.Epsilon)
}

// EventScale is that of the events.
func (t Terms) EventScale() *big.Rat {
	return new(big.Rat).Quo(big.NewRat(2*t.Cells*t.Events, 1), t.Epsilon)
}

// Threshold is the least noisy number of days that a cell is told of with; 0 for known cells. A cell that is only there
// because of one subject has one day. By the tail of the discrete Laplace distribution, P(noise >= t) < exp(-t/scale), it
// passes with probability Delta/Cells at most, so that any of the Cells does with Delta (Desfontaines, Voss, Gipson,
// Mandayam: Differentially private partition selection, 2022; Wilson et al.: Differentially private SQL with bounded user
// contribution, 2020).
func (t Terms) Threshold() int64 {
	if t.Known {
		return 0
	}
	scale, _ := t.DayScale().Float64()
	delta, _ := t.Delta.Float64()
	// A constant that everybody knows may be a float, rounded up.
	return 2 + int64(math.Ceil(scale*math.Log(float64(t.Cells)/delta)*(1+1e-9)))
}

// Release adds the noise. A cell that is not told of is nil. The cells MUST be bounded as the terms say, and all cells
// that are known MUST be among them.
func (t Terms) Release(cells []Cell, s *Sampler) ([]*Cell, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	days, events, least := t.DayScale(), t.EventScale(), t.Threshold()
	told := make([]*Cell, len(cells))
	for i, c := range cells {
		d, err := s.Laplace(days)
		if err != nil {
			return nil, fmt.Errorf("draw noise: %w", err)
		}
		e, err := s.Laplace(events)
		if err != nil {
			return nil, fmt.Errorf("draw noise: %w", err)
		}
		if n := c.Days + d.Int64(); t.Known || n >= least {
			told[i] = &Cell{max(n, 0), max(c.Events+e.Int64(), 0)} // what is told is less than 0 to nobody's loss
		}
	}
	return told, nil
}

var decimalForm = regexp.MustCompile(`^[0-9]{1,6}(\.[0-9]{1,24})?$`)

// Parse reads a decimal number without rounding it.
func Parse(s string) (*big.Rat, bool) {
	if !decimalForm.MatchString(s) {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// Package dp makes differentially private releases: numbers that may leave the company, because whoever reads them
// learns next to nothing of one subject's day, whatever else the reader knows and however many releases there are.
//
//	Sampler   exact discrete noise from a cryptographic source, without floating point
//	Release   which bounds, which noise and which threshold a promise of epsilon and delta needs
//	Ledger    the budget of every purpose and day, spent before anything is computed
//
// The unit of privacy is one subject's day: two data sets are neighbours when one has, besides the other's rows, any rows
// of one subject on one day of the site. Everything the house counts is counted by the site's day, and a cookieless
// visitor is another subject every day, so no longer unit could be kept for them.
package dp

import (
	"bufio"
	"errors"
	"io"
	"math/big"
)

// Sampler draws exactly: "The Discrete Gaussian for Differential Privacy" (Canonne, Kamath, Steinke, 2020), algorithms 1
// to 3. All arithmetic is on integers and fractions. Floating point would leave gaps between the possible results
// that tell what was added to (Mironov, 2012). Not safe for concurrent use.
type Sampler struct {
	random *bufio.Reader
	err    error
}

// NewSampler draws from a cryptographic source: crypto/rand.Reader.
func NewSampler(random io.Reader) *Sampler { return &Sampler{random: bufio.NewReaderSize(random, 512)} }

// ErrScale says that a scale or a variance is not positive.
var ErrScale = errors.New("the scale of noise has to be positive")

// Laplace draws x with probability proportional to exp(-|x|/scale).
func (s *Sampler) Laplace(scale *big.Rat) (*big.Int, error) {
	if scale.Sign() <= 0 {
		return nil, ErrScale
	}
	x := s.laplace(scale.Num(), scale.Denom())
	return x, s.err
}

// Gaussian draws x with probability proportional to exp(-x^2/(2 variance)).
func (s *Sampler) Gaussian(variance *big.Rat) (*big.Int, error) {
	if variance.Sign() <= 0 {
		return nil, ErrScale
	}
	// t = floor(sigma) + 1
	t := new(big.Int).Quo(variance.Num(), variance.Denom())
	t.Sqrt(t).Add(t, one)
	shift := new(big.Rat).Quo(variance, new(big.Rat).SetInt(t))
	double := new(big.Rat).Mul(variance, big.NewRat(2, 1))
	for s.err == nil {
		y := s.laplace(t, one)
		distance := new(big.Rat).SetInt(new(big.Int).Abs(y))
		distance.Sub(distance, shift)
		distance.Mul(distance, distance).Quo(distance, double)
		if s.decays(distance) {
			return y, s.err
		}
	}
	return new(big.Int), s.err
}

var one = big.NewInt(1)

// laplace draws with scale numerator/denominator (algorithm 2).
func (s *Sampler) laplace(numerator, denominator *big.Int) *big.Int {
	for s.err == nil {
		u := s.below(numerator)
		if !s.decays(new(big.Rat).SetFrac(u, numerator)) {
			continue
		}
		v := new(big.Int)
		for s.decays(big.NewRat(1, 1)) && s.err == nil {
			v.Add(v, one)
		}
		x := v.Mul(v, numerator).Add(v, u)
		x.Quo(x, denominator)
		negative := s.below(big.NewInt(2)).Sign() == 1
		if negative && x.Sign() == 0 {
			continue // 0 would count twice
		}
		if negative {
			x.Neg(x)
		}
		return x
	}
	return new(big.Int)
}

// decays is true with probability exp(-gamma), gamma >= 0 (algorithm 1).
func (s *Sampler) decays(gamma *big.Rat) bool {
	whole := new(big.Int).Quo(gamma.Num(), gamma.Denom())
	for i := new(big.Int); i.Cmp(whole) < 0; i.Add(i, one) {
		if !s.decaysFraction(big.NewRat(1, 1)) {
			return false
		}
	}
	return s.decaysFraction(new(big.Rat).Sub(gamma, new(big.Rat).SetInt(whole)))
}

func (s *Sampler) decaysFraction(gamma *big.Rat) bool {
	k := int64(1)
	for s.err == nil && s.chance(gamma.Num(), new(big.Int).Mul(gamma.Denom(), big.NewInt(k))) {
		k++
	}
	return k%2 == 1
}

// chance is true with probability numerator/denominator.
func (s *Sampler) chance(numerator, denominator *big.Int) bool {
	return s.below(denominator).Cmp(numerator) < 0
}

// below is uniform over 0 to n-1. After a failed read it is 0, and the failure is kept.
func (s *Sampler) below(n *big.Int) *big.Int {
	if s.err != nil || n.Cmp(one) <= 0 {
		return new(big.Int)
	}
	bits := new(big.Int).Sub(n, one).BitLen()
	bytes := make([]byte, (bits+7)/8)
	for {
		if _, err := io.ReadFull(s.random, bytes); err != nil {
			s.err = err
			return new(big.Int)
		}
		bytes[0] &= 0xff >> (len(bytes)*8 - bits)
		if x := new(big.Int).SetBytes(bytes); x.Cmp(n) < 0 {
			return x
		}
	}
}

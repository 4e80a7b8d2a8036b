// Package noise makes released numbers uncertain by a few people, and always in the same way.
//
// It follows the cell key method of official statistics (Fraser and Wooton, UNECE 2005; the TableBuilder of the
// Australian Bureau of Statistics; the ONS for the census of 2021) and the layers of Diffix (Francis et al., 2017).
// A number gets the sum of two draws from the discrete Gaussian distribution:
//
//   - The definition's draw is seeded by what is asked: site, purpose, filters, period, group, column. However the data
//     is changed around a person (fake visitors in varying number), it stays, so that it is not averaged away.
//   - The cohort's draw is seeded by who and what is counted. However the same people are asked for, it stays; one
//     person or one deed more or less, and it is another.
//
// Nothing is drawn at random when a report is read. The draws come from a keyed function, so a repetition and a synonym
// get the number that was told before, from every process that holds the key.
//
// A number that does not count people gets, for every person that the number of people of its cell was moved by, one
// person's share of it, and a noise of its own besides. A person like the others moves all numbers of a cell alike, so
// all of them together tell no more of such a person than the number of people does; the own noise is for those who are
// not like the others.
//
// What it protects: a person whose share of a number is about that of others. With a deviation of 5 (threshold 10) the
// best decision about one person's presence is right in 53 of 100 cases after one answer, and in 54 after one of the two
// draws has been averaged away. Guessing is right in 50.
//
// What it does not protect: someone far above the others (withhold a cell that one subject dominates), and against
// somebody who knows everything but one bit and may ask for very many cohorts that hold the same person and differ by
// more than the threshold: with n of them what is left of the noise shrinks with the root of n. Only a budget ends that
// (package dp).
package noise

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"

	"github.com/shopspring/decimal"
)

// KeySize is the length of the key in bytes.
const KeySize = 32

// spread is how many shares of one person stand for one in a number that does not count people: who does twice as much
// as others is still covered.
const spread = 2

// fraction is the resolution of a fine draw, in bits. A coarser one would leave gaps between the numbers that are
// possible, and the gaps are others when one person more is counted.
const fraction = 32

// Noise is safe for concurrent use.
type Noise struct {
	key       [KeySize]byte
	deviation int
	table     []uint64
}

// New makes noise whose draws have a standard deviation of so many people, 1 to 1000. It copies the key.
func New(key [KeySize]byte, deviation int) *Noise {
	deviation = min(max(deviation, 1), 1000)
	return &Noise{key: key, deviation: deviation, table: cumulative(deviation)}
}

// Deviation is the standard deviation of one draw, in people.
func (n *Noise) Deviation() int { return n.deviation }

// Cohort is who is behind a cell: the least and the greatest of a hash of the subjects, and their number. Two cohorts
// that differ by somebody differ in it.
type Cohort struct{ Low, High, People uint64 }

// Cell makes noise for the numbers of one cell.
type Cell struct {
	noise      *Noise
	definition []byte
	cohort     Cohort
}

// Cell takes what is asked, in canonical form, and who is behind it.
func (n *Noise) Cell(definition []string, c Cohort) *Cell {
	return &Cell{n, encode(definition...), c}
}

// Passes reports whether so many subjects are enough for a threshold of k: never fewer than k, and as many as make it
// improbable (1 in 40) that one more or less is what decides. The draw is the definition's, so that no change of the
// data draws again. Where exactly the threshold is, nobody knows.
func (c *Cell) Passes(subjects, k uint64) bool {
	edge := int64(k) + 2*int64(c.noise.deviation) //nolint:gosec // G115: a threshold
	return subjects >= k && int64(min(subjects, 1<<32))+c.asked(people) >= edge
}

// Doubtful reports whether so many subjects are probably more than none, and do not pass. As with Passes, where exactly
// that begins nobody knows.
func (c *Cell) Doubtful(subjects, k uint64) bool {
	return int64(min(subjects, 1<<32))+c.asked(people) >= 2*int64(c.noise.deviation) && !c.Passes(subjects, k)
}

// Differs is Passes for the difference of two cohorts, of whom c is made. Both draws have to agree: a definition is
// varied without any fake visitor (a period that begins a millisecond earlier), and then the cohort's stays.
func (c *Cell) Differs(k uint64) bool {
	edge := int64(k) + 2*int64(c.noise.deviation) //nolint:gosec // G115: a threshold
	counted := int64(min(c.cohort.People, 1<<32))
	return c.Passes(c.cohort.People, k) && counted+c.counted(people, c.cohort.People) >= edge
}

// people is the column of the draws that decide about a cell. What they tell together with a shown number of people is
// no more than the number itself, so it is the same column.
const people = "people"

// People is a number of people. It is never told below least.
func (c *Cell) People(column string, value, least uint64) uint64 {
	if value == c.cohort.People {
		column = people
	}
	told := new(big.Int).SetUint64(value)
	told.Add(told, big.NewInt(c.asked(column)+c.counted(column, value)))
	return atLeast(told, least)
}

// Count is a number of what people did. Never below 0.
func (c *Cell) Count(column string, value uint64) uint64 {
	// value + z * max(1, value/people): what one person does is at least 1.
	among := max(c.cohort.People, 1)
	told := c.shares(column, encode(binary.BigEndian.AppendUint64(nil, value)))
	told.Mul(told, new(big.Int).SetUint64(max(value, among)))
	told = divide(told, new(big.Int).Lsh(new(big.Int).SetUint64(among), fraction))
	return atLeast(told.Add(told, new(big.Int).SetUint64(value)), 0)
}

// places are the decimal places of an amount.
const places = 4

// Amount is money, to four decimal places, without a float. Never below 0.
func (c *Cell) Amount(column string, value decimal.Decimal) decimal.Decimal {
	among := decimal.NewFromUint64(max(c.cohort.People, 1))
	z := decimal.NewFromBigInt(c.shares(column, encode(value.String())), 0)
	noise := value.Abs().Mul(z).DivRound(among.Mul(decimal.NewFromInt(1<<fraction)), places)
	told := value.Round(places).Add(noise)
	if told.IsNegative() {
		return decimal.Zero
	}
	return told
}

// Mean is a ratio: an average of what people did, such as seconds, or a share of 0 to 1, which one person moves by
// 1/people at most. Never below 0, and a share never above 1.
func (c *Cell) Mean(column string, value float64, share bool) float64 {
	one, most := max(spread*math.Abs(value), 1), math.Inf(1)
	if share {
		one, most = 1, max(value, 1)
	}
	z, _ := new(big.Float).SetInt(c.fine(column, encode(binary.BigEndian.AppendUint64(nil, math.Float64bits(value))))).Float64()
	return min(max(0, value+z/(1<<fraction)*one/float64(max(c.cohort.People, 1))), most)
}

// asked is the definition's draw, counted the cohort's, in people.
func (c *Cell) asked(column string) int64 {
	return c.noise.draw(c.noise.stream("definition", c.definition, encode(column)))
}

func (c *Cell) counted(column string, value uint64) int64 {
	return c.noise.draw(c.noise.stream("cohort", c.bytes(), encode(column), encode(binary.BigEndian.AppendUint64(nil, value))))
}

// shares is the noise of a number in units of 1/2^fraction shares of one person: as many as the people that the cell's
// number of people was moved by, and spread times its own.
func (c *Cell) shares(column string, value []byte) *big.Int {
	own := c.fine(column, value)
	own.Mul(own, big.NewInt(spread))
	return own.Add(own, big.NewInt((c.asked(people)+c.counted(people, c.cohort.People))<<fraction))
}

// fine is the sum of both draws in units of 1/2^fraction people: the discrete Gaussian, spread evenly over the unit.
func (c *Cell) fine(column string, value []byte) *big.Int {
	sum := new(big.Int)
	for _, s := range []*rand.ChaCha8{
		c.noise.stream("definition", c.definition, encode(column)),
		c.noise.stream("cohort", c.bytes(), encode(column), value),
	} {
		z := c.noise.draw(s)<<fraction + int64(s.Uint64()>>(64-fraction)) - 1<<(fraction-1)
		sum.Add(sum, big.NewInt(z))
	}
	return sum
}

func (c *Cell) bytes() []byte {
	var b [24]byte
	binary.BigEndian.PutUint64(b[0:], c.cohort.Low)
	binary.BigEndian.PutUint64(b[8:], c.cohort.High)
	binary.BigEndian.PutUint64(b[16:], c.cohort.People)
	return b[:]
}

// Hash is a keyed hash: without the key nobody can try values against it.
func (n *Noise) Hash(texts ...string) [sha256.Size]byte {
	mac := hmac.New(sha256.New, n.key[:])
	mac.Write(encode("hash"))
	mac.Write(encode(texts...))
	return [sha256.Size]byte(mac.Sum(nil))
}

// stream is the randomness of one draw: ChaCha8 (C2SP chacha8rand) under HMAC-SHA-256 of what it belongs to.
func (n *Noise) stream(layer string, parts ...[]byte) *rand.ChaCha8 {
	mac := hmac.New(sha256.New, n.key[:])
	mac.Write(encode(layer))
	for _, p := range parts {
		mac.Write(encode(p))
	}
	return rand.NewChaCha8([32]byte(mac.Sum(nil)))
}

// encode writes texts so that no two lists of them are written alike.
func encode[T string | []byte](texts ...T) []byte {
	b := binary.AppendUvarint(nil, uint64(len(texts)))
	for _, t := range texts {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	return b
}

// draw is one draw from the discrete Gaussian: the sign and the size by inversion.
func (n *Noise) draw(s *rand.ChaCha8) int64 {
	u := s.Uint64()
	size, _ := slices.BinarySearchFunc(n.table, u>>1, func(entry, u uint64) int {
		if entry <= u {
			return -1
		}
		return 1
	})
	if u&1 == 1 {
		return -int64(size)
	}
	return int64(size)
}

// cumulative is the table of the discrete Gaussian: entry i is the probability, in units of 2^-63, that a draw has the
// size i or less. It is computed without machine floats, so that every machine has the same one.
func cumulative(deviation int) []uint64 {
	const bits = 256
	number := func() *big.Float { return new(big.Float).SetPrec(bits) }
	// q = exp(-1/(2 deviation^2)); the weight of size i is q^(i^2), for 0 as for both signs of the others.
	q, term := number().SetInt64(1), number().SetInt64(1)
	x := number().Quo(number().SetInt64(-1), number().SetInt64(2*int64(deviation)*int64(deviation)))
	for i := int64(1); i <= 60; i++ {
		term.Mul(term, x).Quo(term, number().SetInt64(i))
		q.Add(q, term)
	}
	weights := []*big.Float{number().SetInt64(1)}
	sum := number().SetInt64(1)
	step, square := number().Set(q), number().Mul(q, q) // q^(2i+1)
	weight := number().SetInt64(1)
	for range 10 * deviation { // beyond ten deviations nothing is left of 2^-63
		weight = number().Mul(weight, step)
		step = number().Mul(step, square)
		double := number().Mul(weight, number().SetInt64(2))
		weights = append(weights, double)
		sum.Add(sum, double)
	}
	table := make([]uint64, len(weights))
	total := number()
	for i, w := range weights {
		total.Add(total, w)
		share := number().Quo(total, sum)
		table[i], _ = share.SetMantExp(share, 63).Uint64()
	}
	table[len(table)-1] = 1 << 63
	return table
}

// divide rounds a/b to the nearest, halves away from 0; b is positive.
func divide(a, b *big.Int) *big.Int {
	half := new(big.Int).Rsh(b, 1)
	if a.Sign() < 0 {
		return new(big.Int).Quo(new(big.Int).Sub(a, half), b)
	}
	return new(big.Int).Quo(new(big.Int).Add(a, half), b)
}

func atLeast(n *big.Int, least uint64) uint64 {
	if n.Sign() < 0 || n.IsUint64() && n.Uint64() < least {
		return least
	}
	return n.Uint64()
}

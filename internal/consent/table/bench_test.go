package table

import (
	"math/rand/v2"
	"testing"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
)

const day = int64(86_400_000_000)

// choice is what a banner's visitor says: everything, nothing, or a part of seven purposes.
func choice(random *rand.Rand, at int64) consent.Subject {
	said := consent.Subject{}
	kind := random.IntN(10)
	for p := core.Purpose(3); p < 10; p++ {
		switch {
		case kind < 5, kind > 7 && random.IntN(2) == 0:
			said[p] = consent.State{}.Grant(at)
		default:
			said[p] = consent.State{}.Deny(at)
		}
	}
	return said
}

func moment(random *rand.Rand) int64 { return 1_700_000_000_000_000 + random.Int64N(700*day) }

// full returns a table of n subjects, and their pseudonyms.
func full(n int) (*Table, []uint64) {
	random := rand.New(rand.NewPCG(1, 2))
	table, ids := New(), make([]uint64, n)
	for i := range ids {
		ids[i] = random.Uint64() | 1
		table.Add(ids[i], choice(random, moment(random)))
		if random.IntN(4) == 0 {
			table.Add(ids[i], choice(random, moment(random)))
		}
	}
	return table, ids
}

const million = 1_000_000

func BenchmarkWord(b *testing.B) {
	table, ids := full(million)
	at := 1_700_000_000_000_000 + 400*day
	for _, c := range []struct {
		name   string
		cookie func(i int) uint64
	}{
		{"known", func(i int) uint64 { return ids[i] }},
		{"unknown", func(i int) uint64 { return ids[i] ^ 1 }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				table.Word(at, c.cookie(i%million), 0, 0)
			}
		})
	}
}

func BenchmarkOf(b *testing.B) {
	table, ids := full(million)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		table.Of(ids[i%million], 0, 0)
	}
}

// BenchmarkDecide is the look-up and the decision together, from the table and from states as maps.
func BenchmarkDecide(b *testing.B) {
	table, ids := full(million)
	var rules consent.Rules
	for i := range 13 {
		rules[i] = consent.Rule{Basis: core.Consent, Categories: core.SetOf(core.PageViewHistory)}
	}
	at := 1_700_000_000_000_000 + 400*day
	b.Run("word", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			in := consent.Inputs{Type: core.PageView, Time: at, Word: table.Word(at, ids[i%million], 0, 0)}
			consent.Decide(&rules, &in)
		}
	})
	b.Run("maps", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			in := consent.Inputs{Type: core.PageView, Time: at, Subjects: table.Of(ids[i%million], 0, 0)}
			consent.Decide(&rules, &in)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	random := rand.New(rand.NewPCG(5, 6))
	said := make([]consent.Subject, 1<<12)
	for i := range said {
		said[i] = choice(random, moment(random))
	}
	b.Run("new subject", func(b *testing.B) {
		table := New()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			table.Add(random.Uint64(), said[i%len(said)])
		}
		b.ReportMetric(float64(table.Bytes())/float64(table.Len()), "B/subject")
	})
	b.Run("further act", func(b *testing.B) {
		table, ids := full(million)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			table.Add(ids[i%million], said[i%len(said)])
		}
		b.ReportMetric(float64(table.Bytes())/float64(table.Len()), "B/subject")
	})
	b.Run("said before", func(b *testing.B) {
		table := New()
		for i, s := range said {
			table.Add(uint64(i)+1, s)
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			table.Add(uint64(i%len(said))+1, said[i%len(said)])
		}
	})
}

func BenchmarkMerge(b *testing.B) {
	table, ids := full(million)
	random := rand.New(rand.NewPCG(5, 6))
	said := make([]consent.Subject, 1<<12)
	for i := range said {
		said[i] = choice(random, moment(random))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		table.Merge(ids[i%million], said[i%len(said)])
	}
}

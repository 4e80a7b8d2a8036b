package table

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
)

// naive is what a table must be equal to.
type naive map[uint64]consent.Subject

func (n naive) merge(subject uint64, more consent.Subject) {
	if n[subject] == nil {
		n[subject] = consent.Subject{}
	}
	n[subject].Merge(more)
}

func same(a, b consent.Subject) bool {
	if len(a) != len(b) {
		return false
	}
	for p, s := range a {
		other, ok := b[p]
		if !ok || s.Denied != other.Denied || !slices.Equal(s.Grants, other.Grants) {
			return false
		}
	}
	return true
}

type statement struct {
	subject uint64
	said    consent.Subject
}

// moments are few, so that acts meet at the same time, with the extremes of what an act could claim.
var moments = rapid.OneOf(rapid.Int64Range(1, 25), rapid.SampledFrom([]int64{1_700_000_000_000_000, 1_700_000_000_000_001, math.MaxInt64 - 1, math.MaxInt64}))

// said is one act or record: mostly several purposes at one time, as a banner says it; sometimes any state of any
// purpose, also one that consent.State would not have made.
func said() *rapid.Generator[consent.Subject] {
	return rapid.Custom(func(t *rapid.T) consent.Subject {
		s := consent.Subject{}
		at := moments.Draw(t, "time")
		for _, p := range rapid.SliceOfN(rapid.Uint8Range(0, core.MaxPurposes-1), 0, 6).Draw(t, "purposes") {
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0, 1, 2:
				s[core.Purpose(p)] = consent.State{}.Deny(at)
			case 3:
				s[core.Purpose(p)] = consent.State{
					Denied: rapid.Int64Range(-3, 12).Draw(t, "denied"),
					Grants: rapid.SliceOfN(rapid.Int64Range(-3, 30), 0, 12).Draw(t, "grants"),
				}
			case 4:
				s[core.Purpose(p)] = consent.State{}
			default:
				s[core.Purpose(p)] = consent.State{}.Grant(at)
			}
		}
		return s
	})
}

func statements() *rapid.Generator[[]statement] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) statement {
		return statement{rapid.Uint64Range(1, 5).Draw(t, "subject"), said().Draw(t, "said")}
	}), 0, 60)
}

func TestATableKnowsWhatAMapWouldKnow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := statements().Draw(t, "statements")
		table, want := New(), naive{}
		for i, st := range list {
			want.merge(st.subject, st.said)
			if i%2 == 0 {
				table.Add(st.subject, st.said)
			} else if got := table.Merge(st.subject, st.said); !same(got, want[st.subject]) {
				t.Fatalf("merged to %v, want %v", got, want[st.subject])
			}
		}
		equal(t, table, want)
	})
}

func TestAnyOrderOfArrivalGivesTheSameTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := statements().Draw(t, "statements")
		want := naive{}
		for _, st := range list {
			want.merge(st.subject, st.said)
		}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		table := New()
		for range 3 { // the second and third time it is a replay
			random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			for _, st := range list {
				table.Add(st.subject, st.said)
			}
			equal(t, table, want)
		}
	})
}

// equal holds the whole table against the naive one, by every way to look at it, and checks its memory.
func equal(t *rapid.T, table *Table, want naive) {
	t.Helper()
	if table.Len() != len(want) {
		t.Fatalf("%d subjects, want %d", table.Len(), len(want))
	}
	var ids []uint64
	var all []consent.Subject
	for id, subject := range want {
		ids, all = append(ids, id), append(all, subject)
		got := table.Of(0, id, id+1_000_000)
		if len(got) != 1 || !same(got[0], subject) {
			t.Fatalf("%v, want %v", got, subject)
		}
	}
	for _, at := range []int64{-1, 0, moments.Draw(t, "at"), rapid.Int64Range(0, 31).Draw(t, "small at"), math.MaxInt64} {
		for i := range ids {
			agree(t, table.Word(at, ids[i]), all[i:i+1], at)
		}
		agree(t, table.Word(at, append(ids, 0, 77)...), all, at)
	}
	sound(t, table)
}

// agree compares a word with what consent reads from the states themselves.
func agree(t *rapid.T, word consent.Word, subjects []consent.Subject, at int64) {
	t.Helper()
	for bit := range core.Purpose(core.MaxPurposes) {
		granted, objected := word.On(bit)
		wantGranted, wantObjected := consent.Standing(subjects, bit, at)
		if granted != wantGranted || objected != wantObjected {
			t.Fatalf("at %d purpose %d is granted=%v objected=%v, want %v, %v of %v", at, bit, granted, objected, wantGranted, wantObjected, subjects)
		}
	}
}

// sound checks that every byte of every arena belongs to one record or is counted as abandoned, and that no record says
// more than its state does.
func sound(t interface{ Fatalf(string, ...any) }, table *Table) {
	for i := range table.shards {
		s := &table.shards[i]
		held, living := 0, 0
		for _, slot := range s.slots {
			if slot.hash() != 0 {
				held++
				r := record(s.arena[slot.at:])
				living += r.size()
				if h := r.history(nil); !slices.Equal(h, history(nil).note(h.subject()).settle()) {
					t.Fatalf("shard %d: a record of %v", i, h)
				}
			}
		}
		if held != s.held || living+s.dead != len(s.arena) {
			t.Fatalf("shard %d: %d subjects of %d, %d bytes living and %d dead of %d", i, held, s.held, living, s.dead, len(s.arena))
		}
	}
}

func TestADecisionIsTheSameFromEitherForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, want := New(), naive{}
		for _, st := range statements().Draw(t, "statements") {
			table.Add(st.subject, st.said)
			want.merge(st.subject, st.said)
		}
		var rules consent.Rules
		for i := range rules {
			rules[i] = consent.Rule{
				Basis: core.Basis(rapid.IntRange(0, 3).Draw(t, "basis")), GPCDenied: rapid.Bool().Draw(t, "gpc denied"),
				Categories: core.SetOf(core.PageViewHistory),
			}
		}
		in := consent.Inputs{
			Type: core.PageView, Time: moments.Draw(t, "time"), GPC: rapid.Bool().Draw(t, "gpc"),
			DeviceRefused: core.PurposeSet(rapid.Uint32().Draw(t, "device")),
		}
		compact, half := in, in
		var ids []uint64
		for id, subject := range want {
			ids, in.Subjects = append(ids, id), append(in.Subjects, subject)
		}
		compact.Word = table.Word(in.Time, ids...)
		expected := consent.Decide(&rules, &in)
		if got := consent.Decide(&rules, &compact); got != expected {
			t.Fatalf("%+v, want %+v", got, expected)
		}
		cut := len(ids) / 2 // some identities in one form, some in the other
		half.Word, half.Subjects = table.Word(in.Time, ids[:cut]...), in.Subjects[cut:]
		if got := consent.Decide(&rules, &half); got != expected {
			t.Fatalf("by halves: %+v, want %+v", got, expected)
		}
	})
}

func TestManyMergesAtOnceLoseNothing(t *testing.T) {
	const writers, subjects, rounds = 8, 300, 40
	list := make([]statement, 0, subjects*rounds)
	random := rand.New(rand.NewPCG(3, 4))
	want := naive{}
	for n := range cap(list) {
		at := 1 + random.Int64N(1000)
		st := statement{uint64(1 + n%subjects), consent.Subject{}}
		for range 1 + random.IntN(5) {
			p := core.Purpose(random.IntN(core.MaxPurposes))
			if random.IntN(10) == 0 {
				st.said[p] = consent.State{}.Deny(at / 4)
			} else {
				st.said[p] = consent.State{}.Grant(at)
			}
		}
		list = append(list, st)
		want.merge(st.subject, st.said)
	}
	table := New()
	var work, readers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for id := uint64(0); ; id = (id + 1) % (subjects + 2) {
				select {
				case <-stop:
					return
				default:
				}
				// A state only ever grows towards the last one, so whatever is denied now is denied in the end.
				denied := func(s []consent.Subject, p core.Purpose) int64 {
					if len(s) == 0 {
						return 0
					}
					return s[0][p].Denied
				}
				now := table.Of(id)
				for p := range core.Purpose(core.MaxPurposes) {
					if got, last := denied(now, p), want[id][p].Denied; got > last {
						t.Errorf("a denial at %d that nobody said", got)
						return
					}
				}
				_ = table.Word(500, id, id+1)
				if table.Len() > subjects || table.Bytes() <= 0 {
					t.Errorf("%d subjects in %d bytes", table.Len(), table.Bytes())
					return
				}
			}
		})
	}
	for w := range writers {
		mine := slices.Clone(list[len(list)/writers*w:])
		if w < writers-1 {
			mine = mine[:len(list)/writers+500] // neighbours say some of it twice
		}
		rand.New(rand.NewPCG(uint64(w), 5)).Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		work.Go(func() {
			for i, st := range mine {
				if i%3 == 0 {
					table.Merge(st.subject, st.said)
				} else {
					table.Add(st.subject, st.said)
				}
			}
		})
	}
	work.Wait()
	close(stop)
	readers.Wait()
	for id, subject := range want {
		if got := table.Of(id); len(got) != 1 || !same(got[0], subject) {
			t.Errorf("subject %d: %v, want %v", id, got, subject)
		}
	}
	sound(t, table)
}

func TestEverySubjectIsFoundAndNobodyElse(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		subjects int
		id       func(i int) uint64
	}{
		"in sequence":     {60_000, func(i int) uint64 { return uint64(i + 1) }},
		"in steps":        {60_000, func(i int) uint64 { return uint64(i+1) << 40 }},
		"backwards":       {60_000, func(i int) uint64 { return math.MaxUint64 - uint64(i) }},
		"by their halves": {60_000, func(i int) uint64 { return uint64(i+1)<<32 | uint64(i%3) }},
		"as pseudonyms":   {60_000, func(int) uint64 { return random.Uint64() | 1 }}, // odd, so never 0
		// Times the inverse of the factor of spread: every hash is small. It is slow, and still right.
		"aimed at one place": {1_500, func(i int) uint64 { return uint64(i+1) * 0xF1DE83E19937733D }},
	} {
		t.Run(name, func(t *testing.T) {
			table, want := New(), map[uint64]int64{}
			for i := range c.subjects {
				subject, at := c.id(i), int64(i+1)
				table.Add(subject, consent.Subject{3: consent.State{}.Deny(at)})
				want[subject] = at
			}
			if table.Len() != len(want) {
				t.Fatalf("%d subjects, want %d", table.Len(), len(want))
			}
			for subject, at := range want {
				if got := table.Of(subject); len(got) != 1 || got[0][3].Denied != at {
					t.Fatalf("subject %d: %v, want a denial at %d", subject, got, at)
				}
				if other := subject + 1<<63; want[other] == 0 && table.Of(other) != nil {
					t.Fatalf("subject %d is known", other)
				}
			}
			sound(t, table)
		})
	}
}

func TestNobodyHasNoState(t *testing.T) {
	table := New()
	table.Add(0, consent.Subject{1: consent.State{}.Grant(5)})
	if got := table.Merge(0, consent.Subject{1: consent.State{}.Grant(5)}); !same(got, consent.Subject{1: {Grants: []int64{5}}}) {
		t.Errorf("merged to %v", got)
	}
	if got := table.Of(0); got != nil || table.Len() != 0 || table.Word(9, 0) != (consent.Word{}) {
		t.Errorf("%v of %d subjects", got, table.Len())
	}
}

func TestALookUpAllocatesNothing(t *testing.T) {
	table := New()
	said := consent.Subject{}
	for p := range core.Purpose(12) {
		said[p] = consent.State{}.Deny(5).Grant(9 + int64(p%2))
	}
	table.Add(7, said)
	var sink consent.Word
	if n := testing.AllocsPerRun(100, func() {
		sink = table.Word(9, 7, 8, 0)
		table.Add(7, said) // said before
		if table.Of(0, 8, 9) != nil {
			t.Error("somebody is known")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if want := (consent.Word{Granted: 0x555, Objected: 0xAAA}); sink != want {
		t.Errorf("%x, want %x", sink, want)
	}
}

func TestAPurposeBeyondTheRegisterIsNone(t *testing.T) {
	table := New()
	got := table.Merge(7, consent.Subject{core.MaxPurposes: consent.State{}.Grant(5), 200: consent.State{}.Deny(5), 31: consent.State{}.Grant(5)})
	if !same(got, consent.Subject{31: {Grants: []int64{5}}}) {
		t.Errorf("merged to %v", got)
	}
}

func TestAnAnswerBelongsToItsCaller(t *testing.T) {
	table := New()
	said := consent.Subject{1: consent.State{}.Grant(5)}
	merged := table.Merge(7, said)
	said[1].Grants[0] = 1
	merged[1].Grants[0] = 1
	merged[2] = consent.State{}.Grant(1)
	table.Of(7)[0][1].Grants[0] = 1
	if got := table.Of(7); !same(got[0], consent.Subject{1: {Grants: []int64{5}}}) {
		t.Errorf("%v", got)
	}
}

// The largest state there can be outgrows every buffer on the way.
func TestTheLargestStateIsKept(t *testing.T) {
	table, want := New(), naive{}
	for round := range 20 {
		for p := range core.Purpose(core.MaxPurposes) {
			at := int64(1_700_000_000_000_000 + 1_000_003*round + 7_919*int(p))
			one := consent.Subject{p: consent.State{}.Grant(at)}
			if round == 0 {
				one = consent.Subject{p: consent.State{}.Deny(at)}
			}
			want.merge(9, one)
			if got := table.Merge(9, one); !same(got, want[9]) {
				t.Fatalf("round %d: %v, want %v", round, got, want[9])
			}
		}
	}
	for _, state := range want[9] {
		if state.Denied == 0 || len(state.Grants) != consent.MaxGrants {
			t.Fatalf("%v is not the largest state", state)
		}
	}
	fresh := New()
	if got := fresh.Merge(9, want[9]); !same(got, want[9]) {
		t.Errorf("at once: %v, want %v", got, want[9])
	}
	sound(t, table)
}

func TestWritingTheSameSubjectsAgainTakesNoFurtherMemory(t *testing.T) {
	const subjects, rounds = 4_000, 160
	all := make([]core.Purpose, 12)
	for i := range all {
		all[i] = core.Purpose(i)
	}
	table := New()
	random := rand.New(rand.NewPCG(8, 9))
	var settled int64
	for round := range rounds {
		for n := range subjects / 4 {
			at := int64(1_700_000_000_000_000) + int64(round)*86_400_000_000 + int64(n)
			said := consent.Subject{}
			for _, p := range all {
				switch random.IntN(3) {
				case 0:
					said[p] = consent.State{}.Grant(at)
				case 1:
					said[p] = consent.State{}.Deny(at)
				}
			}
			table.Add(1+random.Uint64N(subjects), said)
		}
		if round == rounds/2 {
			settled = table.Bytes()
		}
	}
	sound(t, table)
	if got := table.Bytes(); got > settled*5/4 {
		t.Errorf("%d bytes after half of the rounds, %d after all", settled, got)
	}
	t.Logf("%d subjects, %d acts each: %d bytes a subject", table.Len(), rounds/4, table.Bytes()/int64(table.Len()))
}

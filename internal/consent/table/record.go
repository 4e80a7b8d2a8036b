package table

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"slices"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
)

// entry is what was said at one time: the purposes granted, or those denied. A denial at 0 is no denial. It stands for
// the purposes that are known and were never decided.
type entry struct {
	time     int64
	purposes core.PurposeSet
	denied   bool
}

// before orders entries by time. Of one time the denials come last: read backwards, as settle does, they win.
func (e entry) before(f entry) bool {
	if e.time != f.time {
		return e.time < f.time
	}
	return !e.denied && f.denied
}

// history is a subject's state turned round: by time, and then by purpose. Most subjects decide about many purposes
// at once, so it is short.
type history []entry

// room is what nearly every history fits into, on the stack.
type room [24]entry

// note adds what a state says; the history is then to be settled.
func (h history) note(more consent.Subject) history {
	for purpose, state := range more {
		if purpose >= core.MaxPurposes {
			continue
		}
		one := core.PurposeSet(0).With(purpose)
		h = h.insert(entry{max(state.Denied, 0), one, true})
		for _, t := range state.Grants {
			if t > 0 {
				h = h.insert(entry{t, one, false})
			}
		}
	}
	return h
}

func (h history) insert(e entry) history {
	at := len(h)
	for at > 0 && e.before(h[at-1]) {
		at--
	}
	if at > 0 && h[at-1].time == e.time && h[at-1].denied == e.denied {
		h[at-1].purposes |= e.purposes
		return h
	}
	return slices.Insert(h, at, e)
}

// settle leaves of a history what a consent.State keeps: for each purpose the latest denial and, after it, the latest
// consent.MaxGrants grants.
func (h history) settle() history {
	var (
		known  core.PurposeSet // said something later
		denied core.PurposeSet // denied later
		full   core.PurposeSet // have all the grants they may
		grants [core.MaxPurposes]uint8
	)
	for i := len(h) - 1; i >= 0; i-- {
		e := &h[i]
		switch {
		case !e.denied:
			e.purposes &^= denied | full
			for bit := range each(e.purposes) {
				if grants[bit]++; grants[bit] == consent.MaxGrants {
					full = full.With(bit)
				}
			}
		case e.time > 0:
			e.purposes &^= denied
			denied |= e.purposes
		default:
			e.purposes &^= known
		}
		known |= e.purposes
	}
	return slices.DeleteFunc(h, func(e entry) bool { return e.purposes == 0 })
}

// subject turns a settled history back into a state.
func (h history) subject() consent.Subject {
	var known core.PurposeSet
	for _, e := range h {
		known |= e.purposes
	}
	s := make(consent.Subject, known.Len())
	for _, e := range h {
		for bit := range each(e.purposes) {
			state := s[bit]
			if e.denied {
				state.Denied = e.time
			} else {
				state.Grants = append(state.Grants, e.time)
			}
			s[bit] = state
		}
	}
	return s
}

// record is a settled history in few bytes: the number of entries, and for each the time since the one before, with
// the denial in its lowest bit, and the purposes; all of them varints. Records lie one after another, so a record is a
// slice from its own beginning on, whose end only reading it tells.
type record []byte

// write appends the record of a settled history.
func (h history) write(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(h)))
	var before int64
	for _, e := range h {
		step := uint64(e.time-before) << 1 //nolint:gosec // G115: times ascend from 0
		if e.denied {
			step |= 1
		}
		b = binary.AppendUvarint(b, step)
		b = binary.AppendUvarint(b, uint64(e.purposes))
		before = e.time
	}
	return b
}

// reading is a way through a record.
type reading struct {
	rest []byte
	left uint64
	time int64
}

func (r record) read() reading {
	left, n := binary.Uvarint(r)
	return reading{rest: r[n:], left: left}
}

func (r *reading) next() (entry, bool) {
	if r.left == 0 {
		return entry{}, false
	}
	r.left--
	step, n := binary.Uvarint(r.rest)
	set, m := binary.Uvarint(r.rest[n:])
	r.rest = r.rest[n+m:]
	r.time += int64(step >> 1)
	return entry{r.time, core.PurposeSet(set), step&1 != 0}, true //nolint:gosec // G115: write's own width
}

// history appends the entries of a record; none of the nil record.
func (r record) history(h history) history {
	if r == nil {
		return h
	}
	way := r.read()
	for e, ok := way.next(); ok; e, ok = way.next() {
		h = append(h, e)
	}
	return h
}

// size is the length of a record.
func (r record) size() int {
	way := r.read()
	for more := true; more; {
		_, more = way.next()
	}
	return len(r) - len(way.rest)
}

// word is what the record says as of t. Every grant that a state keeps is later than its denial, so one at or before
// t covers an event at t, and a denial without such a grant objects, whenever it was.
func (r record) word(t int64) (w consent.Word) {
	way := r.read()
	for e, ok := way.next(); ok; e, ok = way.next() {
		switch {
		case !e.denied && e.time <= t:
			w.Granted |= e.purposes
		case e.denied && e.time > 0:
			w.Objected |= e.purposes
		}
	}
	w.Objected &^= w.Granted
	return w
}

// each is the purposes of a set, ascending.
func each(set core.PurposeSet) iter.Seq[core.Purpose] {
	return func(yield func(core.Purpose) bool) {
		for ; set != 0; set &= set - 1 {
			if !yield(core.Purpose(bits.TrailingZeros32(uint32(set)))) { //nolint:gosec // G115: less than 32
				return
			}
		}
	}
}

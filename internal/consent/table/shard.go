package table

import (
	"bytes"
	"math/bits"
	"sync"

	"github.com/sekisho/sekisho/internal/consent"
)

// A shard starts with this much, at its first subject.
const (
	placesAtFirst = 8
	arenaAtFirst  = 128
)

// beyond is room for the crowd at the end of an index: so long a run is rare, and costs a copy of the index.
const beyond = 32

// shard is the subjects of one range of hashes. Its index is an array of slots in the order of their hashes, with free
// ones between; its arena holds the records. A record that is replaced is abandoned where it lies, and left behind when
// the arena is next full, so writing the same subjects again and again takes no further memory.
type shard struct {
	mu     sync.RWMutex
	slots  []slot
	places int // of the slots those that hashes are spread over; a crowd at the end may run on beyond
	held   int // slots that are taken
	arena  []byte
	dead   int // bytes of abandoned records
}

// slot is where a subject's record begins. It is 12 bytes, which a uint64 would make 16.
// What at can tell is enough: a shard with an arena of 4 GiB would be in a table of 1 TiB.
type slot struct {
	high, low uint32 // of the hash; both 0: the slot is free
	at        uint32
}

func (s slot) hash() uint64 { return uint64(s.high)<<32 | uint64(s.low) }

// spread is a subject's hash: another for every subject, so the index needs nothing else to know it by, and 0 for 0
// only. An id is a keyed hash, which nobody can aim, so one multiplication is enough. It is there for ids that
// are merely unique.
func spread(subject uint64) uint64 { return subject * 0x9E3779B97F4A7C15 } // 2^64 by the golden ratio, odd

// place is where a hash would like to be in an index: hashes in order have places in order. The highest 8 bits are the
// shard's.
func place(hash uint64, places int) int {
	at, _ := bits.Mul64(hash<<8, uint64(places)) //nolint:gosec // G115: not negative
	return int(at)                               //nolint:gosec // G115: less than places
}

// find returns the slot of a hash and true, or where it would have to be. A hash is at its place or in the run of taken
// slots from there on, and since they are in order, the first that is greater ends the search for one that is not there.
func (s *shard) find(hash uint64) (int, bool) {
	at := place(hash, s.places)
	for ; at < len(s.slots); at++ {
		if there := s.slots[at].hash(); there >= hash || there == 0 {
			return at, there == hash
		}
	}
	return at, false
}

// insert puts a slot where find says it would have to be, and moves the rest of the run on by one.
func (s *shard) insert(at int, one slot) {
	for ; at < len(s.slots); at++ {
		one, s.slots[at] = s.slots[at], one
		if one.hash() == 0 {
			return
		}
	}
	s.slots = append(s.slots, one)
}

// grow makes the index larger by a quarter when four fifths of it are taken, and lays the slots out anew. Beyond that
// the runs would be long; a larger step would leave more of it empty.
func (s *shard) grow() {
	if s.held < s.places*4/5 {
		return
	}
	old := s.slots
	s.places = max(placesAtFirst, s.places*5/4)
	s.slots = make([]slot, s.places, s.places+beyond)
	free := 0
	for _, one := range old {
		hash := one.hash()
		if hash == 0 {
			continue
		}
		at := max(free, place(hash, s.places))
		if at == len(s.slots) {
			s.slots = append(s.slots, slot{})
		}
		s.slots[at] = one
		free = at + 1
	}
}

// record returns a subject's record. It is good for as long as the shard's lock is held.
func (s *shard) record(hash uint64) (record, bool) {
	at, ok := s.find(hash)
	if !ok {
		return nil, false
	}
	return s.arena[s.slots[at].at:], true
}

// join adds what is said to a subject's record and returns the joined history, in the room given where it fits.
func (s *shard) join(hash uint64, more consent.Subject, h history) history {
	known, ok := s.record(hash)
	h = known.history(h).note(more).settle()
	var scratch [128]byte
	written := h.write(scratch[:0])
	if !ok {
		s.grow()
		at, _ := s.find(hash)
		s.insert(at, slot{uint32(hash >> 32), uint32(hash), s.store(written)}) //nolint:gosec // G115: the two halves
		s.held++
		return h
	}
	size := known.size()
	switch {
	case bytes.Equal(known[:size], written): // said before
	case len(written) <= size:
		copy(known, written)
		s.dead += size - len(written)
	default:
		to := s.store(written) // before the known record is dead: it may be moved
		at, _ := s.find(hash)
		s.slots[at].at = to
		s.dead += size
	}
	return h
}

// store appends a record to the arena and returns where it begins. Where there is no room it moves to a larger arena
// and leaves what was abandoned behind.
func (s *shard) store(written []byte) uint32 {
	if len(s.arena)+len(written) > cap(s.arena) {
		living := len(s.arena) - s.dead + len(written)
		arena := make([]byte, 0, max(arenaAtFirst, living+living/8))
		if s.dead == 0 {
			arena = append(arena, s.arena...)
		} else {
			for i := range s.slots {
				if slot := &s.slots[i]; slot.hash() != 0 {
					moved := record(s.arena[slot.at:])
					slot.at = uint32(len(arena)) //nolint:gosec // G115: see slot
					arena = append(arena, moved[:moved.size()]...)
				}
			}
		}
		s.arena, s.dead = arena, 0
	}
	at := uint32(len(s.arena)) //nolint:gosec // G115: see slot
	s.arena = append(s.arena, written...)
	return at
}

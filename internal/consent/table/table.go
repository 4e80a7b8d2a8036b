// Package table holds the consent states of millions of subjects in little memory: about 30 bytes for a subject with
// an act or two, where a Go map of consent.Subject takes half a kilobyte and more. Its memory holds no pointers, so ten
// million subjects cost the garbage collector's cycles nothing.
//
// table.go is the look-up and its locks, shard.go the memory, record.go how one subject's state is written. Joining
// is consent's own rule: a table and a map of consent.Subject that were told the same know the same.
package table

import (
	"unsafe"

	"github.com/sekisho/sekisho/internal/consent"
)

// shards bounds what a write holds up, and what is held twice while a shard grows.
const shards = 256

// Table is the consent states by subject id. Several goroutines may use it. An id is a keyed hash and never 0: 0 names
// nobody, and nothing is kept of it.
type Table struct {
	shards [shards]shard
}

// New returns a table that knows nobody.
func New() *Table { return &Table{} }

// Add joins what an act or a record says into a subject's state. A purpose beyond core.MaxPurposes is no purpose, and
// left out.
func (t *Table) Add(subject uint64, more consent.Subject) {
	if subject == 0 {
		return
	}
	var room room
	s, hash := t.shard(subject)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.join(hash, more, room[:0])
}

// Merge is Add, and returns the whole joined state, which is the caller's.
func (t *Table) Merge(subject uint64, more consent.Subject) consent.Subject {
	var room room
	if subject == 0 {
		return history(room[:0]).note(more).settle().subject()
	}
	s, hash := t.shard(subject)
	s.mu.Lock()
	joined := s.join(hash, more, room[:0])
	s.mu.Unlock()
	return joined.subject()
}

// Word is what the subjects say together as of an event at a time, in microseconds. It allocates nothing.
func (t *Table) Word(at int64, subjects ...uint64) consent.Word {
	var word consent.Word
	for _, subject := range subjects {
		if subject == 0 {
			continue
		}
		s, hash := t.shard(subject)
		s.mu.RLock()
		if record, ok := s.record(hash); ok {
			word = word.And(record.word(at))
		}
		s.mu.RUnlock()
	}
	return word
}

// Of returns the states of the subjects that are known, in their order. They are the caller's.
func (t *Table) Of(subjects ...uint64) []consent.Subject {
	var known []consent.Subject
	for _, subject := range subjects {
		if subject == 0 {
			continue
		}
		var room room
		s, hash := t.shard(subject)
		s.mu.RLock()
		record, ok := s.record(hash)
		h := record.history(room[:0])
		s.mu.RUnlock()
		if ok {
			known = append(known, h.subject())
		}
	}
	return known
}

// Len is how many subjects are known.
func (t *Table) Len() int {
	var n int
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		n += s.held
		s.mu.RUnlock()
	}
	return n
}

// Bytes is the memory held.
func (t *Table) Bytes() int64 {
	n := int64(unsafe.Sizeof(*t))
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		n += int64(cap(s.slots))*int64(unsafe.Sizeof(slot{})) + int64(cap(s.arena))
		s.mu.RUnlock()
	}
	return n
}

// shard is where a subject belongs, and its hash.
func (t *Table) shard(subject uint64) (*shard, uint64) {
	hash := spread(subject)
	return &t.shards[hash>>56], hash
}

package ledger

import (
	"hash/maphash"
	"iter"
)

// ids finds the leaf of an id in 8 bytes a slot, 11 to 21 a leaf: an open-addressed table of a 32-bit hash and an
// index. A hash is no proof, so the caller compares the id of the leaf itself. Ids may be chosen by clients; the seed
// keeps them from choosing collisions.
type ids struct {
	seed  maphash.Seed
	slots []uint64 // hash in the upper half, index+1 in the lower; 0 is free
	count int
}

// maxLeaves is how many an ids table can tell apart.
const maxLeaves = 1<<32 - 2

// newIDs makes a table with room for count leaves.
func newIDs(count int64) *ids {
	slots := int64(1024)
	for slots*3 < count*4 {
		slots *= 2
	}
	return &ids{seed: maphash.MakeSeed(), slots: make([]uint64, slots)}
}

func (t *ids) hash(id ID) uint64 { return maphash.Bytes(t.seed, id[:]) >> 32 }

// candidates are the indexes of the leaves that may have the id: nearly always none or the one.
func (t *ids) candidates(id ID) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		hash, mask := t.hash(id), uint64(len(t.slots)-1) //nolint:gosec // G115: there is always a slot
		for at := hash & mask; t.slots[at] != 0; at = (at + 1) & mask {
			if slot := t.slots[at]; slot>>32 == hash && !yield(int64(slot&(1<<32-1))-1) {
				return
			}
		}
	}
}

// add takes a leaf that is not in the table.
func (t *ids) add(id ID, index int64) {
	if t.count++; t.count*4 > len(t.slots)*3 {
		old := t.slots
		t.slots = make([]uint64, 2*len(old))
		for _, slot := range old {
			if slot != 0 {
				t.put(slot)
			}
		}
	}
	t.put(t.hash(id)<<32 | uint64(index+1)) //nolint:gosec // G115: at most maxLeaves
}

func (t *ids) put(slot uint64) {
	mask := uint64(len(t.slots) - 1) //nolint:gosec // G115: there is always a slot
	at := slot >> 32 & mask
	for t.slots[at] != 0 {
		at = (at + 1) & mask
	}
	t.slots[at] = slot
}

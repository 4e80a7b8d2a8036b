package ledger

import (
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// frontier is the right edge of a tree, all that is needed to let it grow and to know its root: of each level the last
// complete subtree that still waits for its right sibling. Its hashes are those of tlog, without reading any back.
type frontier struct {
	size  int64
	nodes [64]tlog.Hash // by level
}

// next appends to b the hashes that a leaf adds to the tree, in the order of tlog.StoredHashIndex, and leaves the
// frontier as it is: those are the leaf's own and one for each subtree it completes.
func (f *frontier) next(leaf []byte, b []tlog.Hash) []tlog.Hash {
	h := tlog.RecordHash(leaf)
	b = append(b, h)
	for level := 0; f.size>>level&1 == 1; level++ {
		h = tlog.NodeHash(f.nodes[level], h)
		b = append(b, h)
	}
	return b
}

// push takes the hashes of one leaf, as next gave them.
func (f *frontier) push(hashes []tlog.Hash) {
	f.nodes[len(hashes)-1] = hashes[len(hashes)-1]
	f.size++
}

// root is the Merkle tree hash.
func (f *frontier) root() tlog.Hash {
	if f.size == 0 {
		return emptyRoot()
	}
	level := bits.TrailingZeros64(uint64(f.size)) //nolint:gosec // G115: not negative
	h := f.nodes[level]
	for level++; f.size>>level > 0; level++ {
		if f.size>>level&1 == 1 {
			h = tlog.NodeHash(f.nodes[level], h)
		}
	}
	return h
}

// emptyRoot is the hash of no leaf.
func emptyRoot() tlog.Hash {
	h, _ := tlog.TreeHash(0, nil) // reads nothing
	return h
}

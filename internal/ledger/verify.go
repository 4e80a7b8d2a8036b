package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// Fault is what an audit can find. The list is closed.
type Fault uint8

// The faults.
const (
	// Inconsistent: the log is not what a checkpoint signed. Index is the first leaf that its hash does not confirm,
	// -1 when the hashes were changed as well.
	Inconsistent Fault = iota + 1
	// Tampered: a record differs from what its leaf commits to.
	Tampered
	// Dropped: a leaf has no record, and no later erasure or expiry covers it.
	Dropped
	// Reordered: a record stands where another belongs. Belongs is its own leaf.
	Reordered
	// Unknown: a record has no leaf.
	Unknown
	// Doubled: a leaf has more than one record.
	Doubled
	// Undeleted: an erasure or expiry covers a leaf whose record is still there.
	Undeleted
	// Malformed: an erasure or expiry does not say which leaves it covers.
	Malformed

	endOfFaults
)

var faultNames = [...]string{
	Inconsistent: "inconsistent", Tampered: "tampered", Dropped: "dropped", Reordered: "reordered", Unknown: "unknown",
	Doubled: "doubled", Undeleted: "undeleted", Malformed: "malformed",
}

func (f Fault) String() string {
	if f > 0 && f < endOfFaults {
		return faultNames[f]
	}
	return "none"
}

// Finding is one fault. It holds nothing of a record but its id.
type Finding struct {
	Fault   Fault
	Index   int64 // of the leaf, or where the record claims to be
	Belongs int64 // where a reordered record belongs; -1 for other faults
	Kind    Kind
	ID      ID
	Part    string // what differs of a tampered record (kind, time, id, content), or is wrong with the log
}

func (f Finding) String() string {
	text := fmt.Sprintf("%s: leaf %d", f.Fault, f.Index)
	if f.Kind.valid() {
		text += fmt.Sprintf(" (%s %s)", f.Kind, f.ID)
	}
	if f.Fault == Reordered {
		text += fmt.Sprintf(" belongs to leaf %d", f.Belongs)
	}
	if f.Part != "" {
		text += ": " + f.Part
	}
	return text
}

// MaxFindings bounds how many faults are named, and how many displaced records are remembered. All are counted.
const MaxFindings = 10_000

// Findings is the result of an audit.
type Findings struct {
	Leaves  int64 // in the log
	Signed  int64 // of them under a checkpoint: those that need a record
	Records int64 // in the store
	Counts  map[Fault]int64
	List    []Finding // the first MaxFindings, in the order they were found

	complete bool
}

// OK reports whether an audit came to its end and found nothing. The zero Findings are not OK.
func (f *Findings) OK() bool { return f.complete && len(f.Counts) == 0 }

func (f *Findings) add(found Finding) {
	if found.Fault != Reordered {
		found.Belongs = -1
	}
	f.Counts[found.Fault]++
	if len(f.List) < MaxFindings {
		f.List = append(f.List, found)
	}
}

// Leaves is the log that an audit reads: a Log, or a Store that ReadStore opened.
type Leaves interface {
	tlog.HashReader
	Note() []byte // the last checkpoint, nil when there is none
	Size() int64
	ReadLeaves(first int64, b []byte) error
}

// Verify audits a log and the records that a store holds. The log is held against its last checkpoint and against
// known ones, of earlier times, receipts or witnesses, without trusting a stored hash; only known ones can show that
// log and checkpoint were replaced together. Then every record is held against its leaf, and every signed leaf against
// the records. An erasure that is itself at fault excuses no missing record.
//
// Records may come in any order, by index they are read fastest. Beside what MaxFindings bounds it needs 2 bits a
// leaf. A store that is written meanwhile is asked for the records below the checkpoint's size. An error means that
// the audit could not be carried out; what it found until then is returned with it and is not OK.
func Verify(ctx context.Context, log Leaves, records iter.Seq2[Record, error], v Verifier, known ...Checkpoint) (Findings, error) {
	known = slices.Clone(known)
	a := audit{log: log, found: Findings{Counts: map[Fault]int64{}}, strays: map[ID][]stray{}}
	for _, c := range known {
		if c.origin != v.origin {
			return a.found, errors.New("verify ledger: a known checkpoint is of another log")
		}
	}
	if note := log.Note(); note != nil {
		c, err := OpenCheckpoint(note, v)
		if err != nil {
			a.found.add(Finding{Fault: Inconsistent, Index: -1, Part: "the checkpoint is not signed by the log's keys"})
		} else {
			known = append(known, c)
		}
	}
	a.found.Leaves = log.Size() // after the checkpoint, so that it holds what the checkpoint covers
	a.present, a.covered = newBits(a.found.Leaves), newBits(a.found.Leaves)
	err := a.checkLog(ctx, known)
	if err == nil {
		err = a.checkRecords(ctx, records)
	}
	if err == nil && len(a.strays) > 0 {
		err = a.returnStrays(ctx)
	}
	if err == nil {
		err = a.checkLeaves(ctx)
	}
	if err != nil {
		return a.found, fmt.Errorf("verify ledger: %w", err)
	}
	a.found.complete = true
	return a.found, nil
}

// audit is one run of Verify.
type audit struct {
	log              Leaves
	found            Findings
	present, covered bitset // by leaf: it has a record; an erasure took its record

	strays      map[ID][]stray
	strayCount  int
	strayFields int // bytes

	block      []byte // leaves from blockFirst on
	blockFirst int64
}

// stray is a record that is not of the leaf where it claims to be.
type stray struct {
	index  int64 // the claim
	own    Entry
	fields []Field // of an erasure or expiry
}

// maxStrayFields bounds the fields of strays, in bytes.
const maxStrayFields = 64 << 20

// leaf returns the bytes of a leaf, which the next call overwrites. Neighbours are read together.
func (a *audit) leaf(at int64) ([]byte, error) {
	if at < a.blockFirst || at >= a.blockFirst+int64(len(a.block)/EntrySize) {
		first := at - at%blockLeaves
		if a.block == nil {
			a.block = make([]byte, blockLeaves*EntrySize)
		}
		a.block, a.blockFirst = a.block[:min(blockLeaves, a.found.Leaves-first)*int64(EntrySize)], first
		if err := a.log.ReadLeaves(first, a.block); err != nil {
			return nil, err
		}
	}
	from := (at - a.blockFirst) * int64(EntrySize)
	return a.block[from : from+int64(EntrySize)], nil
}

// leaves calls f with every leaf in order, until one call is done.
func (a *audit) leaves(ctx context.Context, f func(at int64, leaf []byte) (done bool, err error)) error {
	for at := range a.found.Leaves {
		if at%blockLeaves == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		leaf, err := a.leaf(at)
		if err != nil {
			return err
		}
		if done, err := f(at, leaf); done || err != nil {
			return err
		}
	}
	return nil
}

// checkLog computes the tree from the leaves and compares it with the checkpoints.
func (a *audit) checkLog(ctx context.Context, checkpoints []Checkpoint) error {
	if len(checkpoints) == 0 && a.found.Leaves > 0 {
		a.found.add(Finding{Fault: Inconsistent, Index: -1, Part: "no checkpoint was signed"})
	}
	slices.SortFunc(checkpoints, func(x, y Checkpoint) int { return cmp.Compare(x.size, y.size) })
	var (
		tree    frontier
		hashes  []tlog.Hash
		differs bool
	)
	compare := func() {
		for ; len(checkpoints) > 0 && checkpoints[0].size == tree.size; checkpoints = checkpoints[1:] {
			differs = differs || checkpoints[0].root != tree.root()
			a.found.Signed = tree.size
		}
	}
	compare()
	if err := a.leaves(ctx, func(_ int64, leaf []byte) (bool, error) {
		hashes = tree.next(leaf, hashes[:0])
		tree.push(hashes)
		compare()
		return false, nil
	}); err != nil {
		return err
	}
	if len(checkpoints) > 0 {
		a.found.Signed = a.found.Leaves
		a.found.add(Finding{Fault: Inconsistent, Index: a.found.Leaves, Part: "the log is shorter than a checkpoint of it"})
	}
	if !differs {
		return nil
	}
	found := Finding{Fault: Inconsistent, Index: -1, Part: "the log is not what a checkpoint signed"}
	err := a.leaves(ctx, func(at int64, leaf []byte) (bool, error) {
		stored, err := a.log.ReadHashes([]int64{tlog.StoredHashIndex(0, at)})
		if err != nil || stored[0] == tlog.RecordHash(leaf) {
			return false, err
		}
		found.Index = at
		return true, nil
	})
	a.found.add(found)
	return err
}

// checkRecords holds each record against the leaf where it claims to be.
func (a *audit) checkRecords(ctx context.Context, records iter.Seq2[Record, error]) error {
	for r, err := range records {
		if err == nil && a.found.Records%blockLeaves == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		a.found.Records++
		own, err := r.Entry()
		if err != nil { // no leaf commits to what cannot be written
			own = Entry{Kind: r.Kind, ID: r.ID, Time: r.Time}
		}
		if r.Index >= 0 && r.Index < a.found.Leaves {
			leaf, err := a.leaf(r.Index)
			if err != nil {
				return err
			}
			if e, err := ParseEntry(leaf); err == nil {
				if part, same := difference(own, e); same {
					a.meet(r.Index, e, part, r.Fields)
					continue
				}
			}
		}
		a.stray(stray{r.Index, own, r.Fields})
	}
	return nil
}

// difference names what differs of a record and a leaf, and reports whether the record is the leaf's at all.
func difference(own, leaf Entry) (part string, same bool) {
	switch {
	case own == leaf:
		return "", true
	case own.ID != leaf.ID:
		own.ID = leaf.ID
		return "id", own == leaf
	case own.Kind != leaf.Kind:
		return "kind", true
	case own.Time != leaf.Time:
		return "time", true
	}
	return "content", true
}

// meet takes a record of a leaf.
func (a *audit) meet(at int64, e Entry, part string, fields []Field) {
	if a.present.has(at) {
		a.found.add(Finding{Fault: Doubled, Index: at, Kind: e.Kind, ID: e.ID})
	}
	a.present.set(at, at)
	if part != "" {
		a.found.add(Finding{Fault: Tampered, Index: at, Kind: e.Kind, ID: e.ID, Part: part})
		return
	}
	if !e.Kind.erases() {
		return
	}
	spans, err := covered(fields, at)
	if err != nil {
		a.found.add(Finding{Fault: Malformed, Index: at, Kind: e.Kind, ID: e.ID})
	}
	for _, s := range spans {
		a.covered.set(s.first, s.last)
	}
}

// stray remembers a record until its own leaf is found.
func (a *audit) stray(s stray) {
	if a.strayCount == MaxFindings {
		a.found.add(Finding{Fault: Unknown, Index: s.index, Kind: s.own.Kind, ID: s.own.ID})
		return
	}
	a.strayCount++
	if !s.own.Kind.erases() {
		s.fields = nil
	}
	for _, f := range s.fields {
		a.strayFields += len(f.Name) + len(f.Value)
	}
	if a.strayFields > maxStrayFields {
		s.fields = nil
	}
	a.strays[s.own.ID] = append(a.strays[s.own.ID], s)
}

// returnStrays finds the own leaves of the strays.
func (a *audit) returnStrays(ctx context.Context) error {
	err := a.leaves(ctx, func(at int64, leaf []byte) (bool, error) {
		e, err := ParseEntry(leaf)
		if err != nil {
			return false, nil //nolint:nilerr // checkLeaves names it
		}
		for _, s := range a.strays[e.ID] {
			a.found.add(Finding{Fault: Reordered, Index: s.index, Belongs: at, Kind: e.Kind, ID: e.ID})
			part, _ := difference(s.own, e)
			a.meet(at, e, part, s.fields)
		}
		delete(a.strays, e.ID)
		return len(a.strays) == 0, nil
	})
	if err != nil {
		return err
	}
	for _, s := range slices.SortedFunc(flatten(a.strays), func(x, y stray) int { return cmp.Compare(x.index, y.index) }) {
		a.found.add(Finding{Fault: Unknown, Index: s.index, Kind: s.own.Kind, ID: s.own.ID})
	}
	return nil
}

func flatten(strays map[ID][]stray) iter.Seq[stray] {
	return func(yield func(stray) bool) {
		for _, list := range strays {
			for _, s := range list {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// checkLeaves finds the leaves that lack a record and those that have one too many.
func (a *audit) checkLeaves(ctx context.Context) error {
	return a.leaves(ctx, func(at int64, leaf []byte) (bool, error) {
		present, gone := a.present.has(at), a.covered.has(at)
		if present && !gone {
			return false, nil
		}
		e, err := ParseEntry(leaf)
		gone = gone && e.Kind.erasable()
		switch {
		case err != nil && at < a.found.Signed: // behind it, a crash may have torn what nobody needs
			a.found.add(Finding{Fault: Inconsistent, Index: at, Part: "not a leaf"})
		case present && gone:
			a.found.add(Finding{Fault: Undeleted, Index: at, Kind: e.Kind, ID: e.ID})
		case !present && !gone && at < a.found.Signed:
			a.found.add(Finding{Fault: Dropped, Index: at, Kind: e.Kind, ID: e.ID})
		}
		return false, nil
	})
}

// bitset is a set of leaves.
type bitset []uint64

func newBits(n int64) bitset { return make(bitset, (n+63)/64) }

func (b bitset) has(at int64) bool { return b[at/64]>>(at%64)&1 == 1 }

// set adds first to last, both included.
func (b bitset) set(first, last int64) {
	for word := first / 64; word <= last/64; word++ {
		mask := ^uint64(0)
		if word == first/64 {
			mask <<= first % 64
		}
		if word == last/64 {
			mask &= ^uint64(0) >> (63 - last%64)
		}
		b[word] |= mask
	}
}

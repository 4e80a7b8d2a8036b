package ledger

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

func TestAnyBatchingGivesTheSameLog(t *testing.T) {
	key, v := testKey(t)
	records, entries := history(t, 60)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, len(entries)).Draw(t, "entries")
		var want frontier
		for _, e := range entries[:n] {
			want.push(want.next(e.appendTo(nil), nil))
		}
		l, err := Open(context.Background(), NewMemoryStore(), key)
		if err != nil {
			t.Fatal(err)
		}
		for done := 0; done < n; {
			// A batch may begin anywhere that was delivered before: a replay.
			from := rapid.IntRange(0, done).Draw(t, "from")
			to := rapid.IntRange(max(from, done), n).Draw(t, "to")
			batch := entries[from:to]
			if rapid.Bool().Draw(t, "doubled") {
				batch = slices.Concat(batch, batch)
			}
			first, err := l.Append(context.Background(), batch)
			if err != nil || first != int64(done) || l.Size() != int64(max(done, to)) {
				t.Fatalf("append %d to %d after %d: first %d, size %d, %v", from, to, done, first, l.Size(), err)
			}
			done = max(done, to)
			if rapid.Bool().Draw(t, "checkpoint") {
				if _, err := l.Checkpoint(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
		}
		c, err := l.Checkpoint(context.Background())
		if err != nil || c.Root() != want.root() || c.Size() != int64(n) {
			t.Fatalf("checkpoint of size %d and root %v, want %d and %v, %v", c.Size(), c.Root(), n, want.root(), err)
		}
		at := rapid.IntRange(0, n-1).Draw(t, "receipt")
		r, err := l.Receipt(records[at])
		if err != nil || r.Index != int64(at) {
			t.Fatalf("receipt of %d: index %d, %v", at, r.Index, err)
		}
		if got, err := VerifyReceipt(r, v); err != nil || got.Size() != int64(n) {
			t.Fatalf("verify: %v", err)
		}
		older := rapid.Int64Range(0, int64(n)).Draw(t, "older")
		proof, err := l.ProveConsistency(older, int64(n))
		if err != nil {
			t.Fatal(err)
		}
		root, err := tlog.TreeHash(older, l)
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyConsistency(Checkpoint{origin: origin, size: older, root: root}, c, proof); err != nil {
			t.Fatalf("size %d to %d: %v", older, n, err)
		}
	})
}

func TestTheFirstEntryOfAnIDStays(t *testing.T) {
	key, _ := testKey(t)
	first, second := consentRecord(1), consentRecord(1)
	second.Salt[0]++
	l := memoryLog(t, key, []Entry{entryOf(t, first), entryOf(t, second)})
	appendAll(t, l, []Entry{entryOf(t, second)})
	if index, e, err := l.Find(first.ID); err != nil || index != 0 || e != entryOf(t, first) || l.Size() != 1 {
		t.Errorf("index %d, size %d, %v", index, l.Size(), err)
	}
	checkpoint(t, l)
	if _, err := l.Receipt(second); !errors.Is(err, ErrUnknown) {
		t.Errorf("a record that the leaf does not commit to: %v", err)
	}
	if _, _, err := l.Find(ID{1}); !errors.Is(err, ErrUnknown) {
		t.Errorf("an id the log does not have: %v", err)
	}
}

func TestIDsOfOneHashAreToldApart(t *testing.T) {
	key, _ := testKey(t)
	_, entries := history(t, 2)
	l := memoryLog(t, key, entries[:1])
	l.ids.put(l.ids.hash(entries[1].ID)<<32 | 1) // as if both ids had the hash of the second
	if _, _, err := l.Find(entries[1].ID); !errors.Is(err, ErrUnknown) {
		t.Errorf("one id is taken for another: %v", err)
	}
	appendAll(t, l, entries)
	if index, _, err := l.Find(entries[1].ID); err != nil || index != 1 || l.Size() != 2 {
		t.Errorf("index %d, size %d, %v", index, l.Size(), err)
	}
}

func TestAReceiptWaitsForACheckpoint(t *testing.T) {
	key, _ := testKey(t)
	records, entries := history(t, 2)
	l := memoryLog(t, key, entries[:1])
	if _, err := l.Receipt(records[0]); !errors.Is(err, ErrPending) {
		t.Errorf("before any: %v", err)
	}
	checkpoint(t, l)
	appendAll(t, l, entries[1:])
	if _, err := l.Receipt(records[0]); err != nil {
		t.Errorf("covered: %v", err)
	}
	if _, err := l.Receipt(records[1]); !errors.Is(err, ErrPending) {
		t.Errorf("after the last: %v", err)
	}
}

func TestALogThatDidNotGrowKeepsItsCheckpoint(t *testing.T) {
	key, _ := testKey(t)
	l := openLog(t, NewMemoryStore(), key)
	empty := checkpoint(t, l)
	if empty.Size() != 0 || empty.Note() == "" || checkpoint(t, l).Note() != empty.Note() {
		t.Errorf("the empty log signs %q", empty.Note())
	}
	_, entries := history(t, 7)
	appendAll(t, l, entries)
	full := checkpoint(t, l)
	if checkpoint(t, l).Note() != full.Note() || l.Signed().Note() != full.Note() || string(l.Note()) != full.Note() {
		t.Error("another checkpoint of the same tree")
	}
	if err := VerifyConsistency(empty, full, nil); err != nil {
		t.Error(err)
	}
}

func TestProofsOutsideTheLogAreRefused(t *testing.T) {
	key, _ := testKey(t)
	_, entries := history(t, 4)
	l := memoryLog(t, key, entries)
	for _, at := range [][2]int64{{-1, 4}, {4, 4}, {0, 5}, {0, 0}} {
		if _, err := l.ProveInclusion(at[0], at[1]); !errors.Is(err, ErrUnknown) {
			t.Errorf("leaf %d of %d: %v", at[0], at[1], err)
		}
	}
	for _, at := range [][2]int64{{-1, 4}, {3, 2}, {1, 5}} {
		if _, err := l.ProveConsistency(at[0], at[1]); err == nil {
			t.Errorf("size %d to %d is proved", at[0], at[1])
		}
	}
	if err := l.ReadLeaves(3, make([]byte, 2*EntrySize)); err == nil {
		t.Error("leaves beyond the log are read")
	}
}

func TestTwoCheckpointsShowAFork(t *testing.T) {
	key, _ := testKey(t)
	_, entries := history(t, 20)
	told := memoryLog(t, key, entries)
	lie := slices.Clone(entries)
	lie[11].Time++
	other := memoryLog(t, key, lie[:15])
	a, b := checkpoint(t, told), checkpoint(t, other)
	for _, l := range []*Log{told, other} {
		proof, err := l.ProveConsistency(b.Size(), min(a.Size(), l.Size()))
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyConsistency(b, a, proof); !errors.Is(err, ErrUnproven) {
			t.Errorf("different sizes: %v", err)
		}
	}
	appendAll(t, other, lie[15:])
	if err := VerifyConsistency(checkpoint(t, other), a, nil); !errors.Is(err, ErrForked) {
		t.Errorf("the same size: %v", err)
	}
	if err := VerifyConsistency(a, b, nil); err == nil {
		t.Error("the larger tree is the older one")
	}
	if err := VerifyConsistency(Checkpoint{origin: "other.example"}, a, nil); err == nil {
		t.Error("two logs are one")
	}
}

func TestEveryBitOfAConsistencyProofCounts(t *testing.T) {
	key, _ := testKey(t)
	_, entries := history(t, 13)
	l := memoryLog(t, key, entries[:6])
	older := checkpoint(t, l)
	appendAll(t, l, entries[6:])
	newer := checkpoint(t, l)
	proof, err := l.ProveConsistency(6, 13)
	if err != nil || VerifyConsistency(older, newer, proof) != nil {
		t.Fatalf("the proof does not hold: %v", err)
	}
	for i := range proof {
		for bit := range tlog.HashSize * 8 {
			proof[i][bit/8] ^= 1 << (bit % 8)
			if err := VerifyConsistency(older, newer, proof); !errors.Is(err, ErrUnproven) {
				t.Fatalf("hash %d bit %d: %v", i, bit, err)
			}
			proof[i][bit/8] ^= 1 << (bit % 8)
		}
		if err := VerifyConsistency(older, newer, slices.Delete(slices.Clone(proof), i, i+1)); !errors.Is(err, ErrUnproven) {
			t.Fatalf("without hash %d: %v", i, err)
		}
	}
	if err := VerifyConsistency(newer, newer, proof); !errors.Is(err, ErrUnproven) {
		t.Errorf("a proof of nothing: %v", err)
	}
}

// storeOf is a store over what was on disk.
func storeOf(leaves, hashes, note []byte) *Store {
	s := &Store{leaves: &memory{b: bytes.Clone(leaves)}, hashes: &memory{b: bytes.Clone(hashes)}, note: note}
	s.size.Store(wholeLeaves(int64(len(leaves)), int64(len(hashes))))
	return s
}

// contents are the files of a memory store.
func contents(s *Store) (leaves, hashes, note []byte) {
	return s.leaves.(*memory).b, s.hashes.(*memory).b, s.note
}

func TestACrashAtAnyByteLeavesAPrefixThatGoesOn(t *testing.T) {
	key, _ := testKey(t)
	_, entries := history(t, 21)
	const signed = 9
	l := memoryLog(t, key, entries[:signed])
	checkpoint(t, l)
	appendAll(t, l, entries[signed:])
	leaves, hashes, note := contents(l.store)
	want := l.tree.root()
	reopen := func(leaves, hashes []byte) {
		t.Helper()
		s := storeOf(leaves, hashes, note)
		back := openLog(t, s, key)
		size := back.Size()
		if size < signed || size > int64(len(entries)) {
			t.Fatalf("size %d", size)
		}
		if kept, keptHashes, _ := contents(s); !bytes.Equal(kept, l.store.leaves.(*memory).b[:size*int64(EntrySize)]) ||
			int64(len(keptHashes)) != tlog.StoredHashCount(size)*hashSize {
			t.Fatalf("size %d is no prefix", size)
		}
		if first, err := back.Append(t.Context(), entries[:size]); err != nil || first != size || back.Size() != size {
			t.Fatalf("replay: first %d, size %d, %v", first, back.Size(), err)
		}
		appendAll(t, back, entries)
		if c := checkpoint(t, back); c.Root() != want {
			t.Fatalf("after size %d another tree", size)
		}
	}
	fills := map[string]func(n int) []byte{
		"cut": func(int) []byte { return nil }, "zeros": func(n int) []byte { return make([]byte, n) },
		"garbage": func(n int) []byte { return bytes.Repeat([]byte{entryVersion}, n) },
	}
	for name, fill := range fills {
		t.Run(name, func(t *testing.T) {
			for at := signed * EntrySize; at <= len(leaves); at++ {
				reopen(slices.Concat(leaves[:at], fill(len(leaves)-at)), hashes)
			}
			for at := tlog.StoredHashCount(signed) * hashSize; at <= int64(len(hashes)); at++ {
				reopen(leaves, slices.Concat(hashes[:at], fill(len(hashes)-int(at))))
			}
		})
	}
}

// crashing is a file whose unsynced bytes a crash may keep, cut, or leave holes in.
type crashing struct {
	memory
	durable int
}

func (c *crashing) Sync() error {
	c.durable = len(c.b)
	return nil
}

func (c *crashing) Truncate(size int64) error {
	c.durable = min(c.durable, int(size))
	return c.memory.Truncate(size)
}

func (c *crashing) crash(t *rapid.T) {
	loose := c.b[c.durable:]
	if len(loose) == 0 {
		return
	}
	for range rapid.IntRange(0, 2).Draw(t, "holes") {
		from := rapid.IntRange(0, len(loose)-1).Draw(t, "hole")
		clear(loose[from:min(len(loose), from+rapid.IntRange(1, 100).Draw(t, "length"))])
	}
	c.b = c.b[:c.durable+rapid.IntRange(0, len(loose)).Draw(t, "kept")]
	if rapid.Bool().Draw(t, "lengthened") { // a file system may write the length before the bytes
		c.b = append(c.b, make([]byte, rapid.IntRange(1, 150).Draw(t, "zeros"))...)
	}
}

func TestNoSequenceOfCrashesChangesTheLog(t *testing.T) {
	key, _ := testKey(t)
	_, entries := history(t, 80)
	rapid.Check(t, func(t *rapid.T) {
		leaves, hashes := &crashing{}, &crashing{}
		s := &Store{leaves: leaves, hashes: hashes}
		l, err := Open(context.Background(), s, key)
		if err != nil {
			t.Fatal(err)
		}
		var last Checkpoint
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				from := rapid.IntRange(0, int(l.Size())).Draw(t, "from")
				to := rapid.IntRange(from, len(entries)).Draw(t, "to")
				if _, err := l.Append(context.Background(), entries[from:to]); err != nil {
					t.Fatal(err)
				}
			case 1:
				c, err := l.Checkpoint(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				proof, err := l.ProveConsistency(last.Size(), c.Size())
				if err != nil {
					t.Fatal(err)
				}
				if last.Note() != "" && VerifyConsistency(last, c, proof) != nil {
					t.Fatal("two checkpoints do not agree")
				}
				last = c
			case 2:
				leaves.crash(t)
				hashes.crash(t)
				s = &Store{leaves: leaves, hashes: hashes, note: s.note}
				s.size.Store(wholeLeaves(int64(len(leaves.b)), int64(len(hashes.b))))
				if l, err = Open(context.Background(), s, key); err != nil {
					t.Fatal(err)
				}
				if l.Size() < last.Size() {
					t.Fatalf("size %d after a checkpoint of %d", l.Size(), last.Size())
				}
			}
		}
		if _, err := l.Append(context.Background(), entries); err != nil {
			t.Fatal(err)
		}
		var want frontier
		for _, e := range entries {
			want.push(want.next(e.appendTo(nil), nil))
		}
		if c, err := l.Checkpoint(context.Background()); err != nil || c.Root() != want.root() {
			t.Fatalf("another tree, %v", err)
		}
	})
}

func TestALostLogIsRebuiltAndNeverForked(t *testing.T) {
	key, _ := testKey(t)
	records, entries := history(t, 12)
	l := memoryLog(t, key, entries)
	c := checkpoint(t, l)

	back := openLog(t, storeOf(nil, nil, []byte(c.Note())), key)
	appendAll(t, back, entries[:5])
	if _, err := back.Checkpoint(t.Context()); !errors.Is(err, ErrBehind) {
		t.Errorf("a checkpoint of less than was signed: %v", err)
	}
	if _, err := back.Receipt(records[1]); err == nil {
		t.Error("a receipt before the log has caught up")
	}
	lie := slices.Clone(entries[5:])
	lie[3].Commitment[0] ^= 1
	if _, err := back.Append(t.Context(), lie); !errors.Is(err, ErrDiverged) || back.Size() != 5 {
		t.Errorf("other entries than were signed: %v, size %d", err, back.Size())
	}
	appendAll(t, back, entries[5:])
	if again := checkpoint(t, back); again.Note() != c.Note() {
		t.Error("the rebuilt log has another checkpoint")
	}
	if _, err := back.Receipt(records[1]); err != nil {
		t.Errorf("after it has caught up: %v", err)
	}
}

func TestFilesThatAreNotWhatWasSignedAreRefused(t *testing.T) {
	key, _ := testKey(t)
	_, entries := history(t, 10)
	l := memoryLog(t, key, entries)
	c := checkpoint(t, l)
	leaves, hashes, note := contents(l.store)

	for at := range leaves {
		changed := bytes.Clone(leaves)
		changed[at] ^= 0x10
		if _, err := Open(t.Context(), storeOf(changed, hashes, note), key); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d of the leaves: %v", at, err)
		}
	}
	for at := range hashes {
		changed := bytes.Clone(hashes)
		changed[at] ^= 0x10
		if _, err := Open(t.Context(), storeOf(leaves, changed, note), key); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d of the hashes: %v", at, err)
		}
	}
	lie := slices.Clone(entries)
	lie[4], lie[5] = lie[5], lie[4]
	otherLeaves, otherHashes, _ := contents(memoryLog(t, key, lie).store)
	if _, err := Open(t.Context(), storeOf(otherLeaves, otherHashes, note), key); !errors.Is(err, ErrDiverged) {
		t.Errorf("another log under the checkpoint: %v", err)
	}
	stranger, _ := testKey(t)
	if _, err := Open(t.Context(), storeOf(leaves, hashes, note), stranger); err == nil {
		t.Error("a checkpoint of another key is accepted")
	}
	rotated, err := Open(t.Context(), storeOf(leaves, hashes, note), stranger, key.Public())
	if err != nil {
		t.Fatalf("a key that replaced the old one: %v", err)
	}
	appendAll(t, rotated, []Entry{entryOf(t, consentRecord(99))})
	newer := checkpoint(t, rotated)
	proof, err := rotated.ProveConsistency(c.Size(), newer.Size())
	if err != nil || VerifyConsistency(c, newer, proof) != nil {
		t.Errorf("the log does not go on under its new key: %v", err)
	}
}

func TestATreeThatIsNoExtensionIsNotSigned(t *testing.T) {
	key, _ := testKey(t)
	_, entries := history(t, 8)
	l := memoryLog(t, key, entries[:6])
	checkpoint(t, l)
	appendAll(t, l, entries[6:])
	l.signed.root[0] ^= 1 // as if the tree in memory had gone astray
	if _, err := l.Checkpoint(t.Context()); !errors.Is(err, ErrDiverged) {
		t.Errorf("larger: %v", err)
	}
	l.signed.size = 8
	if _, err := l.Checkpoint(t.Context()); !errors.Is(err, ErrDiverged) {
		t.Errorf("of the same size: %v", err)
	}
}

// failing is a file that fails on demand, after it has written half.
type failing struct {
	memory
	write, sync, truncate error
}

func (f *failing) WriteAt(b []byte, at int64) (int, error) {
	if f.write != nil {
		n, _ := f.memory.WriteAt(b[:len(b)/2], at)
		return n, f.write
	}
	return f.memory.WriteAt(b, at)
}

func (f *failing) Sync() error { return f.sync }

func (f *failing) Truncate(size int64) error {
	if f.truncate != nil {
		return f.truncate
	}
	return f.memory.Truncate(size)
}

func TestAFullDiskLosesNothing(t *testing.T) {
	key, _ := testKey(t)
	_, entries := history(t, 9)
	full := errors.New("no space")
	for name, pick := range map[string]func(leaves, hashes *failing) *failing{
		"leaves": func(f, _ *failing) *failing { return f }, "hashes": func(_, f *failing) *failing { return f },
	} {
		t.Run(name, func(t *testing.T) {
			leaves, hashes := &failing{}, &failing{}
			bad := pick(leaves, hashes)
			l := openLog(t, &Store{leaves: leaves, hashes: hashes}, key)
			appendAll(t, l, entries[:4])
			bad.write = full
			if _, err := l.Append(t.Context(), entries[4:]); !errors.Is(err, full) || l.Size() != 4 {
				t.Fatalf("size %d, %v", l.Size(), err)
			}
			bad.write = nil
			appendAll(t, l, entries[4:])
			if c := checkpoint(t, l); c.Root() != checkpoint(t, memoryLog(t, key, entries)).Root() {
				t.Error("another tree")
			}
			bad.sync = errors.New("fsync failed")
			appendAll(t, l, []Entry{entryOf(t, consentRecord(50))})
			if _, err := l.Checkpoint(t.Context()); !errors.Is(err, bad.sync) {
				t.Errorf("signed what may not be on disk: %v", err)
			}
			failed := bad.sync
			bad.sync = nil
			if _, err := l.Checkpoint(t.Context()); !errors.Is(err, failed) {
				t.Errorf("a second fsync is believed: %v", err)
			}
		})
	}
}

func TestAWriteThatCannotBeTakenBackEndsTheLog(t *testing.T) {
	key, _ := testKey(t)
	_, entries := history(t, 3)
	leaves := &failing{}
	l := openLog(t, &Store{leaves: leaves, hashes: &memory{}}, key)
	leaves.write, leaves.truncate = errors.New("no space"), errors.New("no device")
	if _, err := l.Append(t.Context(), entries); err == nil {
		t.Fatal("appended")
	}
	broken := leaves.truncate
	leaves.write, leaves.truncate = nil, nil
	if _, err := l.Append(t.Context(), entries); !errors.Is(err, broken) {
		t.Errorf("it goes on: %v", err)
	}
}

func TestADirectoryHasOneWriter(t *testing.T) {
	key, v := testKey(t)
	dir := filepath.Join(t.TempDir(), "ledger")
	if _, err := ReadStore(dir); err == nil {
		t.Error("a ledger that is not there is read")
	}
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(dir); !errors.Is(err, ErrLocked) {
		t.Errorf("a second writer: %v", err)
	}
	records, entries := history(t, 30)
	l := openLog(t, s, key)
	appendAll(t, l, entries[:20])
	c := checkpoint(t, l)
	appendAll(t, l, entries[20:])

	read, err := ReadStore(dir)
	if err != nil || read.Size() != 30 || string(read.Note()) != c.Note() {
		t.Fatalf("a reader sees size %d, %v", read.Size(), err)
	}
	if _, err := Open(t.Context(), read, key); err == nil {
		t.Error("a reader may write")
	}
	if found, err := Verify(t.Context(), read, each(records), v); err != nil || !found.OK() {
		t.Errorf("a reader finds %v, %v", found.List, err)
	}
	if err := errors.Join(read.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), []Entry{entryOf(t, consentRecord(77))}); err == nil {
		t.Error("a closed log takes entries")
	}

	// A crash while a checkpoint was written leaves its new file behind, one while leaves were written a torn leaf.
	if err := os.WriteFile(filepath.Join(dir, "checkpoint.new"), []byte("sekisho.exam"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "leaves"), 31*int64(EntrySize)-1); err != nil {
		t.Fatal(err)
	}
	if s, err = OpenStore(dir); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, s, key)
	if l.Size() != 30 || l.Signed().Note() != c.Note() {
		t.Errorf("size %d after reopening", l.Size())
	}
	appendAll(t, l, []Entry{entryOf(t, consentRecord(30))})
	if err := l.Sync(); err != nil {
		t.Error(err)
	}
	if c = checkpoint(t, l); c.Size() != 31 {
		t.Errorf("signed size %d", c.Size())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if note, err := os.ReadFile(filepath.Join(dir, "checkpoint")); err != nil || string(note) != c.Note() {
		t.Errorf("on disk: %q, %v", note, err)
	}
}

func TestACheckpointThatCannotBeKeptIsNotGivenOut(t *testing.T) {
	key, _ := testKey(t)
	dir := t.TempDir()
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	l := openLog(t, s, key)
	_, entries := history(t, 4)
	appendAll(t, l, entries[:2])
	c := checkpoint(t, l)
	appendAll(t, l, entries[2:])
	inTheWay := filepath.Join(dir, "checkpoint.new")
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Checkpoint(t.Context()); err == nil || got.Note() != "" || l.Signed().Note() != c.Note() {
		t.Errorf("given out: %+v, %v", got, err)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if checkpoint(t, l).Size() != 4 {
		t.Error("it is not signed afterwards")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReadersAndWritersDoNotDisturbEachOther(t *testing.T) {
	key, v := testKey(t)
	records, entries := history(t, 400)
	s, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := openLog(t, s, key)
	appendAll(t, l, entries[:10])
	checkpoint(t, l)
	var wg sync.WaitGroup
	done := make(chan struct{})
	for w := range 3 {
		wg.Go(func() {
			for i := w; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				r, err := l.Receipt(records[i%len(records)])
				if errors.Is(err, ErrPending) || errors.Is(err, ErrUnknown) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := VerifyReceipt(r, v); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for at := 10; at < len(entries); at += 10 {
		appendAll(t, l, entries[at-10:at+10])
		if at%50 == 0 {
			checkpoint(t, l)
		}
	}
	close(done)
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestADoneContextStopsWork(t *testing.T) {
	key, _ := testKey(t)
	_, entries := history(t, 2)
	l := memoryLog(t, key, entries)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, open := Open(ctx, l.store, key)
	_, appended := l.Append(ctx, entries)
	_, signed := l.Checkpoint(ctx)
	for i, err := range []error{open, appended, signed} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("call %s: %v", strconv.Itoa(i), err)
		}
	}
}

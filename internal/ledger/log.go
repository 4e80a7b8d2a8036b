package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// What a log can refuse with.
var (
	// ErrDiverged means that the entries do not lead to a root that was signed before. Nothing is signed then: either
	// the files or the source of the entries were changed. An operator compares them with Verify.
	ErrDiverged = errors.New("the log is no extension of what it signed")
	// ErrBehind means that the log holds less than it signed: it is being rebuilt from its source and answers nothing
	// before it has caught up.
	ErrBehind = errors.New("the log has not caught up with what it signed")
	// ErrCorrupt means that signed leaves on disk are not what they were. Without the files leaves and hashes, and with
	// the checkpoint, the log is rebuilt from its source.
	ErrCorrupt = errors.New("the files of the log are damaged")
	// ErrPending means that no checkpoint covers the leaf yet.
	ErrPending = errors.New("no checkpoint covers the leaf yet")
	// ErrUnknown means that the log has no such leaf.
	ErrUnknown = errors.New("the log has no such leaf")
)

// Log is the one writer of a ledger. It is safe for concurrent use; entries lie in the order of the calls.
type Log struct {
	store  *Store
	key    Key
	verify Verifier

	// writing serialises Append and Checkpoint, whose disk writes keep no reader waiting.
	writing sync.Mutex
	tree    frontier

	mu     sync.RWMutex // guards what follows, and is never held over a write to disk
	ids    *ids
	size   int64
	signed Checkpoint
}

// blockLeaves is how many leaves are read at a time.
const blockLeaves = 4096

// Open recovers the log of a store: it cuts a torn tail off and checks every leaf against its hashes, and the tree
// against the last signed checkpoint. retired are the verifier keys that the key replaced.
func Open(ctx context.Context, store *Store, key Key, retired ...string) (*Log, error) {
	if key.signer == nil {
		return nil, errors.New("open log: no signing key")
	}
	if store.lock == nil && store.dir != "" {
		return nil, errors.New("open log: the store is open for reading only")
	}
	v, err := NewVerifier(append([]string{key.Public()}, retired...)...)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &Log{store: store, key: key, verify: v, ids: newIDs(store.Size())}
	if note := store.Note(); note != nil {
		if l.signed, err = OpenCheckpoint(note, v); err != nil {
			return nil, fmt.Errorf("open log: %w", err)
		}
	}
	if err := l.recover(ctx); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return l, nil
}

// recover reads the leaves from the first on. One that its hashes do not confirm ends the log, when nothing signed is
// lost by it.
func (l *Log) recover(ctx context.Context) error {
	size := l.store.Size()
	buf := make([]byte, blockLeaves*EntrySize)
	hashBuf := make([]byte, tlog.StoredHashCount(blockLeaves)*hashSize+64*hashSize)
	var hashes []tlog.Hash
	for l.size < size {
		if err := ctx.Err(); err != nil {
			return err
		}
		leaves := buf[:min(blockLeaves, size-l.size)*int64(EntrySize)]
		if err := l.store.ReadLeaves(l.size, leaves); err != nil {
			return err
		}
		from := tlog.StoredHashCount(l.size)
		stored := hashBuf[:(tlog.StoredHashCount(l.size+int64(len(leaves)/EntrySize))-from)*hashSize]
		if _, err := l.store.hashes.ReadAt(stored, from*hashSize); err != nil {
			return fmt.Errorf("read hashes: %w", err)
		}
		for ; len(leaves) > 0; leaves = leaves[EntrySize:] {
			e, err := ParseEntry(leaves[:EntrySize])
			hashes = l.tree.next(leaves[:EntrySize], hashes[:0])
			if err != nil || !confirm(stored, hashes) {
				return l.cut(size)
			}
			stored = stored[len(hashes)*int(hashSize):]
			l.tree.push(hashes)
			l.ids.add(e.ID, l.size)
			l.size++
			if l.size == l.signed.size && l.tree.root() != l.signed.root {
				return ErrDiverged
			}
		}
	}
	return l.cut(size)
}

// confirm reports whether stored begins with the hashes.
func confirm(stored []byte, hashes []tlog.Hash) bool {
	for i, h := range hashes {
		if tlog.Hash(stored[i*int(hashSize):][:hashSize]) != h {
			return false
		}
	}
	return true
}

// cut ends the log after the leaves that were found good, of size that are there.
func (l *Log) cut(size int64) error {
	if l.size < l.signed.size && size >= l.signed.size {
		return fmt.Errorf("%w: leaf %d", ErrCorrupt, l.size)
	}
	return errors.Join(l.store.truncate(l.size), l.store.sync())
}

// Append adds the entries in their order, all or none, except those whose id the log has: the first entry of an id
// stays. It returns the size before, which is the index of the first entry added. Added entries are durable after the
// next Checkpoint or Sync; a crash before may lose the last of them, and the source delivers them again.
func (l *Log) Append(ctx context.Context, entries []Entry) (first int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	tree, first := l.tree, l.tree.size
	var (
		leaves    = make([]byte, 0, len(entries)*EntrySize)
		hashBytes = make([]byte, 0, len(entries)*2*int(hashSize)) // two a leaf on the average
		hashes    []tlog.Hash
		fresh     []ID
		batch     = make(map[ID]struct{}, len(entries))
	)
	for i := range entries {
		e := &entries[i]
		if err := e.check(); err != nil {
			return 0, fmt.Errorf("append to log: entry %d: %w", i, err)
		}
		if _, ok := batch[e.ID]; ok {
			continue
		}
		if _, _, seen, err := l.find(e.ID); err != nil {
			return 0, fmt.Errorf("append to log: %w", err)
		} else if seen {
			continue
		}
		if tree.size >= maxLeaves {
			return 0, errors.New("append to log: it is full")
		}
		batch[e.ID] = struct{}{}
		fresh = append(fresh, e.ID)
		leaves = e.appendTo(leaves)
		hashes = tree.next(leaves[len(leaves)-EntrySize:], hashes[:0])
		tree.push(hashes)
		for i := range hashes {
			hashBytes = append(hashBytes, hashes[i][:]...)
		}
		if tree.size == l.signed.size && tree.root() != l.signed.root {
			return 0, fmt.Errorf("append to log: %w", ErrDiverged)
		}
	}
	if len(fresh) == 0 {
		return first, nil
	}
	if err := l.store.append(int64(len(fresh)), leaves, hashBytes); err != nil {
		return 0, fmt.Errorf("append to log: %w", err)
	}
	l.tree = tree
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, id := range fresh {
		l.ids.add(id, first+int64(i))
	}
	l.size = tree.size
	return first, nil
}

// find looks an id up. It needs mu or writing.
func (l *Log) find(id ID) (index int64, e Entry, ok bool, err error) {
	for at := range l.ids.candidates(id) {
		var leaf [EntrySize]byte
		if err := l.store.ReadLeaves(at, leaf[:]); err != nil {
			return 0, Entry{}, false, err
		}
		e, err := ParseEntry(leaf[:])
		if err != nil {
			return 0, Entry{}, false, fmt.Errorf("%w: leaf %d", ErrCorrupt, at)
		}
		if e.ID == id {
			return at, e, true, nil
		}
	}
	return 0, Entry{}, false, nil
}

// Find returns the index and the entry of an id, ErrUnknown when the log has none.
func (l *Log) Find(id ID) (index int64, e Entry, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	index, e, ok, err := l.find(id)
	if err == nil && !ok {
		err = ErrUnknown
	}
	if err != nil {
		return 0, Entry{}, fmt.Errorf("find entry: %w", err)
	}
	return index, e, nil
}

// Size is the number of leaves.
func (l *Log) Size() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.size
}

// Signed is the last checkpoint; of size 0 and without a note when none was signed.
func (l *Log) Signed() Checkpoint {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.signed
}

// Sync returns when every entry appended before is on disk.
func (l *Log) Sync() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.store.sync(); err != nil {
		return fmt.Errorf("sync log: %w", err)
	}
	return nil
}

// Checkpoint signs the tree as it is, after everything in it is on disk, and returns when the checkpoint is as well. A
// log that did not grow has the checkpoint it had. A tree that is no extension of the last signed one is refused.
func (l *Log) Checkpoint(ctx context.Context) (Checkpoint, error) {
	if err := ctx.Err(); err != nil {
		return Checkpoint{}, err
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	last, size, root := l.signed, l.tree.size, l.tree.root() // signed changes under writing only
	if size < last.size {
		return Checkpoint{}, fmt.Errorf("sign checkpoint: %w", ErrBehind)
	}
	if last.note != "" && size == last.size && root == last.root {
		return last, nil
	}
	if err := l.store.sync(); err != nil {
		return Checkpoint{}, fmt.Errorf("sync log: %w", err)
	}
	next, err := l.extend(last, size, root)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign checkpoint: %w", err)
	}
	if err := l.store.keep([]byte(next.note)); err != nil {
		return Checkpoint{}, fmt.Errorf("keep checkpoint: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signed = next
	return next, nil
}

// extend signs a tree that the stored hashes prove to be an extension of the last signed one.
func (l *Log) extend(last Checkpoint, size int64, root tlog.Hash) (Checkpoint, error) {
	if last.size > 0 {
		proof, err := tlog.ProveTree(size, last.size, l.store)
		if err != nil {
			return Checkpoint{}, err
		}
		if tlog.CheckTree(proof, size, root, last.size, last.root) != nil {
			return Checkpoint{}, ErrDiverged
		}
	}
	signed, err := l.key.sign(size, root)
	if err != nil {
		return Checkpoint{}, err
	}
	return OpenCheckpoint(signed, l.verify)
}

// ProveConsistency proves that the tree of size older is the beginning of the tree of size newer (RFC 6962 section
// 2.1.2), for VerifyConsistency.
func (l *Log) ProveConsistency(older, newer int64) ([]tlog.Hash, error) {
	switch size := l.Size(); {
	case older < 0 || older > newer:
		return nil, errors.New("prove consistency: not an older and a newer size")
	case newer > size:
		return nil, fmt.Errorf("prove consistency: %w", ErrUnknown)
	case older == 0 || older == newer:
		return []tlog.Hash{}, nil
	}
	proof, err := tlog.ProveTree(newer, older, l.store)
	if err != nil {
		return nil, fmt.Errorf("prove consistency: %w", err)
	}
	return proof, nil
}

// ProveInclusion proves that the tree of a size holds the leaf of an index (RFC 6962 section 2.1.1).
func (l *Log) ProveInclusion(index, size int64) ([]tlog.Hash, error) {
	if index < 0 || index >= size || size > l.Size() {
		return nil, fmt.Errorf("prove inclusion: %w", ErrUnknown)
	}
	proof, err := tlog.ProveRecord(size, index, l.store)
	if err != nil {
		return nil, fmt.Errorf("prove inclusion: %w", err)
	}
	return proof, nil
}

// ReadLeaves fills b, whole leaves, from a leaf on.
func (l *Log) ReadLeaves(first int64, b []byte) error { return l.store.ReadLeaves(first, b) }

// ReadHashes implements tlog.HashReader.
func (l *Log) ReadHashes(indexes []int64) ([]tlog.Hash, error) { return l.store.ReadHashes(indexes) }

// Note is the last checkpoint, a signed note; nil when none was signed.
func (l *Log) Note() []byte {
	if note := l.Signed().note; note != "" {
		return []byte(note)
	}
	return nil
}

// Close syncs and lets go of the store.
func (l *Log) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := errors.Join(l.store.sync(), l.store.Close()); err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}

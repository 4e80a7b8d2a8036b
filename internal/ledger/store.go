package ledger

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"
)

// ErrLocked means that another process holds the directory.
var ErrLocked = errors.New("another process holds the ledger")

// Store keeps a log's leaves, its hashes and its last checkpoint, in a directory or in memory:
//
//	leaves      leaves of EntrySize bytes, one after the other
//	hashes      hashes of 32 bytes in the order of tlog.StoredHashIndex; those of a leaf are its checksum, too
//	checkpoint  the last signed note, replaced as a whole
//	lock        held by the one process that may write
//
// Both files only grow. What follows the last whole leaf that its hashes confirm was torn by a crash; Open cuts it off.
type Store struct {
	leaves, hashes file
	size           atomic.Int64 // leaves that are written with their hashes
	note           []byte
	dir            string   // "" in memory
	lock           *os.File // nil when only read
	broken         error    // only a restart helps
}

// file is what the store needs of *os.File.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
}

const hashSize = int64(tlog.HashSize)

// NewMemoryStore makes a store that is gone with the process.
func NewMemoryStore() *Store { return &Store{leaves: &memory{}, hashes: &memory{}} }

// OpenStore opens or makes the store in a directory for one writing process; ErrLocked when there is one.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make ledger: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock ledger: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("lock ledger: %w", errors.Join(err, lock.Close()))
	}
	s := &Store{dir: dir, lock: lock}
	if err := errors.Join(s.open(os.O_CREATE|os.O_RDWR), syncDir(dir)); err != nil {
		return nil, fmt.Errorf("open ledger: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

// ReadStore opens the store in a directory to audit it while its process goes on writing. It sees what is there now.
func ReadStore(dir string) (*Store, error) {
	s := &Store{dir: dir}
	if err := s.open(os.O_RDONLY); err != nil {
		return nil, fmt.Errorf("open ledger: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

func (s *Store) open(flag int) error {
	// The checkpoint first: whatever it covers is in the files by then.
	note, err := os.ReadFile(filepath.Join(s.dir, "checkpoint"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.note = note
	leaves, leafBytes, err := openFile(filepath.Join(s.dir, "leaves"), flag)
	if err != nil {
		return err
	}
	s.leaves = leaves
	hashes, hashBytes, err := openFile(filepath.Join(s.dir, "hashes"), flag)
	if err != nil {
		return err
	}
	s.hashes = hashes
	s.size.Store(wholeLeaves(leafBytes, hashBytes))
	return nil
}

func openFile(path string, flag int) (*os.File, int64, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// wholeLeaves is how many leaves are there with all of their hashes.
func wholeLeaves(leafBytes, hashBytes int64) int64 {
	n := min(leafBytes/int64(EntrySize), hashBytes/hashSize)
	return int64(sort.Search(int(n), func(i int) bool { return tlog.StoredHashCount(int64(i)+1)*hashSize > hashBytes }))
}

// Close lets go of the files and of the lock.
func (s *Store) Close() error {
	var errs []error
	for _, f := range []file{s.leaves, s.hashes} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	s.broken = errors.New("the store is closed")
	return errors.Join(errs...)
}

// Size is the number of leaves.
func (s *Store) Size() int64 { return s.size.Load() }

// ReadLeaves fills b, whole leaves, from a leaf on.
func (s *Store) ReadLeaves(first int64, b []byte) error {
	if first < 0 || len(b)%EntrySize != 0 || first > s.Size()-int64(len(b)/EntrySize) {
		return errors.New("read leaves: beyond the log")
	}
	if _, err := s.leaves.ReadAt(b, first*int64(EntrySize)); err != nil {
		return fmt.Errorf("read leaves: %w", err)
	}
	return nil
}

// ReadHashes implements tlog.HashReader.
func (s *Store) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes, stored := make([]tlog.Hash, len(indexes)), tlog.StoredHashCount(s.Size())
	for i, at := range indexes {
		if at < 0 || at >= stored {
			return nil, errors.New("read hashes: beyond the log")
		}
		if _, err := s.hashes.ReadAt(hashes[i][:], at*hashSize); err != nil {
			return nil, fmt.Errorf("read hashes: %w", err)
		}
	}
	return hashes, nil
}

// append writes count leaves and their hashes after what is there, all or none. They are not durable before sync.
func (s *Store) append(count int64, leaves, hashes []byte) error {
	if s.broken != nil {
		return s.broken
	}
	size := s.Size()
	_, err := s.leaves.WriteAt(leaves, size*int64(EntrySize))
	if err == nil {
		_, err = s.hashes.WriteAt(hashes, tlog.StoredHashCount(size)*hashSize)
	}
	if err != nil {
		// What was written in part MUST NOT be taken for leaves after a restart.
		s.broken = s.truncate(size)
		return errors.Join(err, s.broken)
	}
	s.size.Store(size + count)
	return nil
}

// truncate cuts off everything after size leaves.
func (s *Store) truncate(size int64) error {
	s.size.Store(size)
	return errors.Join(s.leaves.Truncate(size*int64(EntrySize)), s.hashes.Truncate(tlog.StoredHashCount(size)*hashSize))
}

// sync returns when everything appended is on disk. A failed fsync says nothing about what is there: only a restart
// helps.
func (s *Store) sync() error {
	if s.broken == nil {
		s.broken = errors.Join(s.leaves.Sync(), s.hashes.Sync())
	}
	return s.broken
}

// Note is the last checkpoint, a signed note; nil when none was signed.
func (s *Store) Note() []byte { return s.note }

// keep replaces the checkpoint and returns when it is on disk.
func (s *Store) keep(signed []byte) error {
	if s.dir == "" {
		s.note = signed
		return nil
	}
	path := filepath.Join(s.dir, "checkpoint")
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(signed)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(path+".new", path), syncDir(s.dir)); err != nil {
		return err
	}
	s.note = signed
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// memory is a file in memory.
type memory struct {
	mu sync.RWMutex
	b  []byte
}

func (m *memory) ReadAt(b []byte, at int64) (int, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if at > int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(b, m.b[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) WriteAt(b []byte, at int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := copy(m.b[at:], b)
	m.b = append(m.b, b[n:]...)
	return len(b), nil
}

func (m *memory) Truncate(size int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.b = m.b[:min(size, int64(len(m.b)))]
	return nil
}

func (m *memory) Sync() error  { return nil }
func (m *memory) Close() error { return nil }

// Package spool keeps sealed events on disk while the broker is away: an append-only log in segment files.
//
// Append MUST NOT return nil before the records are fsynced. Records leave in the order they came, by Peek and
// Advance; they are at least once, since a crash forgets how far a segment was drained. A record torn by a crash is
// cut off: it was never acknowledged.
package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Errors of Append. Both mean that nothing was kept.
var (
	ErrFull   = errors.New("spool is full")
	ErrClosed = errors.New("spool is closed")
)

// Record is one sealed event and the partition it belongs to.
type Record struct {
	Partition int32
	Value     []byte
}

const (
	// A record is its length, its checksum (CRC-32C of partition and value), its partition and its value.
	headerBytes = 12
	// maxRecord bounds a value, so that a broken length is not believed.
	maxRecord = 4 << 20
	// DefaultSegmentBytes is how much a crash may send twice.
	DefaultSegmentBytes = 8 << 20
	suffix              = ".spool"
)

var table = crc32.MakeTable(crc32.Castagnoli)

// segment is one file. All but the last are complete.
type segment struct {
	number uint64
	bytes  int64
}

// Spool is safe for concurrent use; Peek and Advance belong to one drainer.
type Spool struct {
	dir      string
	limit    int64
	segLimit int64
	added    chan struct{} // holds a token when records may wait

	// syncing is taken before mu: it covers fsync of the open segment, so that nobody closes it meanwhile.
	syncing sync.Mutex

	mu       sync.Mutex
	segments []segment
	file     *os.File // the last segment, open for appending; nil when there is none
	bytes    int64    // of all segments
	readAt   int64    // drained up to here in the first segment
	pending  int      // records that are not drained
	written  uint64   // records ever appended
	synced   uint64   // of them fsynced
	drained  uint64   // of them drained: the broker has them, so they need no fsync
	broken   error    // a failed fsync says nothing about what is on disk: only a restart helps
	closed   bool
}

// Open opens or makes the spool in dir with at most limit bytes on disk and cuts a torn tail off.
func Open(dir string, limit, segmentBytes int64) (*Spool, error) {
	if segmentBytes <= 0 {
		segmentBytes = DefaultSegmentBytes
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make spool: %w", err)
	}
	s := &Spool{dir: dir, limit: limit, segLimit: segmentBytes, added: make(chan struct{}, 1)}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list spool: %w", err)
	}
	for _, e := range entries {
		number, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), suffix), 10, 64)
		if err != nil || !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		seg, records, err := s.recover(number)
		if err != nil {
			return nil, fmt.Errorf("recover spool: %w", err)
		}
		if records == 0 {
			if err := os.Remove(s.path(number)); err != nil {
				return nil, fmt.Errorf("recover spool: %w", err)
			}
			continue
		}
		s.segments = append(s.segments, seg)
		s.bytes += seg.bytes
		s.pending += records
	}
	slices.SortFunc(s.segments, func(a, b segment) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	s.signal()
	return s, nil
}

// recover counts the whole records of a segment and cuts off what follows them.
func (s *Spool) recover(number uint64) (segment, int, error) {
	f, err := os.OpenFile(s.path(number), os.O_RDWR, 0)
	if err != nil {
		return segment{}, 0, err
	}
	defer f.Close() //nolint:errcheck // what matters was synced
	info, err := f.Stat()
	if err != nil {
		return segment{}, 0, err
	}
	seg, records := segment{number: number}, 0
	for {
		r, err := readRecord(f, seg.bytes, info.Size())
		if errors.Is(err, errTorn) {
			break
		}
		if err != nil {
			return segment{}, 0, err
		}
		seg.bytes += headerBytes + int64(len(r.Value))
		records++
	}
	if seg.bytes == info.Size() {
		return seg, records, nil
	}
	if err := f.Truncate(seg.bytes); err != nil {
		return segment{}, 0, err
	}
	return seg, records, f.Sync()
}

var errTorn = errors.New("no whole record")

// readRecord reads the record at an offset of a segment of size bytes.
func readRecord(f io.ReaderAt, at, size int64) (Record, error) {
	var head [headerBytes]byte
	if at+headerBytes > size {
		return Record{}, errTorn
	}
	if _, err := f.ReadAt(head[:], at); err != nil {
		return Record{}, err
	}
	length := int64(binary.LittleEndian.Uint32(head[0:]))
	if length > maxRecord || at+headerBytes+length > size {
		return Record{}, errTorn
	}
	value := make([]byte, length)
	if _, err := f.ReadAt(value, at+headerBytes); err != nil {
		return Record{}, err
	}
	if crc32.Update(crc32.Checksum(head[8:], table), table, value) != binary.LittleEndian.Uint32(head[4:]) {
		return Record{}, errTorn
	}
	return Record{Partition: int32(binary.LittleEndian.Uint32(head[8:])), Value: value}, nil //nolint:gosec // G115: written from an int32
}

func appendRecord(b []byte, r Record) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Value))) //nolint:gosec // G115: at most maxRecord
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(r.Partition)) //nolint:gosec // G115: read back as int32
	b = append(b, r.Value...)
	binary.LittleEndian.PutUint32(b[at+4:], crc32.Checksum(b[at+8:], table))
	return b
}

// Append keeps the records, all or none, and returns when they are on disk. Callers at the same time share an fsync.
func (s *Spool) Append(records []Record) error {
	if len(records) == 0 {
		return nil
	}
	size := 0
	for _, r := range records {
		if len(r.Value) > maxRecord {
			return fmt.Errorf("append to spool: record of %d bytes", len(r.Value))
		}
		size += headerBytes + len(r.Value)
	}
	frame := make([]byte, 0, size)
	for _, r := range records {
		frame = appendRecord(frame, r)
	}
	mine, err := s.write(frame, len(records))
	if err != nil {
		return fmt.Errorf("append to spool: %w", err)
	}
	if err := s.sync(mine); err != nil {
		return fmt.Errorf("sync spool: %w", err)
	}
	return nil
}

// write puts a frame at the end and returns the number of its last record.
func (s *Spool) write(frame []byte, records int) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return 0, ErrClosed
	case s.broken != nil:
		return 0, s.broken
	case s.bytes+int64(len(frame)) > s.limit:
		return 0, ErrFull
	}
	if s.file == nil || s.segments[len(s.segments)-1].bytes >= s.segLimit {
		if err := s.roll(); err != nil {
			return 0, err
		}
	}
	last := &s.segments[len(s.segments)-1]
	if _, err := s.file.WriteAt(frame, last.bytes); err != nil {
		// The next frame overwrites the torn one; nothing beyond last.bytes is ever read as long as we live.
		if cut := s.file.Truncate(last.bytes); cut != nil {
			s.broken = errors.Join(err, cut)
		}
		return 0, err
	}
	last.bytes += int64(len(frame))
	s.bytes += int64(len(frame))
	s.pending += records
	s.written += uint64(records) //nolint:gosec // G115: a length
	s.signal()
	return s.written, nil
}

// roll begins a new segment. s.mu is held.
func (s *Spool) roll() error {
	if s.file != nil {
		if err := s.file.Sync(); err != nil {
			s.broken = err
			return err
		}
		s.synced = s.written
		old := s.file
		s.file = nil
		if err := old.Close(); err != nil {
			return err
		}
	}
	var number uint64
	if n := len(s.segments); n > 0 {
		number = s.segments[n-1].number + 1
	}
	f, err := os.OpenFile(s.path(number), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := syncDir(s.dir); err != nil {
		return errors.Join(err, f.Close(), os.Remove(s.path(number)))
	}
	s.file = f
	s.segments = append(s.segments, segment{number: number})
	return nil
}

// sync returns when record number mine is on disk or with the broker.
func (s *Spool) sync(mine uint64) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	file, written, done, broken := s.file, s.written, s.synced >= mine || s.drained >= mine, s.broken
	s.mu.Unlock()
	switch {
	case done:
		return nil
	case broken != nil:
		return broken
	case file == nil:
		return ErrClosed
	}
	err := file.Sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if s.synced >= mine { // another segment was begun meanwhile, which synced and closed this one
			return nil
		}
		s.broken = err
		return err
	}
	s.synced = max(s.synced, written)
	return nil
}

// Added delivers a token when records may be waiting.
func (s *Spool) Added() <-chan struct{} { return s.added }

func (s *Spool) signal() {
	if s.pending == 0 {
		return
	}
	select {
	case s.added <- struct{}{}:
	default:
	}
}

// Empty reports whether every record was drained.
func (s *Spool) Empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending == 0
}

// Bytes is what the spool takes on disk.
func (s *Spool) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// Takes reports whether the spool could take a record now.
func (s *Spool) Takes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed && s.broken == nil && s.bytes < s.limit
}

// Peek returns the oldest records, at most count of them and about maxBytes, all of one segment, and leaves them in.
func (s *Spool) Peek(count int, maxBytes int64) ([]Record, error) {
	s.mu.Lock()
	if s.pending == 0 {
		s.mu.Unlock()
		return nil, nil
	}
	first, at := s.segments[0], s.readAt
	s.mu.Unlock()

	f, err := os.Open(s.path(first.number))
	if err != nil {
		return nil, fmt.Errorf("read spool: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	var records []Record
	for taken := int64(0); len(records) < count && taken < maxBytes && at+taken < first.bytes; {
		r, err := readRecord(f, at+taken, first.bytes)
		if err != nil {
			return nil, fmt.Errorf("read spool: %w", err)
		}
		taken += headerBytes + int64(len(r.Value))
		records = append(records, r)
	}
	return records, nil
}

// Advance takes out the records that Peek returned: the broker has them. A drained segment is deleted.
func (s *Spool) Advance(records []Record) error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		s.readAt += headerBytes + int64(len(r.Value))
	}
	s.pending -= len(records)
	if s.pending == 0 {
		s.drained = s.written
	}
	if len(s.segments) == 0 || s.readAt < s.segments[0].bytes {
		return nil
	}
	if len(s.segments) == 1 && s.file != nil {
		if err := s.file.Close(); err != nil {
			return fmt.Errorf("close drained segment: %w", err)
		}
		s.file = nil
	}
	done := s.segments[0]
	s.segments = s.segments[1:]
	s.bytes -= done.bytes
	s.readAt = 0
	if err := os.Remove(s.path(done.number)); err != nil {
		return fmt.Errorf("delete drained segment: %w", err)
	}
	return nil
}

// Close stops appending. What is in the spool stays for the next start.
func (s *Spool) Close() error {
	s.syncing.Lock()
	defer s.syncing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.file == nil {
		return nil
	}
	err := errors.Join(s.file.Sync(), s.file.Close())
	if err == nil {
		s.synced = s.written
	}
	s.file = nil
	return err
}

func (s *Spool) path(number uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%020d%s", number, suffix))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

package open

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// KeyKind says what a key is for. It is the name of the directory the kind's keys are in.
type KeyKind string

// The kinds of keys that have an end. The consent key has none.
const (
	SealingKey    KeyKind = "seal"
	PseudonymKey  KeyKind = "pseudonym"
	CookielessKey KeyKind = "cookieless"
)

var keyKinds = []KeyKind{SealingKey, PseudonymKey, CookielessKey}

// Cause says why a key was destroyed. The list is closed.
type Cause string

// The causes of a destruction.
const (
	PeriodOver Cause = "period_over" // nothing it was kept for is left
	Ordered    Cause = "ordered"     // the operator destroyed it before its time
	Unrecorded Cause = "unrecorded"  // a crash came before the cause was written down
)

// Destruction is the record of a destroyed key.
type Destruction struct {
	Kind  KeyKind `json:"kind"`
	Epoch string  `json:"epoch"` // number, first month, or site/day
	// DestroyedAt is when the key was taken out of use. It did not come back from then on, whatever happened.
	DestroyedAt time.Time `json:"destroyed_at"`
	Reason      Cause     `json:"reason"`
	// Confirmed says that its bytes are overwritten and unlinked.
	Confirmed bool `json:"confirmed"`
}

const (
	keySuffix  = ".key"
	goneSuffix = ".key.destroyed"
)

func (s *Store) keyPath(kind KeyKind, epoch string) string {
	return s.path(string(kind), filepath.FromSlash(epoch)+keySuffix)
}

// epochs lists the keys of a kind that have a file with the suffix, in the order of their names.
func (s *Store) epochs(kind KeyKind, suffix string) ([]string, error) {
	root := s.path(string(kind))
	var names []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		if epoch, ok := strings.CutSuffix(name, suffix); ok && err == nil {
			names = append(names, filepath.ToSlash(epoch))
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return names, nil
}

// destroy destroys a key: it takes the name away, from which moment nobody finds the key, writes that down, overwrites
// and unlinks the bytes, and confirms it. A crash in between leaves a key that is out of use; resume does the rest. An
// error wraps fs.ErrNotExist when there is no such key, perhaps because another process was first.
func (s *Store) destroy(kind KeyKind, epoch string, cause Cause, now time.Time) error {
	unlock, err := s.lock()
	if err != nil {
		return fmt.Errorf("destroy key: %w", err)
	}
	defer unlock()
	path := s.keyPath(kind, epoch)
	if err := os.Rename(path, path+".destroyed"); err != nil {
		return fmt.Errorf("destroy key: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("destroy key: %w", err)
	}
	d := Destruction{Kind: kind, Epoch: epoch, DestroyedAt: now.UTC().Truncate(time.Second), Reason: cause}
	if err := s.record(d); err != nil {
		return err
	}
	return s.erase(d)
}

// erase overwrites and unlinks the bytes of a key that is out of use, and confirms its destruction.
func (s *Store) erase(d Destruction) error {
	gone := s.keyPath(d.Kind, d.Epoch) + ".destroyed"
	f, err := os.OpenFile(gone, os.O_WRONLY, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a crash came between unlinking and confirming
	case err != nil:
		return fmt.Errorf("destroy key: %w", err)
	default:
		info, err := f.Stat()
		if err == nil {
			_, err = f.Write(make([]byte, info.Size()))
		}
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("destroy key: %w", err)
		}
		if err := errors.Join(os.Remove(gone), syncDir(filepath.Dir(gone))); err != nil {
			return fmt.Errorf("destroy key: %w", err)
		}
	}
	d.Confirmed = true
	return s.record(d)
}

// resume finishes the destructions that a crash interrupted.
func (s *Store) resume(now time.Time) error {
	unlock, err := s.lock()
	if err != nil {
		return fmt.Errorf("finish destructions: %w", err)
	}
	defer unlock()
	marked := map[KeyKind][]string{}
	for _, kind := range keyKinds {
		if marked[kind], err = s.epochs(kind, goneSuffix); err != nil {
			return err
		}
		s.resumed = s.resumed && len(marked[kind]) == 0
	}
	if s.resumed {
		return nil
	}
	records, err := s.Destructions()
	if err != nil {
		return err
	}
	begun := map[string]Destruction{}
	for _, d := range records {
		if name := string(d.Kind) + "/" + d.Epoch; d.Confirmed {
			delete(begun, name)
		} else {
			begun[name] = d
		}
	}
	for kind, epochs := range marked {
		for _, epoch := range epochs {
			if _, ok := begun[string(kind)+"/"+epoch]; ok {
				continue
			}
			// The crash came before the record: the key has been out of use since, and now it is written down.
			d := Destruction{Kind: kind, Epoch: epoch, DestroyedAt: now.UTC().Truncate(time.Second), Reason: Unrecorded}
			if err := s.record(d); err != nil {
				return err
			}
			begun[string(kind)+"/"+epoch] = d
		}
	}
	for _, d := range begun {
		if err := s.erase(d); err != nil {
			return err
		}
	}
	s.resumed = true
	return nil
}

// destroyed reports whether a key was destroyed. Such a key is never made anew.
func (s *Store) destroyed(kind KeyKind, epoch string) (bool, error) {
	if _, err := os.Stat(s.keyPath(kind, epoch) + ".destroyed"); err == nil {
		return true, nil
	}
	records, err := s.Destructions()
	if err != nil {
		return false, err
	}
	for _, d := range records {
		if d.Kind == kind && d.Epoch == epoch {
			return true, nil
		}
	}
	return false, nil
}

func (s *Store) recordPath() string { return s.path("destroyed.jsonl") }

// Destructions are the records of destroyed keys, the oldest first: each appears when it begins, and once more when it
// is confirmed.
func (s *Store) Destructions() ([]Destruction, error) {
	content, err := os.ReadFile(s.recordPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read destruction records: %w", err)
	}
	var records []Destruction
	for lines := bufio.NewScanner(bytes.NewReader(whole(content))); lines.Scan(); {
		var d Destruction
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			return nil, fmt.Errorf("read destruction records: line %d is none", len(records)+1)
		}
		records = append(records, d)
	}
	return records, nil
}

// whole is the part of the records that is complete: a crash may leave half a line at the end.
func whole(content []byte) []byte { return content[:bytes.LastIndexByte(content, '\n')+1] }

// maxRecord bounds a record, in bytes.
const maxRecord = 4096

// wholeSize is the size of the part of the records that is complete.
func wholeSize(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	from := max(info.Size()-maxRecord, 0)
	tail := make([]byte, info.Size()-from)
	if _, err := f.ReadAt(tail, from); err != nil {
		return 0, err
	}
	if from > 0 && len(whole(tail)) == 0 {
		return 0, errors.New("the records end in what is none")
	}
	return from + int64(len(whole(tail))), nil
}

// record appends a destruction to the records, and returns when it is on disk. The caller holds the lock.
func (s *Store) record(d Destruction) error {
	line, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("record destruction: %w", err)
	}
	f, err := os.OpenFile(s.recordPath(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("record destruction: %w", err)
	}
	end, err := wholeSize(f)
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.WriteAt(append(line, '\n'), end)
	}
	if err = errors.Join(err, f.Sync(), f.Close(), syncDir(s.dir)); err != nil {
		return fmt.Errorf("record destruction: %w", err)
	}
	if s.OnDestroyed != nil {
		s.OnDestroyed(d)
	}
	return nil
}

// lock keeps the other processes that share the directory from destroying at the same time.
func (s *Store) lock() (unlock func(), err error) {
	f, err := os.OpenFile(s.path("destroy.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // closing releases it
}

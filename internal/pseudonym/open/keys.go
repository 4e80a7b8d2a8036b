package open

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sekisho/sekisho/internal/core"
)

// Kind says what an identifier is, so that the same text as cookie and as account gives different pseudonyms.
type Kind byte

// The kinds of identifiers.
const (
	Cookie  Kind = 'c'
	Device  Kind = 'd'
	Account Kind = 'a'
	Order   Kind = 'o'
)

// keySize is the size of every pseudonym key in bytes.
const keySize = 32

// ErrDestroyed says that a day's key is gone, or that its day has not come.
var ErrDestroyed = errors.New("the cookieless key of that day is destroyed")

// Keys makes pseudonyms. It is safe for concurrent use.
type Keys struct {
	store   *Store
	rand    io.Reader
	now     func() time.Time
	subject []byte

	mu   sync.Mutex
	days map[string][]byte // by site and day
}

// NewKeys reads the subject key of a store, making it when there is none. rand MUST be a cryptographic source.
func NewKeys(store *Store, rand io.Reader, now func() time.Time) (*Keys, error) {
	k := &Keys{store: store, rand: rand, now: now, days: map[string][]byte{}}
	var err error
	if k.subject, err = k.once(store.path("subject.key")); err != nil {
		return nil, fmt.Errorf("read subject key: %w", err)
	}
	return k, nil
}

func (k *Keys) once(path string) ([]byte, error) {
	key := make([]byte, keySize)
	if _, err := io.ReadFull(k.rand, key); err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	key, err := k.store.once(path, key)
	if err == nil && len(key) != keySize {
		err = errors.New("read key: wrong size")
	}
	return key, err
}

// Subject is the lasting pseudonym of an identifier on a site: 64 bits of HMAC-SHA-256, never 0. Among ten million
// subjects two share one with a probability of about 3 in a million.
func (k *Keys) Subject(site string, kind Kind, id string) uint64 {
	return hash(k.subject, []byte{byte(kind)}, []byte(site), []byte(id))
}

// Cookieless is the pseudonym of a visitor who did not consent, for one civil day ("2006-01-02") of a site: a hash of
// address and user agent under a random key of that site and day. The key is made while the day is on anywhere on
// earth and destroyed after the day that follows; then nobody can tell whose pseudonym it was, not even by trying
// every address. ErrDestroyed when the key is gone.
func (k *Keys) Cookieless(site, day string, ip core.RawIP, userAgent string) (uint64, error) {
	key, err := k.day(site, day)
	if err != nil {
		return 0, err
	}
	return core.Reveal(ip, func(a netip.Addr) uint64 {
		return hash(key, []byte(site), a.AsSlice(), []byte(userAgent))
	}), nil
}

func (k *Keys) day(site, day string) ([]byte, error) {
	name := site + "/" + day
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.current(day) {
		clear(k.days[name])
		delete(k.days, name)
		return nil, ErrDestroyed
	}
	if key, ok := k.days[name]; ok {
		return key, nil
	}
	path := k.store.path("cookieless", site, day+".key")
	key, err := k.store.read(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = k.once(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read cookieless key: %w", err)
	}
	k.days[name] = key
	return key, nil
}

// current reports whether the day, or the day after it, is on somewhere on earth (UTC-12 to UTC+14): only then may its
// key be made or used, whether its file is still there or not. A key that was destroyed is never made anew.
func (k *Keys) current(day string) bool {
	now := k.now().UTC()
	return day >= Yesterday(now) && day <= now.Add(14*time.Hour).Format(time.DateOnly)
}

// Yesterday is the day before the earliest day that is on somewhere on earth. Keys of days before it are destroyed.
func Yesterday(now time.Time) string {
	return now.UTC().Add(-12*time.Hour).AddDate(0, 0, -1).Format(time.DateOnly)
}

// DestroyBefore destroys the keys of days before the one given and names what it destroyed, as site/day.
func (k *Keys) DestroyBefore(day string) ([]string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	root := k.store.path("cookieless")
	var destroyed []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		its, ok := strings.CutSuffix(entry.Name(), ".key")
		if !ok || its >= day {
			return nil
		}
		if err := k.store.destroy(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		name := filepath.Base(filepath.Dir(path)) + "/" + its
		clear(k.days[name])
		delete(k.days, name)
		destroyed = append(destroyed, name)
		return nil
	})
	if err != nil {
		return destroyed, fmt.Errorf("destroy cookieless keys: %w", err)
	}
	return destroyed, nil
}

// hash is 64 bits of HMAC-SHA-256 over length-prefixed parts, never 0.
func hash(key []byte, parts ...[]byte) uint64 {
	mac := hmac.New(sha256.New, key)
	var length [4]byte
	for _, p := range parts {
		binary.BigEndian.PutUint32(length[:], uint32(len(p))) //nolint:gosec // G115: parts are bounded by the envelope
		_, _ = mac.Write(length[:])                           // never fails
		_, _ = mac.Write(p)
	}
	return max(binary.BigEndian.Uint64(mac.Sum(nil)), 1)
}

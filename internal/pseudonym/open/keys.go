package open

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"path"
	"slices"
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

// ErrDestroyed says that the key of a time is gone, or that its time has not come.
var ErrDestroyed = errors.New("the key of that time is destroyed or not made yet")

// ahead is how early an epoch's key is made, so that processes whose clocks differ find it.
const ahead = 24 * time.Hour

// Keys makes pseudonyms, under keys of three kinds that no two kinds share (docs/adr/0007-two-keys.md). It is safe for
// concurrent use.
type Keys struct {
	store   *Store
	rand    io.Reader
	now     func() time.Time
	subject []byte

	epochsMu sync.RWMutex
	epochs   map[Epoch][]byte // the living ones

	mu   sync.Mutex
	days map[string][]byte // by site and day
}

// NewKeys reads the keys of a store, making the consent key when there is none. rand MUST be a cryptographic source.
func NewKeys(store *Store, rand io.Reader, now func() time.Time) (*Keys, error) {
	k := &Keys{store: store, rand: rand, now: now, epochs: map[Epoch][]byte{}, days: map[string][]byte{}}
	var err error
	if k.subject, err = k.once(store.path("subject.key")); err != nil {
		return nil, fmt.Errorf("read subject key: %w", err)
	}
	if err := k.refresh(); err != nil {
		return nil, err
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

// Subject is the id under which the consent of an identifier on a site is kept, and the key of an order: 64 bits of
// HMAC-SHA-256 under the consent key, never 0. It lasts. No row of events holds a subject's. Among ten million subjects
// two share one with a probability of about 3 in a million.
func (k *Keys) Subject(site string, kind Kind, id string) uint64 {
	return hash(k.subject, []byte{byte(kind)}, []byte(site), []byte(id))
}

// Pseudonym is what stands for an identifier on a site in the rows of one epoch, never 0. The keys of two epochs are
// drawn apart, so nothing connects an identifier's pseudonyms but the keys. ErrDestroyed when the epoch's is gone.
func (k *Keys) Pseudonym(epoch Epoch, site string, kind Kind, id string) (uint64, error) {
	for {
		k.epochsMu.RLock()
		var pseudonym uint64
		if key, ok := k.epochs[epoch]; ok { // under the lock: destroying clears the key where it lies
			pseudonym = hash(key, []byte{byte(kind)}, []byte(site), []byte(id))
		}
		k.epochsMu.RUnlock()
		if pseudonym != 0 {
			return pseudonym, nil
		}
		if err := k.begin(epoch); err != nil {
			return 0, err
		}
	}
}

// Living are the epochs whose keys exist, the oldest first: rows may carry pseudonyms of these and no others. The epoch
// that is on is among them, because its rows may come at any moment.
func (k *Keys) Living() ([]Epoch, error) {
	if err := k.begin(EpochOf(k.now())); err != nil && !errors.Is(err, ErrDestroyed) {
		return nil, err
	}
	k.epochsMu.RLock()
	defer k.epochsMu.RUnlock()
	return slices.Sorted(maps.Keys(k.epochs)), nil
}

// begin reads an epoch's key, making it when the epoch is on or was. A key that was destroyed is never made anew.
func (k *Keys) begin(e Epoch) error {
	k.epochsMu.Lock()
	defer k.epochsMu.Unlock()
	if _, ok := k.epochs[e]; ok {
		return nil
	}
	if e > EpochOf(k.now().Add(ahead)) {
		return ErrDestroyed
	}
	if gone, err := k.store.destroyed(PseudonymKey, e.String()); err != nil || gone {
		return errors.Join(err, ErrDestroyed)
	}
	key, err := k.once(k.store.keyPath(PseudonymKey, e.String()))
	if err != nil {
		return fmt.Errorf("read pseudonym key: %w", err)
	}
	k.epochs[e] = key
	return nil
}

// refresh brings the epochs' keys in memory in line with the files: what another process made is read, and what it
// destroyed is forgotten.
func (k *Keys) refresh() error {
	k.epochsMu.Lock()
	defer k.epochsMu.Unlock()
	names, err := k.store.epochs(PseudonymKey, keySuffix)
	if err != nil {
		return err
	}
	living := map[Epoch]bool{}
	for _, name := range names {
		e, ok := parseEpoch(name)
		if !ok {
			return fmt.Errorf("read pseudonym key: %s is no epoch", name)
		}
		living[e] = true
		if _, ok := k.epochs[e]; ok {
			continue
		}
		key, err := k.store.read(k.store.keyPath(PseudonymKey, name))
		if errors.Is(err, fs.ErrNotExist) {
			living[e] = false // destroyed just now
			continue
		}
		if err == nil && len(key) != keySize {
			err = errors.New("read key: wrong size")
		}
		if err != nil {
			return err
		}
		k.epochs[e] = key
	}
	for e, key := range k.epochs {
		if !living[e] {
			clear(key)
			delete(k.epochs, e)
		}
	}
	return nil
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
	file := k.store.keyPath(CookielessKey, name)
	key, err := k.store.read(file)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = k.once(file)
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

// DestroyBefore destroys the cookieless keys of days before the one given and names what it destroyed, as site/day.
func (k *Keys) DestroyBefore(day string) ([]string, error) {
	names, err := k.store.epochs(CookielessKey, keySuffix)
	if err != nil {
		return nil, fmt.Errorf("destroy cookieless keys: %w", err)
	}
	var destroyed []string
	for _, name := range names {
		if path.Base(name) >= day {
			continue
		}
		if err := k.store.destroy(CookielessKey, name, PeriodOver, k.now()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return destroyed, fmt.Errorf("destroy cookieless keys: %w", err)
		}
		destroyed = append(destroyed, name)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, key := range k.days { // those that another process destroyed as well
		if path.Base(name) < day {
			clear(key)
			delete(k.days, name)
		}
	}
	return destroyed, nil
}

// forget drops the key of an epoch that is destroyed.
func (k *Keys) forget(e Epoch) {
	k.epochsMu.Lock()
	defer k.epochsMu.Unlock()
	clear(k.epochs[e])
	delete(k.epochs, e)
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

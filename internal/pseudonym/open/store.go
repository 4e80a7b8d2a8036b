// Package open is the opening half of Sekisho's cryptography: private keys, opened events, and the keys under which
// identifiers become pseudonyms. The pipeline and the command alone may import it (internal/layout).
package open

import (
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/pseudonym"
)

// Store is a directory of keys: mode 0700, files 0600. Files are made once and never rewritten, so that processes
// that share the directory agree. Destroying a key overwrites and unlinks it; on storage that keeps old blocks, the
// directory belongs on an encrypted volume.
//
//	subject.key                  the consent key: it makes the ids under which consent is kept, and lasts
//	seal/<epoch>.key             private keys of the envelope
//	pseudonym/<epoch>.key        keys of the pseudonyms of stored rows
//	cookieless/<site>/<day>.key  keys of the visitors of one day
//	destroyed.jsonl              what was destroyed and when, append-only
type Store struct {
	dir string
	// OnDestroyed, if set, is told of every destruction twice: when the key is out of use and its record is on disk,
	// and again, Confirmed, when its bytes are gone. After a crash it may be told once more. Set it before the first use.
	OnDestroyed func(Destruction)

	resumed bool // nothing of before this process is left unfinished; the lock guards it
}

// OpenStore opens a key directory, making it if need be. A directory that others may enter is refused.
func OpenStore(dir string) (*Store, error) { //nolint:revive // it opens a store, in package open
	dirs := []string{dir}
	for _, kind := range keyKinds {
		dirs = append(dirs, filepath.Join(dir, string(kind)))
	}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("open key store: %w", err)
		}
		info, err := os.Stat(d)
		if err != nil {
			return nil, fmt.Errorf("open key store: %w", err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			return nil, fmt.Errorf("open key store: %s is open to others (mode %o, want 700)", d, info.Mode().Perm())
		}
	}
	return &Store{dir: dir}, nil
}

func (s *Store) path(elements ...string) string {
	return filepath.Join(append([]string{s.dir}, elements...)...)
}

// read returns a key file's content. A file that others may read is refused.
func (s *Store) read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read key: %s is open to others (mode %o, want 600)", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return b, nil
}

// once makes a key file, or returns what another process made first. The content is complete and on disk before the
// name appears.
func (s *Store) once(path string, content []byte) ([]byte, error) {
	if b, err := s.read(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".new-*") // made with mode 0600
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make key: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return s.read(path)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// PrivateKey is one epoch's private key of the envelope.
type PrivateKey struct {
	kem   pseudonym.KEM
	epoch uint32
	key   hpke.PrivateKey
	made  time.Time // zero when its file does not say
}

// Public is what collectors seal to.
func (k PrivateKey) Public() pseudonym.PublicKey {
	return pseudonym.NewPublicKey(k.kem, k.epoch, k.key.PublicKey())
}

const privateLabel = "sekisho-open-1"

func (s *Store) sealPath(epoch uint32) string { return s.keyPath(SealingKey, sealName(epoch)) }

func sealName(epoch uint32) string { return strconv.FormatUint(uint64(epoch), 10) }

// SealKey returns the private key of an epoch, making it when there is none.
func (s *Store) SealKey(kem pseudonym.KEM, epoch uint32) (PrivateKey, error) {
	return s.sealKey(kem, epoch, time.Time{})
}

// sealKey makes a key whose file says when that was, unless the time is zero.
func (s *Store) sealKey(kem pseudonym.KEM, epoch uint32, made time.Time) (PrivateKey, error) {
	if epoch == 0 {
		return PrivateKey{}, errors.New("make private key: epochs begin at 1")
	}
	mechanism, err := kem.HPKE()
	if err != nil {
		return PrivateKey{}, err
	}
	key, err := mechanism.GenerateKey()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("make private key: %w", err)
	}
	raw, err := key.Bytes()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("make private key: %w", err)
	}
	content := fmt.Appendf(nil, "%s %s %s", privateLabel, kem, base64.StdEncoding.EncodeToString(raw))
	if !made.IsZero() {
		content = fmt.Appendf(content, " made=%s", made.UTC().Format(time.RFC3339))
	}
	if content, err = s.once(s.sealPath(epoch), append(content, '\n')); err != nil {
		return PrivateKey{}, err
	}
	return parsePrivateKey(content, epoch)
}

// existing returns the private key of an epoch, an error wrapping fs.ErrNotExist when it is destroyed or was never made.
func (s *Store) existing(epoch uint32) (PrivateKey, error) {
	content, err := s.read(s.sealPath(epoch))
	if err != nil {
		return PrivateKey{}, err
	}
	return parsePrivateKey(content, epoch)
}

func parsePrivateKey(content []byte, epoch uint32) (PrivateKey, error) {
	fields := strings.Fields(string(content))
	if len(fields) < 3 || len(fields) > 4 || fields[0] != privateLabel {
		return PrivateKey{}, errors.New("read private key: not a " + privateLabel + " line")
	}
	var made time.Time
	if len(fields) == 4 {
		var err error
		if made, err = time.Parse(time.RFC3339, strings.TrimPrefix(fields[3], "made=")); err != nil {
			return PrivateKey{}, errors.New("read private key: it does not say when it was made")
		}
	}
	mechanism, err := pseudonym.KEM(fields[1]).HPKE()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read private key: %w", err)
	}
	raw, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil {
		return PrivateKey{}, errors.New("read private key: not base64")
	}
	key, err := mechanism.NewPrivateKey(raw)
	if err != nil {
		return PrivateKey{}, errors.New("read private key: not a key of its KEM")
	}
	return PrivateKey{pseudonym.KEM(fields[1]), epoch, key, made}, nil
}

// DestroyEpoch destroys an epoch's private key before its time: whatever is sealed to it can never be read again.
// Tell the Opener to forget.
func (s *Store) DestroyEpoch(epoch uint32, now time.Time) error {
	return s.destroy(SealingKey, sealName(epoch), Ordered, now)
}

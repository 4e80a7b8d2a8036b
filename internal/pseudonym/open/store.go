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

	"github.com/sekisho/sekisho/internal/pseudonym"
)

// Store is a directory of keys: mode 0700, files 0600. Files are made once and never rewritten, so that processes
// that share the directory agree. Destroying a key overwrites and unlinks it; on storage that keeps old blocks, the
// directory belongs on an encrypted volume.
//
//	seal/<epoch>.key       private keys of the envelope, by epoch
//	subject.key            the key of lasting pseudonyms
//	cookieless/<site>/<day>.key
type Store struct{ dir string }

// OpenStore opens a key directory, making it if need be. A directory that others may enter is refused.
func OpenStore(dir string) (*Store, error) {
	for _, d := range []string{dir, filepath.Join(dir, "seal"), filepath.Join(dir, "cookieless")} {
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
	return &Store{dir}, nil
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

// destroy takes a key file's name away, so that nobody can read half of it, and then overwrites and unlinks it.
func (s *Store) destroy(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("destroy key: %w", err)
	}
	gone := path + ".destroyed"
	if err := os.Rename(path, gone); err != nil {
		return fmt.Errorf("destroy key: %w", err)
	}
	f, err := os.OpenFile(gone, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("destroy key: %w", err)
	}
	_, err = f.Write(make([]byte, info.Size()))
	if err = errors.Join(err, f.Sync(), f.Close(), os.Remove(gone), syncDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("destroy key: %w", err)
	}
	return nil
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
}

// Public is what collectors seal to.
func (k PrivateKey) Public() pseudonym.PublicKey {
	return pseudonym.NewPublicKey(k.kem, k.epoch, k.key.PublicKey())
}

const privateLabel = "sekisho-open-1"

func (s *Store) sealPath(epoch uint32) string {
	return s.path("seal", strconv.FormatUint(uint64(epoch), 10)+".key")
}

// SealKey returns the private key of an epoch, making it when there is none.
func (s *Store) SealKey(kem pseudonym.KEM, epoch uint32) (PrivateKey, error) {
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
	content := fmt.Appendf(nil, "%s %s %s\n", privateLabel, kem, base64.StdEncoding.EncodeToString(raw))
	if content, err = s.once(s.sealPath(epoch), content); err != nil {
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
	if len(fields) != 3 || fields[0] != privateLabel {
		return PrivateKey{}, errors.New("read private key: not a " + privateLabel + " line")
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
	return PrivateKey{pseudonym.KEM(fields[1]), epoch, key}, nil
}

// DestroyEpoch destroys an epoch's private key: whatever is sealed to it can never be read again.
func (s *Store) DestroyEpoch(epoch uint32) error { return s.destroy(s.sealPath(epoch)) }

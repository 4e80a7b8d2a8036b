package noise

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrKey says that the file is there and does not hold a key that nobody else can read.
var ErrKey = errors.New("the file of the noise key is not 32 bytes with mode 0600")

// Key reads the key of a file, and makes it (mode 0600) where there is none. Several query processes of one deployment
// MUST have the same file: with another key each they would tell different numbers of the same people, which is what
// averaging needs. Whoever has the key can take the noise off; a lost key is no loss but that all noise is drawn anew.
func Key(file string, random io.Reader) (key [KeySize]byte, err error) {
	for range 2 {
		switch err = read(file, &key); {
		case err == nil:
			return key, nil
		case !errors.Is(err, fs.ErrNotExist):
			return key, fmt.Errorf("read noise key: %w", err)
		}
		// Whoever makes it first wins: a link never replaces.
		if err = create(file, random); err != nil && !errors.Is(err, fs.ErrExist) {
			return key, fmt.Errorf("make noise key: %w", err)
		}
	}
	return key, fmt.Errorf("read noise key: %w", errors.Join(ErrKey, read(file, &key)))
}

func read(file string, key *[KeySize]byte) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 || info.Size() != KeySize {
		return ErrKey
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if copy(key[:], data) != KeySize || *key == [KeySize]byte{} {
		return ErrKey
	}
	return nil
}

func create(file string, random io.Reader) (err error) {
	var key [KeySize]byte
	if _, err := io.ReadFull(random, key[:]); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".noise-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(key[:])
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), file)
}

package pseudonym

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ReadPublicKey reads the file that WritePublicKey writes.
func ReadPublicKey(path string) (PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return PublicKey{}, fmt.Errorf("read public key: %w", err)
	}
	return ParsePublicKey(text)
}

// WritePublicKey publishes a key in a file that collectors read. A reader sees the old key or the new one, never a
// part. A file that holds the key already is left alone.
func WritePublicKey(path string, key PublicKey) error {
	text, err := key.MarshalText()
	if err != nil {
		return err
	}
	if held, err := os.ReadFile(path); err == nil && bytes.Equal(held, text) {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".collector-*")
	if err != nil {
		return fmt.Errorf("publish public key: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // it is gone when all went well
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("publish public key: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("publish public key: %w", err)
	}
	return nil
}

// Follow has the sealer seal to the key in a file, whenever that changes, until ctx ends. It looks every interval. A
// file that cannot be read is told to failed and changes nothing: the key in use stays good for a week after its
// successor was made.
func (s *Sealer) Follow(ctx context.Context, path string, every time.Duration, failed func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.reload(path); err != nil {
			failed(err)
		}
	}
}

func (s *Sealer) reload(path string) error {
	public, err := ReadPublicKey(path)
	if err != nil {
		return err
	}
	s.mu.Lock()
	same := public.KEM == s.public.KEM && public.Epoch == s.public.Epoch && bytes.Equal(public.key.Bytes(), s.public.key.Bytes())
	s.mu.Unlock()
	if same {
		return nil
	}
	return s.Use(public)
}

package pseudonym_test

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/internal/pseudonym"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

func publicKey(t *testing.T, epoch uint32) pseudonym.PublicKey {
	t.Helper()
	kem, err := pseudonym.X25519.HPKE()
	if err != nil {
		t.Fatal(err)
	}
	private, err := kem.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return pseudonym.NewPublicKey(pseudonym.X25519, epoch, private.PublicKey())
}

func sealedTo(t *testing.T, s *pseudonym.Sealer) uint32 {
	t.Helper()
	value, err := s.Seal(&sekishov1.Envelope{Site: "shop", Id: make([]byte, 16)}, &sekishov1.Event{})
	if err != nil {
		t.Fatal(err)
	}
	var env sekishov1.Envelope
	if err := proto.Unmarshal(value, &env); err != nil {
		t.Fatal(err)
	}
	return env.Epoch
}

func TestARunningCollectorTakesUpTheNewPublicKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.pub")
	first := publicKey(t, 202611)
	if err := pseudonym.WritePublicKey(path, first); err != nil {
		t.Fatal(err)
	}
	read, err := pseudonym.ReadPublicKey(path)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := pseudonym.NewSealer(read, rand.Reader, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		faults int
	)
	wg.Go(func() {
		sealer.Follow(ctx, path, time.Millisecond, func(error) { mu.Lock(); faults++; mu.Unlock() })
	})
	for range 4 { // the collector is busy meanwhile
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := sealer.Seal(&sekishov1.Envelope{Site: "shop", Id: make([]byte, 16)}, &sekishov1.Event{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if got := sealedTo(t, sealer); got != 202611 {
		t.Errorf("sealed to epoch %d", got)
	}
	if err := pseudonym.WritePublicKey(path, publicKey(t, 202612)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() bool { return sealedTo(t, sealer) == 202612 })

	// A file that makes no sense is told and changes nothing.
	if err := os.WriteFile(path, []byte("no key"), 0o644); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() bool { mu.Lock(); defer mu.Unlock(); return faults > 0 })
	if got := sealedTo(t, sealer); got != 202612 {
		t.Errorf("sealed to epoch %d", got)
	}
	cancel()
	wg.Wait()
}

func TestPublishingTheSameKeyAgainLeavesItsFileAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.pub")
	key := publicKey(t, 202611)
	if err := pseudonym.WritePublicKey(path, key); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	if err := pseudonym.WritePublicKey(path, key); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || time.Since(info.ModTime()) < time.Minute || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("%d files are left", len(files))
	}
}

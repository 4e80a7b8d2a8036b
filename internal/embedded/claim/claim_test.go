package claim

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// thing is something that can be claimed and let go.
type thing func(ctx context.Context, patience time.Duration, waiting func()) (io.Closer, error)

func things(t *testing.T) map[string]thing {
	path := filepath.Join(t.TempDir(), "lock")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	return map[string]thing{
		"a file": func(ctx context.Context, patience time.Duration, waiting func()) (io.Closer, error) {
			return File(ctx, path, patience, waiting)
		},
		"an address": func(ctx context.Context, patience time.Duration, waiting func()) (io.Closer, error) {
			return Address(ctx, addr, patience, waiting)
		},
	}
}

func TestAClaimWaitsForTheOneBefore(t *testing.T) {
	for name, claim := range things(t) {
		t.Run(name, func(t *testing.T) {
			first, err := claim(t.Context(), 0, func() { t.Error("it waited for nobody") })
			if err != nil {
				t.Fatal(err)
			}
			var waits atomic.Int64
			second, err := claim(t.Context(), time.Minute, func() {
				waits.Add(1)
				time.AfterFunc(3*poll, func() { _ = first.Close() })
			})
			if err != nil {
				t.Fatal(err)
			}
			if waits.Load() != 1 {
				t.Errorf("it told %d times that it waits", waits.Load())
			}
			if err := second.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAClaimGivesUp(t *testing.T) {
	for name, claim := range things(t) {
		t.Run(name, func(t *testing.T) {
			first, err := claim(t.Context(), 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = first.Close() }()
			if _, err := claim(t.Context(), 2*poll, nil); !errors.Is(err, ErrTaken) {
				t.Errorf("after its patience: %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if _, err := claim(ctx, time.Minute, cancel); !errors.Is(err, context.Canceled) {
				t.Errorf("after its context: %v", err)
			}
		})
	}
}

func TestAnErrorThatDoesNotPassIsNotWaitedFor(t *testing.T) {
	if _, err := File(t.Context(), filepath.Join(t.TempDir(), "none", "lock"), time.Hour, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := Address(t.Context(), "192.0.2.1:1", time.Hour, nil); err == nil || errors.Is(err, ErrTaken) {
		t.Errorf("error %v", err)
	}
}

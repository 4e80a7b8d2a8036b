// Package testkit gives tests the real servers: the embedded broker and Apache Kafka itself, each on a free loopback
// port and gone with the test.
package testkit

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/embedded/broker"
)

// Eventually polls fn until it reports true, and fails the test if it has not after timeout.
func Eventually(t testing.TB, timeout time.Duration, fn func() bool) {
	t.Helper()
	for deadline, wait := time.Now().Add(timeout), time.Millisecond; !fn(); wait = min(2*wait, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the condition did not hold within %v", timeout)
		}
		time.Sleep(wait)
	}
}

// Brokers runs a test against both event logs, the embedded one and Apache Kafka: what holds on one MUST hold on the
// other. addr is host:port.
func Brokers(t *testing.T, fn func(t *testing.T, addr string)) {
	t.Run("embedded", func(t *testing.T) { fn(t, EmbeddedKafka(t)) })
	t.Run("apache", func(t *testing.T) { fn(t, ApacheKafka(t)) })
}

// EmbeddedKafka starts an embedded broker on a directory of its own, and returns its host:port.
func EmbeddedKafka(t testing.TB) string {
	t.Helper()
	b := StartEmbedded(t, broker.Config{DataDir: t.TempDir()})
	return b.Addrs()[0]
}

// StartEmbedded starts an embedded broker with timings fit for tests where cfg names none, and stops it with the test.
func StartEmbedded(t testing.TB, cfg broker.Config) *broker.Broker {
	t.Helper()
	if cfg.CleanerInterval == 0 {
		cfg.CleanerInterval = 100 * time.Millisecond
	}
	if cfg.MinSessionTimeout == 0 {
		cfg.MinSessionTimeout = 100 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = Logger(t)
	}
	b, err := broker.Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("start embedded broker: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.Stop(ctx); err != nil {
			t.Errorf("stop embedded broker: %v", err)
		}
	})
	return b
}

// Logger writes to the test's output, which go test shows if the test fails.
func Logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// missing skips the test where a server's prerequisites are not installed. In CI (CI=true) that is a failure: a suite
// that silently skips there proves nothing.
func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

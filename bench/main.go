// Command bench measures the running house from outside, each figure against a reference of the same run where there
// is one: events accepted a second against a bare Gin handler that answers 204, the time from beacon to report, bytes
// a stored event, memory, and the size of the tracker.
//
//	go run ./bench -binary bin/sekisho
//
// It starts the real binary on embedded engines in a directory of its own, on loopback, and removes it afterwards.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/sekisho/sekisho/internal/httpx"
)

type options struct {
	binary  string
	scripts string
	round   time.Duration
	rounds  int
	beacons int
}

func main() {
	var o options
	bare := flag.String("bare", "", "serve the reference handler on this address and nothing else (used by the benchmark itself)")
	flag.StringVar(&o.binary, "binary", "bin/sekisho", "the binary to measure")
	flag.StringVar(&o.scripts, "scripts", "web/built", "where the built tracker is")
	flag.DurationVar(&o.round, "round", 4*time.Second, "length of one round of load")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each load; the median counts")
	flag.IntVar(&o.beacons, "beacons", 200, "beacons whose way to the report is timed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *bare != "" {
		err = serveBare(ctx, *bare)
	} else {
		err = run(ctx, o)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serveBare is the reference: the same HTTP server and framework, and a handler that does nothing.
func serveBare(ctx context.Context, addr string) error {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.POST("/v1/events", func(c *gin.Context) { c.Status(204) })
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("serve reference: %w", err)
	}
	return httpx.Serve(ctx, listener, e, slog.New(slog.DiscardHandler), time.Second)
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "sekisho-bench-*")
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	h, err := startHouse(ctx, o.binary, filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	defer h.stop()
	ref, err := startReference(ctx)
	if err != nil {
		return err
	}
	defer ref.stop()

	fmt.Println("memory, idle")
	h.printMemory()
	if err := measureFreshness(ctx, h, o); err != nil {
		return err
	}
	if err := measureIntake(ctx, h, ref, o); err != nil {
		return err
	}
	if err := h.drain(ctx); err != nil {
		return err
	}
	fmt.Println("\nmemory, after the load")
	h.printMemory()
	if err := printTracker(o.scripts); err != nil {
		return err
	}
	h.stop()
	return measureRows(ctx, o, filepath.Join(dir, "rows"))
}

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sekisho/sekisho/internal/httpx"
)

// grace is how long a server may finish what it has begun.
const grace = 10 * time.Second

// serve answers on an address until ctx ends.
func serve(ctx context.Context, name, addr string, handler http.Handler, logger *slog.Logger) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return httpx.Serve(ctx, listener, handler, logger.With("service", name), grace)
}

// metricsHandler serves a registry. It belongs on an internal address.
func metricsHandler(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

package collector

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sekisho/sekisho/collector/spool"
)

// metrics have closed label sets: the error codes of internal/core.
type metrics struct {
	accepted, undeclared, spooled prometheus.Counter
	rejected                      *prometheus.CounterVec
}

func newMetrics(registry *prometheus.Registry, s *spool.Spool) metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "sekisho", Subsystem: "collector", Name: name, Help: help})
	}
	m := metrics{
		accepted:   counter("events_accepted_total", "Events and consent acts that are durable."),
		undeclared: counter("fields_undeclared_total", "Fields that no catalogue declares; they were dropped."),
		spooled:    counter("events_spooled_total", "Events that went to the spool because the broker was away."),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "sekisho", Subsystem: "collector", Name: "rejected_total", Help: "Events and requests rejected, by error code.",
		}, []string{"code"}),
	}
	registry.MustRegister(m.accepted, m.undeclared, m.spooled, m.rejected, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "sekisho", Subsystem: "collector", Name: "spool_bytes", Help: "What the spool takes on disk.",
	}, func() float64 { return float64(s.Bytes()) }))
	return m
}

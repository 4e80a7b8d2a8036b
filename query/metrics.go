package query

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics have closed label sets: the catalogue's names, and "ok" or the codes of internal/core.
type metrics struct {
	reads      *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	suppressed *prometheus.CounterVec
}

func newMetrics(registry *prometheus.Registry) metrics {
	m := metrics{
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sekisho_query_reads_total", Help: "Reads, by report and result.",
		}, []string{"report", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sekisho_query_read_seconds", Help: "Duration of a read, by report.", Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"report"}),
		suppressed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sekisho_query_groups_suppressed_total", Help: "Groups withheld because they were too small, by report.",
		}, []string{"report"}),
	}
	registry.MustRegister(m.reads, m.duration, m.suppressed)
	return m
}

func (m *metrics) observe(report, result string, suppressed int, took time.Duration) {
	if report == "" {
		report = "none"
	}
	m.reads.WithLabelValues(report, result).Inc()
	m.duration.WithLabelValues(report).Observe(took.Seconds())
	m.suppressed.WithLabelValues(report).Add(float64(suppressed))
}

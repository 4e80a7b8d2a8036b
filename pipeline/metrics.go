package pipeline

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are labelled by closed enums and partition numbers only.
type metrics struct {
	stored    *prometheus.CounterVec
	dropped   *prometheus.CounterVec
	lost      prometheus.Counter
	behind    *prometheus.GaugeVec
	freshness prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, s *states) *metrics {
	m := &metrics{
		stored:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sekisho_pipeline_events_stored_total", Help: "Events stored, by type."}, []string{"type"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sekisho_pipeline_events_dropped_total", Help: "Events left out, by reason."}, []string{"reason"}),
		lost:    prometheus.NewCounter(prometheus.CounterOpts{Name: "sekisho_pipeline_records_lost_total", Help: "Records that retention removed before they were read."}),
		behind:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "sekisho_pipeline_lag_records", Help: "Records not read yet, by partition."}, []string{"partition"}),
		freshness: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sekisho_pipeline_freshness_seconds", Help: "From the collector's receipt to the stored row.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}),
	}
	if reg != nil {
		reg.MustRegister(
			m.stored, m.dropped, m.lost, m.behind, m.freshness,
			prometheus.NewGaugeFunc(
				prometheus.GaugeOpts{Name: "sekisho_pipeline_consent_subjects", Help: "Subjects whose consent state is held."},
				func() float64 { return float64(s.len()) }),
			prometheus.NewGaugeFunc(
				prometheus.GaugeOpts{Name: "sekisho_pipeline_consent_bytes", Help: "Memory that the consent states take."},
				func() float64 { return float64(s.bytes()) }),
		)
	}
	return m
}

func (m *metrics) lag(partition int, records int64) {
	m.behind.WithLabelValues(strconv.Itoa(partition)).Set(float64(max(records, 0)))
}

func (m *metrics) loaded(b *block, now time.Time) {
	for kind, n := range b.stored {
		m.stored.WithLabelValues(kind.String()).Add(float64(n))
	}
	for key, n := range b.drops {
		m.dropped.WithLabelValues(key.reason.String()).Add(float64(n))
	}
	for _, received := range b.received {
		m.freshness.Observe(now.Sub(received).Seconds())
	}
}

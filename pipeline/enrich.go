package pipeline

import (
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sekisho/sekisho/internal/pii"
)

// Enricher adds what follows from the address, the user agent and the page's URLs, before these go. Its answers come
// from closed sets and tables; none holds the input.
type Enricher interface {
	Place(netip.Addr) Place
	Device(userAgent, mobile, platform string) Device
	Channel(pageURL, referrer string) Channel
}

// Place is where an address is, coarsely. Empty is unknown.
type Place struct {
	Country string // ISO 3166-1 alpha-2
	Region  string // ISO 3166-2 subdivision code
}

// Device is what a user agent says.
type Device struct {
	Class          string // desktop, mobile, tablet, tv, console or unknown
	Browser        string
	BrowserVersion uint16
	OS             string
	OSVersion      string
	Bot            bool
}

// Channel is where a visit came from.
type Channel struct {
	Kind, Source, Medium, Campaign, Term, Content, ClickIDKind string
	ReferrerHost                                               string
}

// Scrubber takes personal data out of text.
type Scrubber interface {
	Text(string) string
	// Page splits a page's URL into its host and a path without query, both scrubbed.
	Page(rawURL string) (host, path string)
	Property(key, value string) string
}

// NewScrubber is the PII guard as the pipeline uses it. What it takes out is counted by kind, and by nothing else.
// metrics may be nil.
func NewScrubber(g *pii.Guard, metrics prometheus.Registerer) Scrubber {
	s := &scrubber{guard: g}
	found := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sekisho_pipeline_personal_data_removed_total", Help: "Personal data taken out of texts, by kind.",
	}, []string{"kind"})
	for k := range pii.NumKinds {
		s.found[k] = found.WithLabelValues(k.String())
	}
	if metrics != nil {
		metrics.MustRegister(found)
	}
	return s
}

type scrubber struct {
	guard *pii.Guard
	found [pii.NumKinds]prometheus.Counter
}

func (s *scrubber) count(found *pii.Counts) {
	for k, n := range found {
		if n > 0 {
			s.found[k].Add(float64(n))
		}
	}
}

func (s *scrubber) Text(text string) string {
	var found pii.Counts
	defer s.count(&found)
	return s.guard.Text(text, &found)
}

func (s *scrubber) Page(rawURL string) (host, path string) {
	var found pii.Counts
	defer s.count(&found)
	return s.guard.Page(rawURL, &found)
}

func (s *scrubber) Property(key, value string) string {
	var found pii.Counts
	defer s.count(&found)
	return s.guard.Property(key, value, &found)
}

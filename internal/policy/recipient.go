package policy

import (
	"net"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/core"
)

// Processor is somebody to whom handling is entrusted under the operator's supervision (Art. 7-4, 8-1).
type Processor struct {
	ID         string
	Name       Text
	Contract   string // its reference in the operator's files
	Signed     time.Time
	Reviewed   time.Time // when the operator last went through its checklist
	Expires    time.Time // the instant from which it may be sent nothing: the day after its last
	Region     string    // ISO 3166-1 alpha-2
	Categories core.CategorySet
	Purposes   core.PurposeSet
	Hosts      []string
}

// InForce reports whether the processor may be sent something at t: contract signed, checklist gone through, not
// expired.
func (p *Processor) InForce(t time.Time) bool {
	return !t.Before(p.Signed) && !t.Before(p.Reviewed) && t.Before(p.Expires)
}

// RecipientKind is what a recipient is to the page.
type RecipientKind string

// The kinds.
const (
	OwnTag     RecipientKind = "own_tag" // the operator's own tag: what it sends reaches the operator and nobody else
	SDK        RecipientKind = "sdk"     // somebody else's code in the page or app
	ThirdParty RecipientKind = "third_party"
)

// Ground is what lets data go to a recipient (Art. 8). The list is closed.
type Ground string

// The grounds.
const (
	FirstParty        Ground = "first_party" // own tags only: nothing is provided to anybody
	ByConsent         Ground = "consent"
	LegalBasis        Ground = "legal_basis"
	Entrustment       Ground = "entrustment"                // Art. 8-1: through a processor in force
	LaborAttorney     Ground = "labor_attorney_entrustment" // Art. 8-2: likewise
	Succession        Ground = "business_succession"        // Art. 8-3
	AnalyticsAdModule Ground = "analytics_ad_module"        // Art. 8-4: the law has no such exemption, so it is treated as one of the two above
	VitalInterest     Ground = "vital_interest"             // Art. 8-5
	PublicHealthChild Ground = "public_health_child"        // Art. 8-6
	PublicAuthority   Ground = "public_authority"           // Art. 8-7
)

// Recipient is somebody whom the page or the service sends data to, with every item that Art. 27-12 of the
// Telecommunications Business Act wants published: what is sent, who receives it, for what purpose on both sides.
type Recipient struct {
	ID               string
	Kind             RecipientKind
	Name             Text
	Ground           Ground
	TreatedAs        Ground // consent or entrustment; set for AnalyticsAdModule only
	Processor        string // set where data goes by entrustment
	Justification    string // the record of why the exception applies
	ConsentDifficult bool   // recorded: the subject's consent is hard to get
	Sent             core.CategorySet
	SentText         Text
	Purposes         core.PurposeSet
	OperatorUse      Text // what the operator uses it for
	RecipientUse     Text // what the recipient uses it for
	PolicyURL        string
	OptOutURL        string
	OptOutText       Text
	Hosts            []string // of its own; by entrustment the processor's are used
}

// Effective is the ground that decides: an analytics or advertising module counts as what it is treated as.
func (r *Recipient) Effective() Ground {
	if r.Ground == AnalyticsAdModule {
		return r.TreatedAs
	}
	return r.Ground
}

// entrusted reports whether data goes to the recipient as to a processor.
func (r *Recipient) entrusted() bool {
	g := r.Effective()
	return g == Entrustment || g == LaborAttorney
}

// Processor finds a processor by its id.
func (p *Pack) Processor(id string) (*Processor, bool) {
	for i := range p.Processors {
		if p.Processors[i].ID == id {
			return &p.Processors[i], true
		}
	}
	return nil, false
}

// Target is who may be sent what.
type Target struct {
	ID         string
	Processor  bool // entrusted, Art. 8-1; a recipient otherwise
	Ground     Ground
	Categories core.CategorySet // nothing else may go there
	Purposes   core.PurposeSet  // for nothing else
}

// Egress finds who answers at a host. False for a host that the pack does not name and for a processor that is not in
// force at t: nothing may be sent there. A target by consent still needs the consent of each subject.
func (p *Pack) Egress(host string, t time.Time) (Target, bool) {
	if t.Before(p.EffectiveFrom) {
		return Target{}, false
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for i := range p.Processors {
		x := &p.Processors[i]
		for _, h := range x.Hosts {
			if h == host && x.InForce(t) {
				return Target{ID: x.ID, Processor: true, Ground: Entrustment, Categories: x.Categories, Purposes: x.Purposes}, true
			}
		}
	}
	for i := range p.Recipients {
		x := &p.Recipients[i]
		for _, h := range x.Hosts {
			if h == host {
				return Target{ID: x.ID, Ground: x.Effective(), Categories: x.Sent, Purposes: x.Purposes}, true
			}
		}
	}
	return Target{}, false
}

package demo

import (
	"slices"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
)

// Terms are what the tracker of a site knows of the policy in force (schema TrackerConfig).
type Terms struct {
	Policy string           // version
	Free   []core.EventType // permitted without consent
	Ask    []string         // purposes that need consent
	OptOut []string         // purposes to object to
	GPC    []string         // purposes that Global Privacy Control refuses
}

// collected are the categories that a page can collect.
var collected = []core.Category{
	core.OperationLog, core.PurchasedItem, core.PageViewHistory, core.AdViewHistory, core.SearchKeyword, core.UsageTime,
	core.UsageMethod, core.UsageEnvironment, core.IPAddress, core.CookieID, core.DeviceID,
}

// TermsOf reads the terms from a policy, for a jurisdiction, as the collector does for the tracker.
func TermsOf(pack *policy.Pack, jurisdiction string) Terms {
	t := Terms{Policy: pack.Version}
	tracked, free := core.SetOf(collected...), core.CategorySet(0)
	for i := range pack.Purposes {
		p := &pack.Purposes[i]
		if p.Categories&tracked == 0 {
			continue
		}
		basis := p.Basis[jurisdiction]
		switch basis {
		case core.Notified:
			free = free.Union(p.Categories)
		case core.OptOut:
			free = free.Union(p.Categories)
			t.OptOut = append(t.OptOut, p.ID)
		case core.Consent:
			t.Ask = append(t.Ask, p.ID)
		}
		if p.GPCDenied && (basis == core.OptOut || basis == core.Consent) {
			t.GPC = append(t.GPC, p.ID)
		}
	}
	for _, e := range core.EventTypes() {
		if free.Has(e.Category()) {
			t.Free = append(t.Free, e)
		}
	}
	return t
}

// free reports whether an event may be sent without consent.
func (t *Terms) free(kind core.EventType) bool { return slices.Contains(t.Free, kind) }

// all are the purposes that a visitor has a say in.
func (t *Terms) all() []string { return slices.Concat(t.Ask, t.OptOut) }

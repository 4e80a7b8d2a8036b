package collector

import (
	"slices"

	"github.com/sekisho/sekisho/internal/consentmode"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/internal/tcf"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// interpret turns the consent signals of other systems that an act carries into choices about the policy's purposes.
// What the act says in its own words comes first. A signal never grants what it does not name, and speaks only of
// purposes that rest on consent where the site is: elsewhere nobody was asked.
func (c *Collector) interpret(act *sekishov1.ConsentAct, signals []byte, s *site.Site) *core.Error {
	if act.TcString == "" && signals == nil {
		return nil
	}
	pack, fault := c.packOf(act, s)
	if fault != nil {
		return fault
	}
	var granted, refused []string
	if act.TcString != "" {
		tc, err := tcf.Parse(act.TcString)
		if err != nil {
			return &core.Error{Code: core.CodeInvalid, Field: "/tc_string", Message: err.Error()}
		}
		granted, refused = tcf.Acts(tc, pack, s.TCFVendor)
	}
	if signals != nil {
		chosen, err := consentmode.ParseUpdate(signals)
		if err != nil {
			return &core.Error{Code: core.CodeInvalid, Field: "/consent_mode", Message: err.Error()}
		}
		more, against := consentmode.Acts(chosen, consentmode.DefaultMapping())
		granted, refused = append(granted, more...), append(refused, against...)
		if act.Source == "" && act.TcString == "" {
			act.Source = "consent_mode"
		}
	}
	own := slices.Concat(act.Granted, act.Refused, act.Withdrawn, act.Renewed, act.Expired)
	asked := func(id string) bool {
		p, ok := pack.Purpose(id)
		return ok && p.Basis[s.Jurisdiction] == core.Consent && !slices.Contains(own, id) && !ownParent(own, p)
	}
	for _, id := range refused {
		if asked(id) && !slices.Contains(act.Refused, id) {
			act.Refused = append(act.Refused, id)
		}
	}
	for _, id := range granted { // of two signals that differ, the refusal stands
		if asked(id) && !slices.Contains(refused, id) && !slices.Contains(act.Granted, id) {
			act.Granted = append(act.Granted, id)
		}
	}
	if len(own)+len(act.Granted)+len(act.Refused) == 0 && !act.Link {
		field := "/consent_mode"
		if act.TcString != "" {
			field = "/tc_string"
		}
		return &core.Error{Code: core.CodeInvalid, Field: field, Message: "says nothing of the policy's purposes"}
	}
	return nil
}

// ownParent reports whether the act itself speaks of the purpose's parent, and so of the purpose.
func ownParent(own []string, p *policy.Purpose) bool {
	return p.Parent != "" && slices.Contains(own, p.Parent)
}

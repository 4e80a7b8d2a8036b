package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/internal/core"
)

// Fault is one broken rule and where it is.
type Fault struct {
	File    string // empty for a pack that came without one
	Line    int    // 0 when it has no line
	Place   string // JSON Pointer; empty for the whole pack
	Problem string
}

func (f *Fault) Error() string {
	var where strings.Builder
	where.WriteString(f.File)
	if f.Line > 0 {
		if f.File == "" {
			where.WriteString("line ")
		} else {
			where.WriteString(":")
		}
		where.WriteString(strconv.Itoa(f.Line))
	}
	for _, part := range []string{f.Place, f.Problem} {
		if part == "" {
			continue
		}
		if where.Len() > 0 {
			where.WriteString(": ")
		}
		where.WriteString(part)
	}
	return where.String()
}

// Faults are the faults that an error of this package holds.
func Faults(err error) []*Fault {
	var faults []*Fault
	for _, e := range leaves(err) {
		var f *Fault
		if errors.As(e, &f) {
			faults = append(faults, f)
		}
	}
	return faults
}

// leaves takes a joined error apart.
func leaves(err error) []error {
	if err == nil {
		return nil
	}
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, leaves(e)...)
	}
	return all
}

func join(faults []*Fault) error {
	all := make([]error, len(faults))
	for i, f := range faults {
		all[i] = f
	}
	return errors.Join(all...)
}

// neverPurposed are collected by no purpose of Art. 5: a pack that gives one to a purpose is refused. A My Number may
// not be kept outside the cases its Act lists (Art. 20), whatever anybody agreed to.
var neverPurposed = core.SetOf(core.EmployeeName, core.EmployeeEmail, core.EmployeeAddress, core.EmployeeGender,
	core.EmployeeBirthDate, core.EmployeeDependents, core.IndividualNumber, core.Location)

// checker gathers what a pack breaks of the rules that neither its schema nor one of its lines alone can say.
type checker struct {
	*Pack
	faults []*Fault
}

func (p *Pack) check() []*Fault {
	c := &checker{Pack: p}
	c.checkPurposes()
	c.checkCategories()
	c.checkProcessors()
	c.checkRecipients()
	c.checkHosts()
	return c.faults
}

func (c *checker) fault(place, format string, args ...any) {
	c.faults = append(c.faults, &Fault{Place: place, Problem: fmt.Sprintf(format, args...)})
}

func (c *checker) checkPurposes() {
	ids := map[string]bool{}
	owner := map[core.Purpose]string{}
	for i := range c.Purposes {
		p, place := &c.Purposes[i], at("purposes", i)
		if ids[p.ID] {
			c.fault(place+"/id", "purpose %s: named twice", p.ID)
		}
		ids[p.ID] = true
		if other, taken := owner[p.Bit]; taken {
			c.fault(place+"/bit", "purpose %s takes bit %d of %s", p.ID, p.Bit, other)
		}
		owner[p.Bit] = p.ID
		c.checkBasis(p, place)
		c.checkParent(p, place)
		if p.Replaces != nil {
			c.checkReplacement(p, place)
		}
		if p.Mappings.DPV != "" && !slices.Contains(dpvPurposes, p.Mappings.DPV) {
			c.fault(place+"/mappings/dpv", "purpose %s: %s is no purpose of DPV %s", p.ID, p.Mappings.DPV, dpvVersion)
		}
		if p.Mappings.Fideslang != "" && !slices.Contains(fideslangUses, p.Mappings.Fideslang) {
			c.fault(place+"/mappings/fideslang", "purpose %s: %s is no data use of Fideslang", p.ID, p.Mappings.Fideslang)
		}
	}
	if c.Change == Unrelated && !slices.ContainsFunc(c.Purposes, func(p Purpose) bool { return p.Replaces != nil }) {
		c.fault("/change", "an unrelated change moves a purpose to an unused bit (replaces); no purpose here does, so nobody would be asked again")
	}
}

// checkBasis: where nothing is known of the law, the strictest is the least.
func (c *checker) checkBasis(p *Purpose, place string) {
	for _, j := range c.Jurisdictions {
		if least, named := p.Basis[Default]; named && p.Basis[j] > least {
			c.fault(place+"/basis/"+Default, "purpose %s: %s in %s is stricter than %s in default", p.ID, p.Basis[j], j, least)
		}
	}
}

// checkParent: an act on a parent covers its children, so a child may not use more, and has no children itself.
func (c *checker) checkParent(p *Purpose, place string) {
	if p.Parent == "" {
		return
	}
	parent, ok := c.Purpose(p.Parent)
	switch {
	case !ok:
		c.fault(place+"/parent", "purpose %s: parent %s is no purpose", p.ID, p.Parent)
	case parent.Parent != "":
		c.fault(place+"/parent", "purpose %s: parent %s has a parent itself; there is one level", p.ID, p.Parent)
	case p.Categories&^parent.Categories != 0:
		c.fault(place+"/categories", "purpose %s: uses a category that its parent %s does not", p.ID, p.Parent)
	}
}

// checkReplacement: an unrelated purpose needs fresh consent (Art. 6; APPI Art. 18), so it rests on consent everywhere.
func (c *checker) checkReplacement(p *Purpose, place string) {
	if c.Change != Unrelated {
		c.fault(place+"/replaces", "purpose %s: only an unrelated change moves a bit", p.ID)
	}
	for _, j := range c.Jurisdictions {
		if basis, read := p.Basis[j]; read && basis != core.Consent {
			c.fault(place+"/basis/"+j, "purpose %s: replaces bit %d, so it needs fresh consent in %s", p.ID, *p.Replaces, j)
		}
	}
}

// checkCategories: what no purpose may use is not accepted, and what is accepted has a purpose (Art. 5).
func (c *checker) checkCategories() {
	used := core.Technical
	for i := range c.Purposes {
		used = used.Union(c.Purposes[i].Categories)
	}
	for i, x := range c.source.Categories {
		category, ok := core.ParseCategory(x.ID)
		denied, place := x.Ingest == "deny", at("categories", i)+"/ingest"
		switch {
		case !ok: // said already
		case neverPurposed.Has(category) && !denied:
			c.fault(place, "category %s: no purpose may use it, so ingest must be deny", category)
		case !used.Has(category) && !denied:
			c.fault(place, "category %s: no purpose uses it, so ingest must be deny", category)
		case used.Has(category) && denied:
			c.fault(place, "category %s: is denied, but a purpose uses it", category)
		}
	}
}

// covered are the categories that some of the purposes use, with the technical ones.
func (p *Pack) covered(purposes core.PurposeSet) core.CategorySet {
	set := core.Technical
	for i := range p.Purposes {
		if purposes.Has(p.Purposes[i].Bit) {
			set = set.Union(p.Purposes[i].Categories)
		}
	}
	return set
}

func (c *checker) checkProcessors() {
	ids := map[string]bool{}
	for i := range c.Processors {
		x, place := &c.Processors[i], at("processors", i)
		if ids[x.ID] {
			c.fault(place+"/id", "processor %s: named twice", x.ID)
		}
		ids[x.ID] = true
		if !x.Signed.Before(x.Expires) || !x.Reviewed.Before(x.Expires) {
			c.fault(place+"/expires", "processor %s: expires before its contract or its review", x.ID)
		}
		if !c.EffectiveFrom.Before(x.Expires) {
			c.fault(place+"/expires", "processor %s: has expired when the pack takes effect", x.ID)
		}
		if x.Categories&^c.covered(x.Purposes) != 0 {
			c.fault(place+"/categories", "processor %s: is given a category that none of its purposes uses", x.ID)
		}
	}
}

func (c *checker) checkRecipients() {
	ids := map[string]bool{}
	for i := range c.Recipients {
		x, place := &c.Recipients[i], at("recipients", i)
		if _, taken := c.Processor(x.ID); taken || ids[x.ID] {
			c.fault(place+"/id", "recipient %s: named twice", x.ID)
		}
		ids[x.ID] = true
		if x.Sent&^c.covered(x.Purposes) != 0 {
			c.fault(place+"/sent/categories", "recipient %s: is sent a category that none of its purposes uses", x.ID)
		}
		if x.Kind != OwnTag && x.PolicyURL == "" {
			c.fault(place, "recipient %s: no policy_url of the recipient", x.ID)
		}
		c.checkGround(x, place)
	}
}

// checkGround holds a recipient against the item of Art. 8 it invokes.
func (c *checker) checkGround(x *Recipient, place string) {
	if (x.Kind == OwnTag) != (x.Ground == FirstParty) {
		c.fault(place+"/basis", "recipient %s: first_party is the basis of own tags and of nothing else", x.ID)
	}
	if (x.Ground == AnalyticsAdModule) != (x.TreatedAs != "") {
		c.fault(place, "recipient %s: treated_as goes with analytics_ad_module, which the law does not exempt (Art. 8-4)", x.ID)
	}
	switch x.Ground {
	case LegalBasis, Succession, VitalInterest, PublicHealthChild, PublicAuthority:
		if x.Justification == "" {
			c.fault(place, "recipient %s: no justification for %s (Art. 8)", x.ID, x.Ground)
		}
	}
	if (x.Ground == VitalInterest || x.Ground == PublicHealthChild) && !x.ConsentDifficult {
		c.fault(place, "recipient %s: %s needs consent_difficult (Art. 8)", x.ID, x.Ground)
	}
	if x.Effective() == ByConsent {
		for i := range c.Purposes {
			for _, j := range c.Jurisdictions {
				if basis, read := c.Purposes[i].Basis[j]; read && basis != core.Consent && x.Purposes.Has(c.Purposes[i].Bit) {
					c.fault(place+"/purposes", "recipient %s: by consent, but purpose %s does not rest on consent in %s", x.ID, c.Purposes[i].ID, j)
				}
			}
		}
	}
	if !x.entrusted() {
		if x.Processor != "" {
			c.fault(place+"/processor", "recipient %s: a processor, but no entrustment", x.ID)
		}
		if x.Kind != OwnTag && len(x.Hosts) == 0 {
			c.fault(place, "recipient %s: no hosts", x.ID)
		}
		return
	}
	if len(x.Hosts) > 0 {
		c.fault(place+"/hosts", "recipient %s: by entrustment, so its hosts are its processor's", x.ID)
	}
	switch processor, ok := c.Processor(x.Processor); {
	case !ok:
		c.fault(place, "recipient %s: entrustment needs a registered processor (Art. 7-4)", x.ID)
	case x.Sent&^processor.Categories != 0 || x.Purposes&^processor.Purposes != 0:
		c.fault(place+"/processor", "recipient %s: is sent more than processor %s is entrusted with", x.ID, processor.ID)
	}
}

// checkHosts: a host says who answers, so it is named once.
func (c *checker) checkHosts() {
	owner := map[string]string{}
	take := func(place, who string, hosts []string) {
		for i, h := range hosts {
			if other, taken := owner[h]; taken {
				c.fault(place+"/hosts/"+strconv.Itoa(i), "%s: host %s is named by %s", who, h, other)
			}
			owner[h] = who
		}
	}
	for i := range c.Processors {
		take(at("processors", i), "processor "+c.Processors[i].ID, c.Processors[i].Hosts)
	}
	for i := range c.Recipients {
		take(at("recipients", i), "recipient "+c.Recipients[i].ID, c.Recipients[i].Hosts)
	}
}

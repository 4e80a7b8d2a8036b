package tcf

import (
	"strconv"
	"strings"

	"github.com/sekisho/sekisho/internal/policy"
)

// choice is what a string says of something the visitor may choose. The zero choice says nothing.
type choice uint8

const (
	silent choice = iota
	yes
	no
)

// Acts reads the string as choices about the purposes of a pack (Mappings.TCF), on behalf of a vendor of the framework;
// 0 is none: the site itself. It returns purpose ids in the pack's order.
//
//   - A purpose is granted when every TCF purpose and special feature it maps to is consented to, and refused when one of
//     them is not. Consent only: a legitimate interest that nobody objected to grants nothing.
//   - A purpose that maps to nothing, or to special purposes only ("SP1": no choice is offered for them), is neither.
//   - A vendor MUST be disclosed and consented to, and a publisher restriction MUST NOT keep it from the purpose or make it
//     claim legitimate interest; otherwise nothing is granted to it. To refuse a vendor that was disclosed is to refuse
//     what it could be granted.
//   - Purpose 1 under PurposeOneTreatment was never put to the visitor: not granted, and not refused.
//   - A string that does not Validate grants nothing. What it refuses stands: a refusal needs no form.
func Acts(t *TC, pack *policy.Pack, vendor int) (granted, refused []string) {
	_, invalid := t.Validate()
	standing := t.standing(vendor)
	barred := t.barred(vendor)
	for i := range pack.Purposes {
		purpose := &pack.Purposes[i]
		switch said := t.all(purpose.Mappings.TCF, barred); {
		case said == silent:
		case said == no || standing == no:
			refused = append(refused, purpose.ID)
		case standing == yes && invalid == nil:
			granted = append(granted, purpose.ID)
		}
	}
	return granted, refused
}

// standing is what the string says of the vendor itself. Who was not disclosed was not chosen.
func (t *TC) standing(vendor int) choice {
	switch {
	case vendor == 0:
		return yes
	case !t.VendorDisclosed(vendor):
		return silent
	case t.VendorConsent(vendor):
		return yes
	default:
		return no
	}
}

// barred are the purposes for which the publisher keeps the vendor from relying on consent, as bits by purpose.
func (t *TC) barred(vendor int) (purposes uint32) {
	for r := range t.Restrictions() {
		if r.Type != RequireConsent && r.Vendors.Has(vendor) {
			purposes |= 1 << r.Purpose
		}
	}
	return purposes
}

// all joins what the string says of every id: one no is a no, and a yes takes all of them.
func (t *TC) all(ids []string, barred uint32) choice {
	joined := silent
	unsaid := false
	for _, id := range ids {
		if _, special := number(id, "SP", MaxPurpose); special {
			continue
		}
		switch t.one(id, barred) {
		case no:
			return no
		case yes:
			joined = yes
		case silent:
			unsaid = true
		}
	}
	if unsaid {
		return silent
	}
	return joined
}

// one is what the string says of one TCF purpose ("7") or special feature ("SF1"); of an id it does not know, nothing.
func (t *TC) one(id string, barred uint32) choice {
	if n, ok := number(id, "SF", maxSpecialFeature); ok {
		return asked(t.SpecialFeature(n))
	}
	n, ok := number(id, "", MaxPurpose)
	switch {
	case !ok, n == 1 && t.PurposeOneTreatment:
		return silent
	case barred>>n&1 == 1 && t.PurposeConsent(n):
		return silent
	default:
		return asked(t.PurposeConsent(n))
	}
}

func asked(consented bool) choice {
	if consented {
		return yes
	}
	return no
}

// number reads the number after a prefix, written as it is in the framework's lists: no sign, no leading zero.
func number(id, prefix string, highest int) (int, bool) {
	digits, ok := strings.CutPrefix(id, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 1 && n <= highest && strconv.Itoa(n) == digits
}

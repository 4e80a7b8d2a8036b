// Package tcf reads consent strings of the IAB Europe Transparency and Consent Framework (TC strings, versions 2.2 and
// 2.3) and tells what they grant and refuse of a policy's purposes. It is pure: no clock, no store, no I/O.
//
// Parse is strict about form, Validate holds a string against the framework's rules, Acts maps it to purposes and never
// says more than the visitor did. A TC keeps the string and reads it where asked: whatever vendors a string claims,
// reading it takes no memory beyond its own, and time proportional to its length.
//
// The format: IAB Tech Lab, "Transparency and Consent String with Global Vendor & CMP List Formats".
package tcf

import (
	"iter"
	"strings"
	"time"
)

const (
	// MaxLength bounds a string, in bytes. Four vendor sections at their largest (bit fields of 65,535 ids) take
	// 43,700 and leave a third for publisher restrictions; those in use are under 4,096, to fit a cookie.
	MaxLength = 64 << 10

	// MaxVendor is the largest vendor id that the format can spell.
	MaxVendor = 1<<16 - 1

	// MaxPurpose is the largest purpose id that the format can spell; the framework has eleven.
	MaxPurpose = 24

	maxSpecialFeature = 12
)

// TC is a decoded TC string. The values are the string's own: whether they may be relied on is for Validate to say.
type TC struct {
	Created             time.Time
	LastUpdated         time.Time
	CmpID               int
	CmpVersion          int
	ConsentScreen       int
	ConsentLanguage     string // ISO 639-1, upper case
	VendorListVersion   int
	PolicyVersion       int
	ServiceSpecific     bool
	NonStandardTexts    bool
	PurposeOneTreatment bool       // purpose 1 was not disclosed
	PublisherCC         string     // ISO 3166-1 alpha-2
	Publisher           *Publisher // the publisher TC segment; nil when there is none

	specialFeatures uint64
	consents        uint64
	interests       uint64

	vendorConsents  Vendors
	vendorInterests Vendors
	disclosed       segmentVendors
	allowed         segmentVendors
	restrictions    cursor // at NumPubRestrictions
}

// segmentVendors is the set of an optional segment.
type segmentVendors struct {
	Vendors
	present bool
}

// Publisher is the publisher TC segment: the choices about the publisher's own use of data. The published encoder
// writes an empty one whether or not anybody was asked, so an unset bit here is no refusal.
type Publisher struct {
	Custom int // number of custom purposes

	consents        uint64
	interests       uint64
	customConsents  uint64
	customInterests uint64
}

// Restriction is what the publisher demands of some vendors for one purpose.
type Restriction struct {
	Purpose int
	Type    RestrictionType
	Vendors Vendors
}

// RestrictionType is the kind of a publisher restriction, in the format's numbers.
type RestrictionType uint8

// The restriction types; the fourth number is undefined and refused.
const (
	NotAllowed RestrictionType = iota
	RequireConsent
	RequireLegitimateInterest
	numRestrictionTypes
)

// Parse reads a TC string. An error is a Fault.
func Parse(s string) (*TC, error) {
	if len(s) > MaxLength {
		return nil, FaultTooLong
	}
	core, rest, more := strings.Cut(s, ".")
	t := &TC{}
	if err := t.readCore(core); err != nil {
		return nil, err
	}
	for more {
		var segment string
		segment, rest, more = strings.Cut(rest, ".")
		if err := t.readSegment(segment); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *TC) readCore(s string) error {
	c, err := read(s)
	if err != nil {
		return err
	}
	if version := c.uint(6); version != 2 {
		return FaultVersion
	}
	t.Created, t.LastUpdated = c.time(), c.time()
	t.CmpID, t.CmpVersion, t.ConsentScreen = c.int(12), c.int(12), c.int(6)
	t.ConsentLanguage = c.letters()
	t.VendorListVersion, t.PolicyVersion = c.int(12), c.int(6)
	t.ServiceSpecific, t.NonStandardTexts = c.flag(), c.flag()
	t.specialFeatures = c.uint(maxSpecialFeature)
	t.consents, t.interests = c.uint(MaxPurpose), c.uint(MaxPurpose)
	t.PurposeOneTreatment = c.flag()
	t.PublisherCC = c.letters()
	t.vendorConsents = c.vendors()
	t.vendorInterests = c.vendors()
	t.restrictions = *c
	for range c.int(12) {
		if c.restriction(); c.fault != 0 {
			break
		}
	}
	return c.end()
}

// The types of the segments after the core. They tell themselves apart, so they may come in any order.
const (
	segmentDisclosed = 1
	segmentAllowed   = 2
	segmentPublisher = 3
)

func (t *TC) readSegment(s string) error {
	c, err := read(s)
	if err != nil {
		return err
	}
	switch c.uint(3) {
	case segmentDisclosed:
		return t.disclosed.read(c)
	case segmentAllowed:
		return t.allowed.read(c)
	case segmentPublisher:
		if t.Publisher != nil {
			return FaultRepeated
		}
		t.Publisher = &Publisher{consents: c.uint(MaxPurpose), interests: c.uint(MaxPurpose), Custom: c.int(6)}
		t.Publisher.customConsents = c.uint(t.Publisher.Custom)
		t.Publisher.customInterests = c.uint(t.Publisher.Custom)
		return c.end()
	default:
		return FaultSegment
	}
}

func (v *segmentVendors) read(c *cursor) error {
	if v.present {
		return FaultRepeated
	}
	v.Vendors, v.present = c.vendors(), true
	return c.end()
}

// PurposeConsent reports whether the visitor consented to purpose n.
func (t *TC) PurposeConsent(n int) bool { return bit(t.consents, MaxPurpose, n) }

// PurposeLegitimateInterest reports whether purpose n was disclosed as a legitimate interest and not objected to.
func (t *TC) PurposeLegitimateInterest(n int) bool { return bit(t.interests, MaxPurpose, n) }

// SpecialFeature reports whether the visitor opted in to special feature n.
func (t *TC) SpecialFeature(n int) bool { return bit(t.specialFeatures, maxSpecialFeature, n) }

// VendorConsent reports whether the visitor consented to a vendor.
func (t *TC) VendorConsent(id int) bool { return t.vendorConsents.Has(id) }

// VendorLegitimateInterest reports whether a vendor's legitimate interest was disclosed and not objected to.
func (t *TC) VendorLegitimateInterest(id int) bool { return t.vendorInterests.Has(id) }

// HasDisclosedVendors reports whether the string has the disclosed vendors segment, which version 2.3 demands.
func (t *TC) HasDisclosedVendors() bool { return t.disclosed.present }

// VendorDisclosed reports whether the string says that the vendor was shown to the visitor.
func (t *TC) VendorDisclosed(id int) bool { return t.disclosed.Has(id) }

// HasAllowedVendors reports whether the string has the allowed vendors segment, which was withdrawn with version 2.1.
func (t *TC) HasAllowedVendors() bool { return t.allowed.present }

// VendorAllowed reports whether the allowed vendors segment names the vendor.
func (t *TC) VendorAllowed(id int) bool { return t.allowed.Has(id) }

// Restrictions yields the publisher restrictions in the string's order.
func (t *TC) Restrictions() iter.Seq[Restriction] {
	return func(yield func(Restriction) bool) {
		c := t.restrictions
		for range c.int(12) {
			if !yield(c.restriction()) {
				return
			}
		}
	}
}

// Consent reports whether the visitor consented to the publisher's own use of data for purpose n.
func (p *Publisher) Consent(n int) bool { return bit(p.consents, MaxPurpose, n) }

// LegitimateInterest is Consent for legitimate interest.
func (p *Publisher) LegitimateInterest(n int) bool { return bit(p.interests, MaxPurpose, n) }

// CustomConsent reports whether the visitor consented to the publisher's custom purpose n.
func (p *Publisher) CustomConsent(n int) bool { return bit(p.customConsents, p.Custom, n) }

// CustomLegitimateInterest is CustomConsent for legitimate interest.
func (p *Publisher) CustomLegitimateInterest(n int) bool {
	return bit(p.customInterests, p.Custom, n)
}

// bit reports whether bit n of a field is set, counted from 1 and from the left; no bit outside the field is.
func bit(field uint64, width, n int) bool { return n >= 1 && n <= width && field>>(width-n)&1 == 1 }

package tcf

import (
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/policy"
)

// bitString is a segment as it is written, '0' and '1'.
type bitString struct{ strings.Builder }

func (b *bitString) add(width int, v int64) {
	for i := width - 1; i >= 0; i-- {
		b.WriteByte('0' + byte(v>>i&1))
	}
}

func (b *bitString) flag(v bool) {
	if v {
		b.add(1, 1)
	} else {
		b.add(1, 0)
	}
}

func (b *bitString) letters(code string) {
	for _, c := range []byte(code) {
		b.add(6, int64(c-'A'))
	}
}

func within(set []span, id int) bool {
	return slices.ContainsFunc(set, func(s span) bool { return s[0] <= id && id <= s[1] })
}

func highest(set []span) int {
	last := 0
	for _, s := range set {
		last = max(last, s[1])
	}
	return last
}

func (b *bitString) field(width int, set []span) {
	for id := 1; id <= width; id++ {
		b.flag(within(set, id))
	}
}

func (b *bitString) ranges(set []span) {
	b.add(12, int64(len(set)))
	for _, s := range set {
		b.flag(s[0] != s[1])
		b.add(16, int64(s[0]))
		if s[0] != s[1] {
			b.add(16, int64(s[1]))
		}
	}
}

func (b *bitString) vendors(set []span, asRanges bool) {
	asRanges = asRanges && len(set) < 1<<12 // as many as can be counted
	b.add(16, int64(highest(set)))
	b.flag(asRanges)
	if asRanges {
		b.ranges(set)
	} else {
		b.field(highest(set), set)
	}
}

// encode writes the string that d describes, from the specification's table and nothing of the decoder's. Vendor
// sections are ranges or bit fields as asked for, one after another.
func (d *described) encode(asRanges func() bool) string {
	var b bitString
	b.add(6, 2)
	b.add(36, d.Created/100)
	b.add(36, d.LastUpdated/100)
	b.add(12, int64(d.CmpID))
	b.add(12, int64(d.CmpVersion))
	b.add(6, int64(d.ConsentScreen))
	b.letters(d.ConsentLanguage)
	b.add(12, int64(d.VendorListVersion))
	b.add(6, int64(d.PolicyVersion))
	b.flag(d.ServiceSpecific)
	b.flag(d.NonStandardTexts)
	b.field(12, d.SpecialFeatures)
	b.field(24, d.Consents)
	b.field(24, d.Interests)
	b.flag(d.PurposeOne)
	b.letters(d.PublisherCC)
	b.vendors(d.VendorConsents, asRanges())
	b.vendors(d.VendorInterests, asRanges())
	b.add(12, int64(len(d.Restrictions)))
	for _, r := range d.Restrictions {
		b.add(6, int64(r.Purpose))
		b.add(2, int64(r.Type))
		b.ranges(r.Vendors)
	}
	parts := []string{fromBits(b.String())}
	for _, segment := range d.Segments {
		var b bitString
		b.add(3, int64(segment))
		switch segment {
		case segmentDisclosed:
			b.vendors(d.Disclosed, asRanges())
		case segmentAllowed:
			b.vendors(d.Allowed, asRanges())
		case segmentPublisher:
			b.field(24, d.PublisherConsents)
			b.field(24, d.PublisherInterests)
			b.add(6, int64(d.Custom))
			b.field(d.Custom, d.CustomConsents)
			b.field(d.Custom, d.CustomInterests)
		}
		parts = append(parts, fromBits(b.String()))
	}
	return strings.Join(parts, ".")
}

func genSpans(last int) *rapid.Generator[[]span] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) span {
		first := rapid.IntRange(1, last).Draw(t, "first")
		return span{first, min(last, first+rapid.IntRange(0, 9).Draw(t, "more"))}
	}), 0, 5)
}

func genVendors() *rapid.Generator[[]span] {
	return rapid.OneOf(genSpans(12), genSpans(300), genSpans(MaxVendor))
}

func genTime() *rapid.Generator[int64] {
	change := disclosureFrom.UnixMilli() / 100
	return rapid.Map(rapid.OneOf(rapid.Int64Range(0, 1<<36-1), rapid.Int64Range(change-2, change+2)), func(tenths int64) int64 { return tenths * 100 })
}

func genDescribed() *rapid.Generator[described] {
	return rapid.Custom(func(t *rapid.T) described {
		letters := rapid.StringOfN(rapid.RuneFrom([]rune("ABCDEFGHIJKLMNOPQRSTUVWXYZ")), 2, 2, -1)
		d := described{
			Created: genTime().Draw(t, "created"), LastUpdated: genTime().Draw(t, "updated"), CmpID: rapid.IntRange(0, 4095).Draw(t, "cmp"),
			CmpVersion: rapid.IntRange(0, 4095).Draw(t, "cmp version"), ConsentScreen: rapid.IntRange(0, 63).Draw(t, "screen"),
			ConsentLanguage: letters.Draw(t, "language"), VendorListVersion: rapid.IntRange(0, 4095).Draw(t, "list"),
			PolicyVersion: rapid.SampledFrom([]int{4, 5, 5, 5, 3, 6, 63}).Draw(t, "policy"), ServiceSpecific: rapid.IntRange(0, 9).Draw(t, "scope") > 0,
			NonStandardTexts: rapid.Bool().Draw(t, "texts"), PurposeOne: rapid.Bool().Draw(t, "purpose one"), PublisherCC: letters.Draw(t, "country"),
			SpecialFeatures: genSpans(12).Draw(t, "features"), Consents: genSpans(24).Draw(t, "consents"),
			VendorConsents: genVendors().Draw(t, "vendor consents"), VendorInterests: genVendors().Draw(t, "vendor interests"),
			Segments: rapid.Permutation([]int{1, 2, 3}).Draw(t, "order")[:rapid.IntRange(0, 3).Draw(t, "segments")],
		}
		if rapid.Bool().Draw(t, "made at once") {
			d.LastUpdated = d.Created
		}
		if rapid.IntRange(0, 3).Draw(t, "interests") == 0 {
			d.Interests = genSpans(24).Draw(t, "purpose interests")
		}
		for range rapid.IntRange(0, 3).Draw(t, "restrictions") {
			d.Restrictions = append(d.Restrictions, describedRestriction{
				rapid.IntRange(1, 24).Draw(t, "purpose"), RestrictionType(rapid.IntRange(0, 2).Draw(t, "type")), genVendors().Draw(t, "vendors"),
			})
		}
		for _, segment := range d.Segments {
			switch segment {
			case segmentDisclosed:
				d.Disclosed = genVendors().Draw(t, "disclosed")
			case segmentAllowed:
				d.Allowed = genVendors().Draw(t, "allowed")
			case segmentPublisher:
				d.PublisherConsents, d.PublisherInterests = genSpans(24).Draw(t, "publisher"), genSpans(24).Draw(t, "publisher interests")
				if d.Custom = rapid.IntRange(0, 63).Draw(t, "custom"); d.Custom > 0 {
					d.CustomConsents, d.CustomInterests = genSpans(d.Custom).Draw(t, "custom consents"), genSpans(d.Custom).Draw(t, "custom interests")
				}
			}
		}
		return d
	})
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := genDescribed().Draw(t, "described")
		got, err := Parse(d.encode(func() bool { return rapid.Bool().Draw(t, "as ranges") }))
		if err != nil {
			t.Fatal(err)
		}
		compare(t, got, &d)
	})
}

var genIDs = rapid.SliceOfN(rapid.SampledFrom([]string{
	"1", "2", "3", "7", "7", "8", "9", "10", "24", "25", "0", "07", "+7", "-7", "7 ", "", "SP1", "SP2", "SP0", "SP", "sp1", "SF1", "SF2", "SF13", "SF", "F1", "７",
}), 0, 3)

func genPack() *rapid.Generator[*policy.Pack] {
	return rapid.Custom(func(t *rapid.T) *policy.Pack {
		var p policy.Pack
		for i := range rapid.IntRange(1, 6).Draw(t, "purposes") {
			p.Purposes = append(p.Purposes, policy.Purpose{ID: "p" + strconv.Itoa(i), Mappings: policy.Mappings{TCF: genIDs.Draw(t, "tcf")}})
		}
		return &p
	})
}

// consented says whether a described string consents to a TCF id, the long way round.
func consented(d *described, id string) bool {
	for n := 1; n <= 24; n++ {
		if id == strconv.Itoa(n) {
			return within(d.Consents, n)
		}
		if n <= 12 && id == "SF"+strconv.Itoa(n) {
			return within(d.SpecialFeatures, n)
		}
	}
	return false
}

func TestActsNeverWiden(t *testing.T) {
	var grants, refusals int
	rapid.Check(t, func(t *rapid.T) {
		d := genDescribed().Draw(t, "described")
		if rapid.Bool().Draw(t, "generous") { // so that grants are common enough to be tested
			d.Consents, d.ServiceSpecific, d.PolicyVersion, d.Interests, d.Segments = []span{{1, 24}}, true, 5, nil, []int{1}
			d.LastUpdated = d.Created
			d.VendorConsents, d.Disclosed = append(d.VendorConsents, span{1, 9}), append(d.Disclosed, span{3, 12})
		}
		pack := genPack().Draw(t, "pack")
		vendor := rapid.SampledFrom([]int{0, 1, 2, 3, 5, 9, 10, 12, 13, 65535, 65536, -1}).Draw(t, "vendor")
		read := func() *TC {
			tc, err := Parse(d.encode(func() bool { return false }))
			if err != nil {
				t.Fatal(err)
			}
			return tc
		}
		tc := read()
		granted, refused := Acts(tc, pack, vendor)
		grants, refusals = grants+len(granted), refusals+len(refused)

		_, invalid := tc.Validate()
		for _, purpose := range pack.Purposes {
			grant, refusal := slices.Contains(granted, purpose.ID), slices.Contains(refused, purpose.ID)
			if grant && refusal {
				t.Fatalf("%s is granted and refused", purpose.ID)
			}
			offered := slices.DeleteFunc(slices.Clone(purpose.Mappings.TCF), func(id string) bool { return id == "SP1" || id == "SP2" })
			if len(offered) == 0 && (grant || refusal) {
				t.Fatalf("%s: no choice was offered", purpose.ID)
			}
			if !grant {
				continue
			}
			if invalid != nil {
				t.Fatalf("%s is granted by an invalid string", purpose.ID)
			}
			for _, id := range offered {
				if !consented(&d, id) {
					t.Fatalf("%s is granted without consent to %q", purpose.ID, id)
				}
				for _, r := range d.Restrictions {
					if vendor != 0 && id == strconv.Itoa(r.Purpose) && r.Type != RequireConsent && within(r.Vendors, vendor) {
						t.Fatalf("%s is granted against a restriction", purpose.ID)
					}
				}
			}
			if vendor != 0 && (!within(d.VendorConsents, vendor) || !within(d.Disclosed, vendor)) {
				t.Fatalf("%s is granted to vendor %d", purpose.ID, vendor)
			}
		}

		// Taking anything away grants nothing more.
		switch rapid.IntRange(0, 7).Draw(t, "take away") {
		case 0:
			d.Consents = d.Consents[:len(d.Consents)/2]
		case 1:
			d.SpecialFeatures = nil
		case 2:
			d.VendorConsents = d.VendorConsents[:len(d.VendorConsents)/2]
		case 3:
			d.Disclosed = d.Disclosed[:len(d.Disclosed)/2]
		case 4:
			d.Restrictions = append(d.Restrictions, describedRestriction{rapid.IntRange(1, 24).Draw(t, "purpose"), NotAllowed, []span{{1, MaxVendor}}})
		case 5:
			d.ServiceSpecific = false
		case 6:
			d.PolicyVersion = 3
		case 7:
			d.Segments = nil
		}
		less, _ := Acts(read(), pack, vendor)
		for _, id := range less {
			if !slices.Contains(granted, id) {
				t.Fatalf("%s is granted by less", id)
			}
		}
	})
	if grants == 0 || refusals == 0 {
		t.Errorf("%d grants and %d refusals: nothing was tested", grants, refusals)
	}
}

// describe reads everything there is to read of a string.
func describe(tc *TC) described {
	set := func(v Vendors) (out []span) {
		if !v.inRange {
			for id := 1; id <= v.size; id++ {
				if v.Has(id) {
					out = append(out, span{id, id})
				}
			}
			return out
		}
		c := cursor{digits: v.digits, at: v.at}
		for range v.size {
			first, last := c.vendorRange()
			out = append(out, span{first, last})
		}
		return out
	}
	field := func(width int, has func(int) bool) (out []span) {
		for n := 1; n <= width; n++ {
			if has(n) {
				out = append(out, span{n, n})
			}
		}
		return out
	}
	d := described{
		Created: tc.Created.UnixMilli(), LastUpdated: tc.LastUpdated.UnixMilli(), CmpID: tc.CmpID, CmpVersion: tc.CmpVersion, ConsentScreen: tc.ConsentScreen,
		ConsentLanguage: tc.ConsentLanguage, VendorListVersion: tc.VendorListVersion, PolicyVersion: tc.PolicyVersion, ServiceSpecific: tc.ServiceSpecific,
		NonStandardTexts: tc.NonStandardTexts, PurposeOne: tc.PurposeOneTreatment, PublisherCC: tc.PublisherCC,
		SpecialFeatures: field(12, tc.SpecialFeature), Consents: field(24, tc.PurposeConsent), Interests: field(24, tc.PurposeLegitimateInterest),
		VendorConsents: set(tc.vendorConsents), VendorInterests: set(tc.vendorInterests), Disclosed: set(tc.disclosed.Vendors), Allowed: set(tc.allowed.Vendors),
	}
	for r := range tc.Restrictions() {
		d.Restrictions = append(d.Restrictions, describedRestriction{r.Purpose, r.Type, set(r.Vendors)})
	}
	if tc.HasDisclosedVendors() {
		d.Segments = append(d.Segments, segmentDisclosed)
	}
	if tc.HasAllowedVendors() {
		d.Segments = append(d.Segments, segmentAllowed)
	}
	if p := tc.Publisher; p != nil {
		d.Segments = append(d.Segments, segmentPublisher)
		d.Custom = p.Custom
		d.PublisherConsents, d.PublisherInterests = field(24, p.Consent), field(24, p.LegitimateInterest)
		d.CustomConsents, d.CustomInterests = field(p.Custom, p.CustomConsent), field(p.Custom, p.CustomLegitimateInterest)
	}
	return d
}

// Any string is read or refused with a fault of the list, soon and without a panic; what was read and is written again
// reads the same.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"encoded.json", "encoded-java.json"} {
		for _, d := range readDescribed(f, file) {
			if len(d.String) < 400 {
				f.Add(d.String)
			}
		}
	}
	f.Add("BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA")
	f.Add(fromBits(handHead(), "1111111111111111 1 111111111111"))
	f.Add("CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgACPAAAAA.IDKQA4AAgAKAGQAygAAA.YAAAAAAAAAAA")
	r, err := policy.Builtin()
	if err != nil {
		f.Fatal(err)
	}
	pack, _ := r.At("default", time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC))
	f.Fuzz(func(t *testing.T, s string) {
		tc, err := Parse(s)
		if err != nil {
			var fault Fault
			if tc != nil || !errors.As(err, &fault) || fault.String() == "" {
				t.Fatalf("%v is no fault", err)
			}
			return
		}
		d := describe(tc)
		again, err := Parse(d.encode(func() bool { return true }))
		switch {
		case errors.Is(err, FaultTooLong): // ranges of single ids take more than a bit field
		case err != nil:
			t.Fatal(err)
		default:
			if twice := describe(again); !reflect.DeepEqual(d, twice) {
				t.Fatalf("%+v\nis read again as\n%+v", d, twice)
			}
		}
		granted, refused := Acts(tc, pack, 5)
		if _, invalid := tc.Validate(); invalid != nil && len(granted) > 0 {
			t.Fatalf("granted by an invalid string: %v", granted)
		}
		for _, id := range granted {
			if slices.Contains(refused, id) || !tc.VendorConsent(5) || !tc.VendorDisclosed(5) {
				t.Fatalf("%s is granted", id)
			}
		}
	})
}

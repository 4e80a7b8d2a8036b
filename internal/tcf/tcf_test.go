package tcf

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// span is the ids from the first to the last.
type span [2]int

// described is a string with what its encoder's own decoder says of it (testdata).
type described struct {
	Name               string                 `json:"name"`
	String             string                 `json:"string"`
	Segments           []int                  `json:"segments"`
	Created            int64                  `json:"created"`      // milliseconds
	LastUpdated        int64                  `json:"last_updated"` // milliseconds
	CmpID              int                    `json:"cmp_id"`
	CmpVersion         int                    `json:"cmp_version"`
	ConsentScreen      int                    `json:"consent_screen"`
	ConsentLanguage    string                 `json:"consent_language"`
	VendorListVersion  int                    `json:"vendor_list_version"`
	PolicyVersion      int                    `json:"policy_version"`
	ServiceSpecific    bool                   `json:"service_specific"`
	NonStandardTexts   bool                   `json:"non_standard_texts"`
	PurposeOne         bool                   `json:"purpose_one_treatment"`
	PublisherCC        string                 `json:"publisher_cc"`
	SpecialFeatures    []span                 `json:"special_features"`
	Consents           []span                 `json:"purpose_consents"`
	Interests          []span                 `json:"purpose_interests"`
	VendorConsents     []span                 `json:"vendor_consents"`
	VendorInterests    []span                 `json:"vendor_interests"`
	Disclosed          []span                 `json:"disclosed"`
	Allowed            []span                 `json:"allowed"`
	Restrictions       []describedRestriction `json:"restrictions"`
	PublisherConsents  []span                 `json:"publisher_consents"`
	PublisherInterests []span                 `json:"publisher_interests"`
	Custom             int                    `json:"custom"`
	CustomConsents     []span                 `json:"custom_consents"`
	CustomInterests    []span                 `json:"custom_interests"`
}

type describedRestriction struct {
	Purpose int             `json:"purpose"`
	Type    RestrictionType `json:"type"`
	Vendors []span          `json:"vendors"`
}

// reporter is what a test and a property have in common.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// sameSet asks a set for every id up to a good way beyond the last, and for the ends of the format.
func sameSet(t reporter, what string, has func(int) bool, want []span) {
	t.Helper()
	last := 0
	for _, s := range want {
		last = max(last, s[1])
	}
	ask := func(id int) {
		in := slices.ContainsFunc(want, func(s span) bool { return s[0] <= id && id <= s[1] })
		if has(id) != in {
			t.Errorf("%s: id %d is %t, want %t", what, id, !in, in)
		}
	}
	for id := -1; id <= min(last, 2300)+70; id++ {
		ask(id)
	}
	for _, id := range []int{65533, 65534, 65535, 65536, 1 << 40} {
		ask(id)
	}
}

func same[T comparable](t reporter, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func readDescribed(t testing.TB, file string) []described {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all []described
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestStringsOfThePublishedEncodersAreReadAsTheirDecodersReadThem(t *testing.T) {
	for file, atLeast := range map[string]int{"encoded.json": 100, "encoded-java.json": 50} {
		all := readDescribed(t, file)
		if len(all) < atLeast {
			t.Fatalf("%s has %d strings", file, len(all))
		}
		for _, want := range all {
			t.Run(file+"/"+want.Name, func(t *testing.T) {
				got, err := Parse(want.String)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, got, &want)
			})
		}
	}
}

func compare(t reporter, got *TC, want *described) {
	t.Helper()
	same(t, "Created", got.Created.UnixMilli(), want.Created)
	same(t, "LastUpdated", got.LastUpdated.UnixMilli(), want.LastUpdated)
	same(t, "CmpID", got.CmpID, want.CmpID)
	same(t, "CmpVersion", got.CmpVersion, want.CmpVersion)
	same(t, "ConsentScreen", got.ConsentScreen, want.ConsentScreen)
	same(t, "ConsentLanguage", got.ConsentLanguage, want.ConsentLanguage)
	same(t, "VendorListVersion", got.VendorListVersion, want.VendorListVersion)
	same(t, "PolicyVersion", got.PolicyVersion, want.PolicyVersion)
	same(t, "ServiceSpecific", got.ServiceSpecific, want.ServiceSpecific)
	same(t, "NonStandardTexts", got.NonStandardTexts, want.NonStandardTexts)
	same(t, "PurposeOneTreatment", got.PurposeOneTreatment, want.PurposeOne)
	same(t, "PublisherCC", got.PublisherCC, want.PublisherCC)
	sameSet(t, "SpecialFeature", got.SpecialFeature, want.SpecialFeatures)
	sameSet(t, "PurposeConsent", got.PurposeConsent, want.Consents)
	sameSet(t, "PurposeLegitimateInterest", got.PurposeLegitimateInterest, want.Interests)
	sameSet(t, "VendorConsent", got.VendorConsent, want.VendorConsents)
	sameSet(t, "VendorLegitimateInterest", got.VendorLegitimateInterest, want.VendorInterests)
	same(t, "HasDisclosedVendors", got.HasDisclosedVendors(), slices.Contains(want.Segments, segmentDisclosed))
	sameSet(t, "VendorDisclosed", got.VendorDisclosed, want.Disclosed)
	same(t, "HasAllowedVendors", got.HasAllowedVendors(), slices.Contains(want.Segments, segmentAllowed))
	sameSet(t, "VendorAllowed", got.VendorAllowed, want.Allowed)
	restrictions := slices.Collect(got.Restrictions())
	if len(restrictions) != len(want.Restrictions) {
		t.Fatalf("%d restrictions, want %d", len(restrictions), len(want.Restrictions))
	}
	for i, r := range restrictions {
		same(t, "Purpose of a restriction", r.Purpose, want.Restrictions[i].Purpose)
		same(t, "Type of a restriction", r.Type, want.Restrictions[i].Type)
		sameSet(t, "Vendors of a restriction", r.Vendors.Has, want.Restrictions[i].Vendors)
	}
	if !slices.Contains(want.Segments, segmentPublisher) {
		same(t, "Publisher", got.Publisher, nil)
		return
	}
	sameSet(t, "Consent of the publisher", got.Publisher.Consent, want.PublisherConsents)
	sameSet(t, "LegitimateInterest of the publisher", got.Publisher.LegitimateInterest, want.PublisherInterests)
	same(t, "Custom", got.Publisher.Custom, want.Custom)
	sameSet(t, "CustomConsent", got.Publisher.CustomConsent, want.CustomConsents)
	sameSet(t, "CustomLegitimateInterest", got.Publisher.CustomLegitimateInterest, want.CustomInterests)
}

// The examples of the specification, with what other readers publish of them.
func TestTheExamplesOfTheSpecificationAreRead(t *testing.T) {
	disclosed := []span{
		{2, 2},
		{6, 6},
		{8, 9},
		{12, 12},
		{15, 15},
		{18, 18},
		{23, 23},
		{37, 37},
		{42, 42},
		{47, 48},
		{53, 53},
		{61, 61},
		{65, 66},
		{68, 68},
		{72, 72},
		{80, 80},
		{88, 90},
		{93, 93},
		{98, 98},
		{100, 100},
		{126, 129},
		{133, 133},
		{153, 153},
		{163, 163},
		{167, 167},
		{174, 174},
		{177, 177},
		{192, 192},
		{205, 205},
		{215, 215},
		{224, 224},
		{228, 228},
		{243, 243},
		{248, 248},
		{262, 262},
		{281, 281},
		{294, 294},
		{302, 302},
		{304, 304},
		{314, 314},
		{325, 325},
		{350, 351},
		{358, 358},
		{371, 371},
		{402, 402},
		{415, 415},
		{422, 422},
		{424, 424},
		{439, 440},
		{447, 447},
		{450, 450},
		{467, 467},
		{486, 486},
		{491, 491},
		{495, 495},
		{498, 498},
		{502, 502},
		{512, 512},
		{516, 516},
		{553, 554},
		{556, 556},
		{571, 571},
		{587, 587},
		{593, 593},
		{607, 607},
		{612, 613},
		{618, 618},
		{626, 626},
		{628, 628},
		{648, 648},
		{652, 653},
		{656, 657},
		{659, 659},
		{665, 665},
		{676, 676},
		{681, 681},
		{683, 684},
		{686, 688},
		{690, 691},
		{694, 694},
		{699, 699},
		{702, 703},
		{707, 708},
		{711, 712},
		{714, 714},
		{716, 716},
		{719, 720},
		{722, 723},
		{725, 726},
		{729, 729},
		{733, 733},
	}
	const core = "COw4XqLOw4XqLAAAAAENAXCAAAAAAAAAAAAAAAAAAAAA"
	const vendors = "FukWSQgAIQwgI0QEByFAAAAeIAACAIgSAAQAIAgEQACEABAAAgAQFAEAIAAAGBAAgAAAAQAIFAAMCQAAgAAQiRAEQAAAAANAAIAAggAIYQFAAARmggBC3ZCYzU2yIA"
	const publisher = "YAAAAAAAAAAAAAAAAAA"
	at := time.Date(2020, time.March, 26, 18, 21, 27, 5e8, time.UTC).UnixMilli()
	all := described{
		Segments: []int{1, 2, 3}, Created: at, LastUpdated: at, ConsentLanguage: "EN", VendorListVersion: 23, PolicyVersion: 2, PublisherCC: "AA",
		Disclosed: disclosed, Allowed: disclosed,
	}
	day := time.Date(2025, time.June, 3, 0, 0, 0, 0, time.UTC).UnixMilli()
	for name, example := range map[string]struct {
		s    string
		want described
	}{
		"all four segments":      {strings.Join([]string{core, "I" + vendors, "Q" + vendors, publisher}, "."), all},
		"segments in any order":  {strings.Join([]string{core, publisher, "Q" + vendors, "I" + vendors}, "."), all},
		"the example of 2.3":     {"CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgACPAAAAA.IDKQA4AAgAKAGQAygAAA.YAAAAAAAAAAA", described{Segments: []int{1, 3}, Created: day, LastUpdated: day, CmpID: 880, ConsentLanguage: "EN", VendorListVersion: 48, PolicyVersion: 2, ServiceSpecific: true, PublisherCC: "DE", VendorConsents: []span{{1, 4}}, Disclosed: []span{{1, 5}, {100, 100}, {404, 404}}}},
		"a core and its vendors": {"COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA", described{Created: 1582243059300, LastUpdated: 1582243059300, CmpID: 27, ConsentLanguage: "EN", VendorListVersion: 15, PolicyVersion: 2, PublisherCC: "AA", Consents: []span{{1, 3}}, VendorConsents: []span{{2, 2}, {6, 6}, {8, 8}}, VendorInterests: []span{{2, 2}, {6, 6}, {8, 8}}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(example.s)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, got, &example.want)
		})
	}
}

// fromBits spells a segment from bits written by hand; anything else in them is for the eye.
func fromBits(written ...string) string {
	var digits []byte
	for _, c := range strings.Join(written, "") {
		if c == '0' || c == '1' {
			digits = append(digits, byte(c)-'0')
		}
	}
	for len(digits)%8 != 0 {
		digits = append(digits, 0)
	}
	raw := make([]byte, len(digits)/8)
	for i, bit := range digits {
		raw[i/8] |= bit << (7 - i%8)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// Bits written by hand from the specification's table. 17,798,400,000 tenths of a second are 2026-05-27.
const (
	handVersion        = "000010"
	handCreated        = "010000100100110111100000100000000000"
	handUpdated        = "010000100100110111100000100000000001"
	handCmp            = "000100101100 000000000101 000011" // 300, 5, screen 3
	handLanguage       = "001001 000000"                    // JA
	handList           = "000010000000"                     // 128
	handPolicy         = "000101"                           // 5
	handFlags          = "1 0"                              // service-specific, standard texts
	handFeatures       = "010000000000"                     // special feature 2
	handConsents       = "1000001000 0000000000 0001"       // purposes 1, 7, 24
	handInterests      = "0100000000 0000000000 0000"       // purpose 2
	handCountry        = "0 001001 001111"                  // purpose one as usual, JP
	handField          = "0000000000000101 0 10001"         // a bit field to 5: vendors 1 and 5
	handRanges         = "0000000000010100 1 000000000010"  // ranges to 20, two entries
	handEntries        = "0 0000000000000011" + "1 0000000000001000 0000000000010100"
	handNoRestrictions = "000000000000"
)

func handHead() string {
	return handVersion + handCreated + handUpdated + handCmp + handLanguage + handList + handPolicy + handFlags + handFeatures + handConsents + handInterests + handCountry
}

func TestBitsWrittenByHandAreRead(t *testing.T) {
	core := fromBits(handHead(), handField, handRanges, handEntries,
		"000000000001",                       // one restriction:
		"000111 01",                          // purpose 7 requires consent
		"000000000001", "0 0000000000001001") // of vendor 9
	disclosed := fromBits("001", "0000000000000011 0 011")
	publisher := fromBits("011", handConsents, handInterests, "000011", "101", "010")
	got, err := Parse(core + "." + disclosed + "." + publisher)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, got, &described{
		Segments: []int{1, 3}, Created: 1779840000000, LastUpdated: 1779840000100, CmpID: 300, CmpVersion: 5, ConsentScreen: 3, ConsentLanguage: "JA", VendorListVersion: 128,
		PolicyVersion: 5, ServiceSpecific: true, PublisherCC: "JP", SpecialFeatures: []span{{2, 2}}, Consents: []span{{1, 1}, {7, 7}, {24, 24}}, Interests: []span{{2, 2}},
		VendorConsents: []span{{1, 1}, {5, 5}}, VendorInterests: []span{{3, 3}, {8, 20}}, Disclosed: []span{{2, 3}},
		Restrictions:      []describedRestriction{{7, RequireConsent, []span{{9, 9}}}},
		PublisherConsents: []span{{1, 1}, {7, 7}, {24, 24}}, PublisherInterests: []span{{2, 2}}, Custom: 3, CustomConsents: []span{{1, 1}, {3, 3}}, CustomInterests: []span{{2, 2}},
	})
}

func TestAFaultyStringIsRefused(t *testing.T) {
	core := fromBits(handHead(), handField, handField, handNoRestrictions)
	disclosed := fromBits("001", handField)
	if _, err := Parse(core + "." + disclosed); err != nil {
		t.Fatal(err)
	}
	replace := func(old, replacement string) string {
		changed := strings.Replace(handHead(), old, replacement, 1)
		if changed == handHead() {
			t.Fatal("the fault was not made")
		}
		return fromBits(changed, handField, handField, handNoRestrictions)
	}
	field := func(section string) string { return fromBits(handHead(), section, handField, handNoRestrictions) }
	restricted := func(s string) string { return fromBits(handHead(), handField, handField, "000000000001", s) }
	for name, c := range map[string]struct {
		s    string
		want Fault
	}{
		"empty":                               {"", FaultEncoding},
		"a dot":                               {".", FaultEncoding},
		"no core":                             {"." + disclosed, FaultEncoding},
		"nothing after the dot":               {core + ".", FaultEncoding},
		"nothing between dots":                {core + ".." + disclosed, FaultEncoding},
		"padded":                              {core + "=", FaultEncoding},
		"standard base64":                     {"+" + core[1:], FaultEncoding},
		"a space before":                      {" " + core, FaultEncoding},
		"a line break after":                  {core + "\n", FaultEncoding},
		"beyond ASCII":                        {"Ｃ" + core[1:], FaultEncoding},
		"a digit too many for bytes":          {"CAAAA", FaultEncoding},
		"too long by one":                     {core + strings.Repeat("A", MaxLength-len(core)+1), FaultTooLong},
		"version 1, with a string of its own": {"BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA", FaultVersion},
		"version 3":                           {replace(handVersion, "000011"), FaultVersion},
		"a header of the Global Privacy Platform": {"DBABMA~" + core, FaultEncoding},
		"the first digit alone":                   {"CA", FaultShort},
		"a core cut in its vendors":               {core[:len(core)-6], FaultShort},
		"a language beyond Z":                     {replace(handLanguage, "001001 011010"), FaultLetters},
		"a country beyond Z":                      {replace("001001 001111", "111111 001111"), FaultLetters},
		"a bit field that is not there":           {fromBits(handHead(), "1111111111111111 0 1"), FaultShort},
		"ranges that are not there":               {fromBits(handHead(), "1111111111111111 1 111111111111", "0 0000000000000001"), FaultShort},
		"vendor 0":                                {field("0000000000010100 1 000000000001 0 0000000000000000"), FaultVendor},
		"a range from vendor 0":                   {field("0000000000010100 1 000000000001 1 0000000000000000 0000000000000001"), FaultVendor},
		"a range that runs backwards":             {field("0000000000010100 1 000000000001 1 0000000000000011 0000000000000010"), FaultVendor},
		"a range beyond the highest":              {field("0000000000010100 1 000000000001 1 0000000000000011 0000000000010101"), FaultVendor},
		"a vendor beyond the highest":             {field("0000000000010100 1 000000000001 0 0000000000010101"), FaultVendor},
		"restrictions that are not there":         {fromBits(handHead(), handField, handField, "111111111111"), FaultShort},
		"a restriction of purpose 0":              {restricted("000000 01 000000000000"), FaultRestriction},
		"a restriction of purpose 25":             {restricted("011001 01 000000000000"), FaultRestriction},
		"a restriction of the fourth type":        {restricted("000111 11 000000000000"), FaultRestriction},
		"a restriction of vendor 0":               {restricted("000111 01 000000000001 0 0000000000000000"), FaultVendor},
		"a restriction cut short":                 {restricted("000111 01 000000000010 0 0000000000000001 1 00"), FaultShort},
		"a bit after the core":                    {fromBits(handHead(), handField, handField, handNoRestrictions, "000001"), FaultTrailing},
		"digits after the core":                   {core + "AAAB", FaultTrailing},
		"a bit after the disclosed vendors":       {core + "." + fromBits("001", handField, "01"), FaultTrailing},
		"a bit after the publisher":               {core + "." + fromBits("011", handConsents, handInterests, "000001 1 1 1"), FaultTrailing},
		"two cores":                               {core + "." + core, FaultSegment},
		"a segment of type 4":                     {core + "." + fromBits("100", handField), FaultSegment},
		"a segment of type 7":                     {core + ".____", FaultSegment},
		"disclosed vendors first":                 {disclosed + "." + core, FaultVersion},
		"disclosed vendors twice":                 {core + "." + disclosed + "." + disclosed, FaultRepeated},
		"allowed vendors twice":                   {core + "." + fromBits("010", handField) + "." + fromBits("010", handField), FaultRepeated},
		"publisher twice":                         {core + ".YAAAAAAAAAAA.YAAAAAAAAAAA", FaultRepeated},
		"disclosed vendors cut short":             {core + ".IA", FaultShort},
		"publisher cut short":                     {core + ".YAAAAAAA", FaultShort},
		"custom purposes that are not there":      {core + "." + fromBits("011", handConsents, handInterests, "111111", "1"), FaultShort},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(c.s)
			var fault Fault
			if got != nil || !errors.As(err, &fault) || fault != c.want {
				t.Fatalf("%v, %v; want %v", got, err, c.want)
			}
			if fault.String() == "" || fault.Error() == "" {
				t.Error("the fault says nothing")
			}
		})
	}
}

func TestALaterBitOfZeroChangesNothing(t *testing.T) {
	core := fromBits(handHead(), handField, handField, handNoRestrictions)
	plain, err := Parse(core)
	if err != nil {
		t.Fatal(err)
	}
	filled, err := Parse(core + strings.Repeat("A", MaxLength-len(core))) // as long as may be
	if err != nil {
		t.Fatal(err)
	}
	same(t, "Created", filled.Created, plain.Created)
	sameSet(t, "VendorLegitimateInterest", filled.VendorLegitimateInterest, []span{{1, 1}, {5, 5}})
}

func TestRangesMayOverlapAndComeInAnyOrder(t *testing.T) {
	tc, err := Parse(fromBits(handHead(), "0000000000010100 1 000000000011",
		"0 0000000000010100", "1 0000000000000101 0000000000001001", "1 0000000000000100 0000000000000101", handField, handNoRestrictions))
	if err != nil {
		t.Fatal(err)
	}
	sameSet(t, "VendorConsent", tc.VendorConsent, []span{{4, 9}, {20, 20}})
}

func TestValidateTellsWhichRulesHold(t *testing.T) {
	head := func(created, updated time.Time) string {
		var b bitString
		b.add(36, created.UnixMilli()/100)
		b.add(36, updated.UnixMilli()/100)
		return handVersion + b.String() + strings.TrimPrefix(handHead(), handVersion+handCreated+handUpdated)
	}
	before := time.Date(2026, time.February, 28, 23, 59, 59, 9e8, time.UTC)
	from := time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)
	made := func(head string, segments ...string) string {
		return strings.Join(append([]string{fromBits(head, handField, handField, handNoRestrictions)}, segments...), ".")
	}
	disclosed := fromBits("001", handField)
	change := func(old, replacement string) string { return strings.Replace(head(from, from), old, replacement, 1) }
	for name, c := range map[string]struct {
		s      string
		rules  Rules
		faults []Fault
	}{
		"the last moment without the segment": {made(head(before, before)), Rules22, nil},
		"the segment before it was needed":    {made(head(before, before), disclosed), Rules23, nil},
		"the first moment without it":         {made(head(from, from)), Rules23, []Fault{FaultUndisclosed}},
		"the first moment with it":            {made(head(from, from), disclosed), Rules23, nil},
		"updated after the change":            {made(head(before, from)), Rules23, []Fault{FaultUndisclosed}},
		"updated before it was created":       {made(head(from, before), disclosed), Rules23, []Fault{FaultTimes}},
		"other segments do not stand in":      {made(head(from, from), fromBits("010", handField), "YAAAAAAAAAAA"), Rules23, []Fault{FaultUndisclosed}},
		"policy version 3":                    {made(change(handList+handPolicy, handList+"000011"), disclosed), Rules23, []Fault{FaultPolicy}},
		"policy version 4":                    {made(change(handList+handPolicy, handList+"000100"), disclosed), Rules23, nil},
		"policy version 6":                    {made(change(handList+handPolicy, handList+"000110"), disclosed), Rules23, []Fault{FaultPolicy}},
		"global scope":                        {made(change(handPolicy+handFlags, handPolicy+"0 0"), disclosed), Rules23, []Fault{FaultScope}},
		"legitimate interest for purpose 3":   {made(change(handInterests, "0010000000 0000000000 0000"), disclosed), Rules23, []Fault{FaultInterest}},
		"legitimate interest for purpose 6":   {made(change(handInterests, "0000010000 0000000000 0000"), disclosed), Rules23, []Fault{FaultInterest}},
		"legitimate interest for purpose 7":   {made(change(handInterests, "0000001000 0000000000 0000"), disclosed), Rules23, nil},
		"every fault at once": {
			made(strings.NewReplacer(handList+handPolicy+handFlags, handList+"000000"+"0 0", handInterests, "0011110000 0000000000 0000").Replace(head(from, before))), Rules23,
			[]Fault{FaultTimes, FaultPolicy, FaultScope, FaultInterest, FaultUndisclosed},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc, err := Parse(c.s)
			if err != nil {
				t.Fatal(err)
			}
			rules, err := tc.Validate()
			same(t, "rules", rules, c.rules)
			same(t, "faulty", err != nil, len(c.faults) > 0)
			for _, f := range []Fault{FaultTimes, FaultPolicy, FaultScope, FaultInterest, FaultUndisclosed} {
				same(t, f.String(), errors.Is(err, f), slices.Contains(c.faults, f))
				if f.Error() == "" {
					t.Error("the fault says nothing")
				}
			}
		})
	}
}

package tcf

import (
	"slices"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/policy"
)

// valid is a string of version 2.3 that consents to everything for everybody.
func valid() described {
	at := time.Date(2026, time.June, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	return described{
		Segments: []int{1}, Created: at, LastUpdated: at, CmpID: 300, ConsentLanguage: "JA", PublisherCC: "JP", PolicyVersion: 5, ServiceSpecific: true,
		SpecialFeatures: []span{{1, 2}}, Consents: []span{{1, 11}}, VendorConsents: []span{{1, 99}}, Disclosed: []span{{1, 99}},
	}
}

func TestActsOnThePurposesOfThePolicy(t *testing.T) {
	r, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	pack, ok := r.Version("default/2022-09-15")
	if !ok {
		t.Fatal("no pack")
	}
	all := []string{"in_service_recommendation", "behavioral_personalization", "development_marketing", "service_development", "marketing_use", "usage_based_development"}
	for name, c := range map[string]struct {
		change           func(*described)
		vendor           int
		granted, refused []string
	}{
		"everything accepted, for the site":      {func(*described) {}, 0, all, nil},
		"everything accepted, for a vendor":      {func(*described) {}, 7, all, nil},
		"nothing accepted":                       {func(d *described) { d.Consents = nil }, 0, nil, all},
		"one of two purposes refused":            {func(d *described) { d.Consents = []span{{1, 5}, {7, 11}} }, 0, without(all, "behavioral_personalization"), []string{"behavioral_personalization"}},
		"one purpose of several refused":         {func(d *described) { d.Consents = []span{{1, 9}, {11, 11}} }, 0, []string{"in_service_recommendation", "behavioral_personalization", "marketing_use"}, []string{"development_marketing", "service_development", "usage_based_development"}},
		"one purpose accepted":                   {func(d *described) { d.Consents = []span{{11, 11}} }, 0, all[:1], all[1:]},
		"legitimate interest grants nothing":     {func(d *described) { d.Consents, d.Interests = nil, []span{{7, 11}} }, 0, nil, all},
		"a vendor that was refused":              {func(d *described) { d.VendorConsents = []span{{1, 6}, {8, 99}} }, 7, nil, all},
		"a vendor that was not disclosed":        {func(d *described) { d.Disclosed = []span{{1, 6}} }, 7, nil, nil},
		"neither disclosed nor accepted":         {func(d *described) { d.Disclosed, d.VendorConsents = nil, nil }, 7, nil, nil},
		"not disclosed, and a purpose refused":   {func(d *described) { d.Disclosed, d.Consents = nil, []span{{5, 6}} }, 7, nil, without(all, "behavioral_personalization")},
		"vendors do not matter to the site":      {func(d *described) { d.Disclosed, d.VendorConsents = nil, nil }, 0, all, nil},
		"an impossible vendor":                   {func(*described) {}, -7, nil, nil},
		"a purpose that the publisher forbids":   {func(d *described) { d.Restrictions = []describedRestriction{{5, NotAllowed, []span{{2, 9}}}} }, 7, without(all, "behavioral_personalization"), nil},
		"forbidden to others":                    {func(d *described) { d.Restrictions = []describedRestriction{{5, NotAllowed, []span{{8, 9}}}} }, 7, all, nil},
		"restrictions do not matter to the site": {func(d *described) { d.Restrictions = []describedRestriction{{5, NotAllowed, []span{{1, 65535}}}} }, 0, all, nil},
		"restricted to legitimate interest": {func(d *described) {
			d.Restrictions = []describedRestriction{{11, RequireLegitimateInterest, []span{{7, 7}}}}
		}, 7, all[1:], nil},
		"restricted to consent": {func(d *described) { d.Restrictions = []describedRestriction{{11, RequireConsent, []span{{7, 7}}}} }, 7, all, nil},
		"a forbidden purpose that was refused too": {func(d *described) {
			d.Consents, d.Restrictions = []span{{1, 10}}, []describedRestriction{{11, NotAllowed, []span{{7, 7}}}}
		}, 7, all[1:], all[:1]},
		"before the change, without the segment":         {func(d *described) { d.Segments, d.Created, d.LastUpdated = nil, 1e12, 1e12 }, 0, all, nil},
		"before the change, for a vendor never shown":    {func(d *described) { d.Segments, d.Created, d.LastUpdated = nil, 1e12, 1e12 }, 7, nil, nil},
		"after the change, without the segment":          {func(d *described) { d.Segments = nil }, 0, nil, nil},
		"an invalid string refuses all the same":         {func(d *described) { d.Segments, d.Consents = nil, []span{{1, 10}} }, 0, nil, all[:1]},
		"global scope":                                   {func(d *described) { d.ServiceSpecific = false }, 0, nil, nil},
		"an old policy":                                  {func(d *described) { d.PolicyVersion = 2 }, 0, nil, nil},
		"an empty publisher segment is not a refusal":    {func(d *described) { d.Segments = []int{1, 3} }, 0, all, nil},
		"purposes that no purpose maps to do not matter": {func(d *described) { d.Consents = []span{{5, 11}} }, 0, all, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := valid()
			c.change(&d)
			granted, refused := actsOf(t, &d, pack, c.vendor)
			if !slices.Equal(granted, c.granted) || !slices.Equal(refused, c.refused) {
				t.Errorf("granted %v, refused %v\nwant    %v, refused %v", granted, refused, c.granted, c.refused)
			}
		})
	}
}

func TestActsByWhatAPurposeMapsTo(t *testing.T) {
	const untouched, granted, refused = "untouched", "granted", "refused"
	for name, c := range map[string]struct {
		tcf    []string
		change func(*described)
		want   string
	}{
		"nothing":                               {nil, nil, untouched},
		"a special purpose":                     {[]string{"SP1"}, nil, untouched},
		"special purposes, everything refused":  {[]string{"SP1", "SP2"}, func(d *described) { d.Consents = nil }, untouched},
		"a special purpose beside one accepted": {[]string{"SP1", "7"}, nil, granted},
		"a special purpose beside one refused":  {[]string{"SP1", "12"}, nil, refused},
		"a special feature opted in":            {[]string{"SF1"}, nil, granted},
		"a special feature not opted in":        {[]string{"SF3"}, nil, refused},
		"an id that is not known":               {[]string{"X1"}, nil, untouched},
		"one accepted beside one not known":     {[]string{"7", "25"}, nil, untouched},
		"one refused beside one not known":      {[]string{"25", "12"}, nil, refused},
		"a feature that is not special":         {[]string{"F1", "7"}, nil, untouched},
		"a leading zero":                        {[]string{"07"}, nil, untouched},
		"purpose one accepted":                  {[]string{"1"}, nil, granted},
		"purpose one refused":                   {[]string{"1"}, func(d *described) { d.Consents = nil }, refused},
		"purpose one never disclosed":           {[]string{"1"}, func(d *described) { d.Consents, d.PurposeOne = nil, true }, untouched},
		"purpose one undisclosed but set":       {[]string{"1", "7"}, func(d *described) { d.PurposeOne = true }, untouched},
	} {
		t.Run(name, func(t *testing.T) {
			d := valid()
			if c.change != nil {
				c.change(&d)
			}
			yes, no := actsOf(t, &d, &policy.Pack{Purposes: []policy.Purpose{{ID: "p", Mappings: policy.Mappings{TCF: c.tcf}}}}, 0)
			got := untouched
			if len(yes) > 0 {
				got = granted
			}
			if len(no) > 0 {
				got = refused
			}
			if got != c.want || len(yes)+len(no) > 1 {
				t.Errorf("granted %v, refused %v, want %s", yes, no, c.want)
			}
		})
	}
}

func actsOf(t *testing.T, d *described, pack *policy.Pack, vendor int) (granted, refused []string) {
	t.Helper()
	tc, err := Parse(d.encode(func() bool { return true }))
	if err != nil {
		t.Fatal(err)
	}
	return Acts(tc, pack, vendor)
}

func without(ids []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(x string) bool { return x == id })
}

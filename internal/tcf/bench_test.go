package tcf

import (
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/policy"
)

func benchString(b testing.TB, name string) string {
	for _, d := range readDescribed(b, "encoded.json") {
		if d.Name == name {
			return d.String
		}
	}
	b.Fatalf("no string %q", name)
	return ""
}

// worst are strings that do their worst within MaxLength.
func worst() map[string]string {
	var ranges bitString
	ranges.add(16, MaxVendor)
	ranges.add(1, 1)
	ranges.add(12, 4095)
	for range 4095 {
		ranges.add(17, MaxVendor)
	}
	var restrictions bitString
	const n = 4000
	restrictions.add(12, n)
	for i := range n {
		restrictions.add(6, int64(1+i%24))
		restrictions.add(2, 0)
		restrictions.add(12, 4)
		for range 4 {
			restrictions.add(17, MaxVendor)
		}
	}
	var fields bitString
	for range 2 {
		fields.add(16, MaxVendor)
		fields.add(1, 0)
		fields.WriteString(strings.Repeat("1", MaxVendor))
	}
	return map[string]string{
		"ranges":       fromBits(handHead(), ranges.String(), ranges.String(), handNoRestrictions),
		"restrictions": fromBits(handHead(), handField, handField, restrictions.String()),
		"fields":       fromBits(handHead(), fields.String(), handNoRestrictions),
	}
}

func BenchmarkParse(b *testing.B) {
	strs := worst()
	for name, s := range strs {
		delete(strs, name)
		strs["worst, "+name] = s
	}
	strs["typical"] = benchString(b, "vendors as ranges")
	strs["typical, 2,200 vendors at random"] = benchString(b, "random 3")
	for name, s := range strs {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkActs(b *testing.B) {
	r, err := policy.Builtin()
	if err != nil {
		b.Fatal(err)
	}
	pack, _ := r.Version("default/2022-09-15")
	for name, s := range map[string]string{"typical": benchString(b, "everything accepted"), "worst, restrictions": worst()["restrictions"]} {
		tc, err := Parse(s)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Acts(tc, pack, 7)
			}
		})
	}
}

// A string's claims take no memory: nothing is allocated but the TC, its two codes and the publisher's part.
func TestReadingAllocatesNothingThatAStringClaims(t *testing.T) {
	strs := worst()
	strs["typical"] = benchString(t, "many restrictions")
	for name, s := range strs {
		if len(s) > MaxLength {
			t.Fatalf("%s: %d bytes", name, len(s))
		}
		if allocs := testing.AllocsPerRun(20, func() {
			if _, err := Parse(s); err != nil {
				t.Fatal(err)
			}
		}); allocs > 4 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
	claim := fromBits(handHead(), "1111111111111111 1 111111111111")
	if allocs := testing.AllocsPerRun(20, func() {
		if _, err := Parse(claim); err == nil {
			t.Fatal("read")
		}
	}); allocs > 4 {
		t.Errorf("claims that are not kept: %v allocations", allocs)
	}
}

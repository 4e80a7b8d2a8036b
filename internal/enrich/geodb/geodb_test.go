package geodb

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oschwald/geoip2-golang/v2"

	"github.com/sekisho/sekisho/internal/enrich/geo"
	"github.com/sekisho/sekisho/internal/fetch"
)

const (
	sampleIPv4 = `8.8.8.0,8.8.8.255,US
45.0.0.0,45.0.255.255,BR
45.0.1.0,45.0.1.255,AR
45.0.1.0,45.0.1.255,CL
60.0.0.3,60.0.0.9,JP
10.0.0.0,10.255.255.255,ZZ
`
	sampleIPv6 = `2001:200::,2001:2ff:ffff:ffff:ffff:ffff:ffff:ffff,AU
2001:240:100::,2001:240:101:ffff:ffff:ffff:ffff:ffff,JP
2001:388::,2001:388:ffff:ffff:ffff:ffff:ffff:ffff,NZ
2002::,2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff,US
2400:4050::,2400:4053:ffff:ffff:ffff:ffff:ffff:ffff,JP
2403:5800::,2403:581f:ffff:ffff:ffff:ffff:ffff:ffff,AU
`
)

func build(t *testing.T, lists ...string) string {
	t.Helper()
	readers := make([]io.Reader, 0, len(lists))
	for _, l := range lists {
		readers = append(readers, strings.NewReader(l))
	}
	out := filepath.Join(t.TempDir(), "country.mmdb")
	if err := Build(t.Context(), readers, out, io.Discard); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBuiltDatabaseAnswersCountries(t *testing.T) {
	db, err := geo.Open(build(t, sampleIPv4, sampleIPv6))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, test := range []struct{ name, addr, country string }{
		{"in a range", "8.8.8.8", "US"},
		{"mapped to IPv6", "::ffff:8.8.8.8", "US"},
		{"in the wider of two", "45.0.0.1", "BR"},
		{"in the narrower of two, the later of equals", "45.0.1.1", "CL"},
		{"back in the wider", "45.0.2.0", "BR"},
		{"the first of an odd range", "60.0.0.3", "JP"},
		{"the last of an odd range", "60.0.0.9", "JP"},
		{"before an odd range", "60.0.0.2", ""},
		{"behind an odd range", "60.0.0.10", ""},
		{"private, though listed", "10.1.2.3", ""},
		{"not listed", "9.9.9.9", ""},
		{"IPv6", "2400:4050::1", "JP"},
		{"IPv6, the registry's own country", "2001:240:bb8::1", ""},
		{"IPv6, a network's own in the same block", "2001:240:100::1", "JP"},
		{"IPv6, another country in the same block", "2001:388::1", "NZ"},
		{"IPv6, that country outside the block", "2403:5800::1", "AU"},
		{"6to4", "2002::1", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := db.Lookup(netip.MustParseAddr(test.addr)); got != (geo.Place{Country: test.country}) {
				t.Errorf("Lookup(%s) = %+v, want %q", test.addr, got, test.country)
			}
		})
	}
}

func TestBuiltDatabaseHasTheCountrySchema(t *testing.T) {
	reader, err := geoip2.Open(build(t, sampleIPv4))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	record, err := reader.Country(netip.MustParseAddr("60.0.0.5"))
	if err != nil {
		t.Fatal(err)
	}
	if c := record.Country; c.ISOCode != "JP" || c.Names.English != "Japan" || c.Names.Japanese != "日本" {
		t.Errorf("country = %+v", c)
	}
	if c := record.Continent; c.Code != "AS" || c.Names.English != "Asia" || c.Names.Japanese != "アジア" {
		t.Errorf("continent = %+v", c)
	}
	if m := reader.Metadata(); m.DatabaseType != "GeoLite2-Country" || m.BuildEpoch != uint(epoch.Unix()) || !strings.Contains(m.Description["en"], "nro.net") {
		t.Errorf("metadata = %+v", m)
	}
}

func TestBuildIsReproducible(t *testing.T) {
	first, err := os.ReadFile(build(t, sampleIPv4, sampleIPv6))
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(build(t, sampleIPv4, sampleIPv6))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the same lists gave two different files")
	}
}

func TestBuildRefusesWhatIsNoList(t *testing.T) {
	for name, list := range map[string]string{
		"too few fields":     "1.0.0.0,1.0.0.255\n",
		"no address":         "1.0.0,1.0.0.255,AU\n",
		"no last address":    "1.0.0.0,x,AU\n",
		"backwards":          "1.0.0.9,1.0.0.1,AU\n",
		"two families":       "1.0.0.0,2001:db8::1,AU\n",
		"a zone":             "fe80::1%a,fe80::2%a,AU\n",
		"no country":         "1.0.0.0,1.0.0.255,\n",
		"a country's name":   "1.0.0.0,1.0.0.255,Australia\n",
		"a lower-case code":  "1.0.0.0,1.0.0.255,au\n",
		"an unclosed string": "\"1.0.0.0,1.0.0.255,AU\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := Build(t.Context(), []io.Reader{strings.NewReader(list)}, filepath.Join(dir, "x.mmdb"), io.Discard); err == nil {
				t.Error("it was built")
			}
			nothingIn(t, dir)
		})
	}
}

func TestCancelledBuildLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	err := Build(ctx, []io.Reader{strings.NewReader(sampleIPv4)}, filepath.Join(dir, "x.mmdb"), io.Discard)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	nothingIn(t, dir)
}

func nothingIn(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// The real data set, fetched and built once into the cache.
func TestEnsureBuildsTheRealDatabase(t *testing.T) {
	path, err := Ensure(t.Context(), fetch.CacheDir(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Ensure(t.Context(), fetch.CacheDir(), io.Discard); err != nil || again != path {
		t.Fatalf("again: %q, %v", again, err)
	}
	db, err := geo.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, test := range []struct{ whose, addr, country string }{
		{"Google's resolver", "8.8.8.8", "US"},
		{"IIJ", "210.130.1.1", "JP"},
		{"IIJ", "202.232.2.2", "JP"},
		{"NTT OCN", "61.112.0.1", "JP"},
		{"WIDE", "203.178.136.1", "JP"},
		{"University of Tokyo", "133.11.0.1", "JP"},
		{"SoftBank", "126.0.0.1", "JP"},
		{"KDDI", "106.72.0.1", "JP"},
		{"RIPE NCC", "193.0.6.139", "NL"},
		{"NIC.br", "200.160.2.3", "BR"},
		{"AFRINIC", "196.216.2.1", "ZA"},
		{"NTT Flet's", "2400:4050::1", "JP"},
		{"SoftBank", "2400:2410::1", "JP"},
		{"KDDI", "240b:10::1", "JP"},
		{"Google's resolver", "2001:4860:4860::8888", "US"},
		{"IIJ, in a registry's blanket range", "2001:240:bb8::1", ""},
		{"WIDE, in a registry's blanket range", "2001:200::1", ""},
		{"nobody", "192.168.1.1", ""},
	} {
		if got := db.Lookup(netip.MustParseAddr(test.addr)).Country; got != test.country {
			t.Errorf("%s (%s) is in %q, want %q", test.whose, test.addr, got, test.country)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(sampleIPv4)
	f.Add(sampleIPv6)
	f.Add("\"\n,,\n")
	f.Fuzz(func(t *testing.T, list string) {
		spans, err := read(strings.NewReader(list))
		if err != nil && spans != nil {
			t.Error("ranges and an error")
		}
		for i, s := range spans {
			if s.last.Less(s.first) || len(s.country) != 2 {
				t.Errorf("range %+v", s)
			}
			if i > 0 && s.first.Less(spans[i-1].first) {
				t.Error("out of order")
			}
		}
	})
}

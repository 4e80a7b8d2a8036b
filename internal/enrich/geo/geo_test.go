package geo_test

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/sekisho/sekisho/internal/enrich/geo"
)

// write makes a database of a type with one network, 8.8.8.0/24.
func write(t testing.TB, kind string, record mmdbtype.Map) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24, BuildEpoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, cidr := range []string{"8.8.8.0/24", "2a00::/16"} {
		_, network, err := net.ParseCIDR(cidr)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(network, record); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(t.TempDir(), kind+".mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func country(code string) mmdbtype.Map {
	return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}}
}

func city(code string, subdivisions ...string) mmdbtype.Map {
	record := country(code)
	list := mmdbtype.Slice{}
	for _, s := range subdivisions {
		list = append(list, mmdbtype.Map{"iso_code": mmdbtype.String(s)})
	}
	record["subdivisions"] = list
	record["city"] = mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String("Nowhere")}}
	record["location"] = mmdbtype.Map{"latitude": mmdbtype.Float64(35), "longitude": mmdbtype.Float64(139)}
	return record
}

func open(t testing.TB, path string) *geo.DB {
	t.Helper()
	db, err := geo.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestLookup(t *testing.T) {
	for _, test := range []struct {
		name, kind string
		record     mmdbtype.Map
		addr       string
		want       geo.Place
	}{
		{"country database", "GeoLite2-Country", country("JP"), "8.8.8.8", geo.Place{Country: "JP"}},
		{"country database, IPv6", "GeoLite2-Country", country("JP"), "2a00::1", geo.Place{Country: "JP"}},
		{"IPv4 mapped to IPv6", "GeoLite2-Country", country("JP"), "::ffff:8.8.8.8", geo.Place{Country: "JP"}},
		{"address with a zone", "GeoLite2-Country", country("JP"), "2a00::1%eth0", geo.Place{Country: "JP"}},
		{"not in the database", "GeoLite2-Country", country("JP"), "9.9.9.9", geo.Place{}},
		{"city database", "GeoLite2-City", city("JP", "13"), "8.8.8.8", geo.Place{Country: "JP", Region: "JP-13"}},
		{"city database, two levels", "GeoIP2-City", city("GB", "ENG", "LND"), "8.8.8.8", geo.Place{Country: "GB", Region: "GB-ENG"}},
		{"city database without a region", "GeoLite2-City", city("SG"), "8.8.8.8", geo.Place{Country: "SG"}},
		{"city database, not in it", "GeoLite2-City", city("SG"), "9.9.9.9", geo.Place{}},
		{"a code that is none", "GeoLite2-Country", country("Japan"), "8.8.8.8", geo.Place{}},
		{"a region that is none", "GeoLite2-City", city("JP", "tokyo\n"), "8.8.8.8", geo.Place{Country: "JP"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := open(t, write(t, test.kind, test.record)).Lookup(netip.MustParseAddr(test.addr)); got != test.want {
				t.Errorf("Lookup = %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestAddressesThatAreNobodysPlace(t *testing.T) {
	db := open(t, write(t, "GeoLite2-Country", country("JP")))
	for _, addr := range []string{"10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.1.1", "100.64.0.1", "224.0.0.1", "0.0.0.0", "::1", "fe80::1", "fd00::1", "::"} {
		if got := db.Lookup(netip.MustParseAddr(addr)); got != (geo.Place{}) {
			t.Errorf("Lookup(%s) = %+v", addr, got)
		}
	}
	if got := db.Lookup(netip.Addr{}); got != (geo.Place{}) {
		t.Errorf("Lookup of no address = %+v", got)
	}
	if got := (*geo.DB)(nil).Lookup(netip.MustParseAddr("8.8.8.8")); got != (geo.Place{}) {
		t.Errorf("Lookup without a database = %+v", got)
	}
}

func TestOpenRefusesWhatIsNoCountryDatabase(t *testing.T) {
	damaged := filepath.Join(t.TempDir(), "damaged.mmdb")
	if err := os.WriteFile(damaged, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"missing": filepath.Join(t.TempDir(), "missing.mmdb"), "damaged": damaged, "another kind": write(t, "GeoLite2-ASN", country("JP")),
		"a flat schema": write(t, "ip-location-db-country", mmdbtype.Map{"country_code": mmdbtype.String("JP")}),
	} {
		if db, err := geo.Open(path); err == nil {
			_ = db.Close()
			t.Errorf("%s: it was opened", name)
		}
	}
}

func TestReloadSwitchesOrKeeps(t *testing.T) {
	db := open(t, write(t, "GeoLite2-Country", country("JP")))
	addr := netip.MustParseAddr("8.8.8.8")
	if err := db.Reload(filepath.Join(t.TempDir(), "missing.mmdb")); err == nil {
		t.Error("a missing file was loaded")
	}
	if got := db.Lookup(addr).Country; got != "JP" {
		t.Errorf("after a failed reload: %q", got)
	}
	if err := db.Reload(write(t, "GeoLite2-City", city("US", "CA"))); err != nil {
		t.Fatal(err)
	}
	if got := db.Lookup(addr); got != (geo.Place{Country: "US", Region: "US-CA"}) {
		t.Errorf("after a reload: %+v", got)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := db.Lookup(addr); got != (geo.Place{}) {
		t.Errorf("after closing: %+v", got)
	}
	if err := db.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestReloadWhileReading(t *testing.T) {
	paths := []string{write(t, "GeoLite2-Country", country("JP")), write(t, "GeoLite2-City", city("US", "CA"))}
	db := open(t, paths[0])
	addr := netip.MustParseAddr("8.8.8.8")
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 2000 {
				if got := db.Lookup(addr).Country; got != "JP" && got != "US" {
					t.Errorf("Lookup = %q", got)
					return
				}
			}
		})
	}
	for i := range 50 {
		if err := db.Reload(paths[i%2]); err != nil {
			t.Fatal(err)
		}
	}
	readers.Wait()
}

func BenchmarkLookup(b *testing.B) {
	for _, bench := range []struct {
		name, path string
		allocs     float64 // the ceiling
	}{
		{"country", write(b, "GeoLite2-Country", country("JP")), 1},
		{"city", write(b, "GeoLite2-City", city("JP", "13")), 5},
	} {
		b.Run(bench.name, func(b *testing.B) {
			db := open(b, bench.path)
			addr := netip.MustParseAddr("8.8.8.8")
			if allocs := testing.AllocsPerRun(100, func() { db.Lookup(addr) }); allocs > bench.allocs {
				b.Fatalf("%v allocations, want at most %v", allocs, bench.allocs)
			}
			b.ReportAllocs()
			for b.Loop() {
				db.Lookup(addr)
			}
		})
	}
}

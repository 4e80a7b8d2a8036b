// Package geodb builds a country database of the GeoLite2-Country schema, so that the system knows countries without
// an account at anybody's. An operator's own GeoLite2 or GeoIP2 file serves as well (package geo reads both).
//
// The source is the npm package @ip-location-db/geo-whois-asn-country, pinned by version and checksum. Its licence
// field says CC0-1.0; its readme says that the registries' statistics in it are CC BY 4.0 by the Number Resource
// Organization, so the file that is built names them in its description, and whoever publishes the file or an analysis
// of it MUST keep that attribution.
//
// The readme also warns of wrong data, and this is what it means: in six of the registries' early IPv6 blocks all that
// no network registered for itself carries the registry's own country, so that half of Japan's older providers would be
// in Australia. Build leaves those ranges out: an unknown country is better than a wrong one.
package geodb

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/sekisho/sekisho/internal/fetch"
)

// source is the pinned data set.
var source = fetch.NPM{
	Name:      "@ip-location-db/geo-whois-asn-country",
	Version:   "2.3.2026061719",
	Integrity: "9MQ3r2q+GDLwW+Mye5duWnHe3n1qB1ZcNUcM9P58CpdW86Gt44AgfIrem6Pcy/tbCHhQ70RJCLngQQyYnaEjbw==",
}

const (
	memberIPv4 = "package/geo-whois-asn-country-ipv4.csv"
	memberIPv6 = "package/geo-whois-asn-country-ipv6.csv"

	// revision counts the changes of what Build makes of the same source.
	revision = "1"

	attribution = "Country by network, from @ip-location-db/geo-whois-asn-country. Contains statistics of the Number Resource Organization (nro.net), CC BY 4.0."
)

// epoch is the data set's date: the same source gives the same file to the byte.
var epoch = time.Date(2026, 6, 17, 0, 0, 0, 0, time.UTC)

// withheld are the ranges whose country is the registry's and not the network's.
var withheld = []struct {
	block   netip.Prefix
	country string
}{
	{netip.MustParsePrefix("2001:200::/23"), "AU"},
	{netip.MustParsePrefix("2001:c00::/23"), "AU"},
	{netip.MustParsePrefix("2001:e00::/23"), "AU"},
	{netip.MustParsePrefix("2001:4400::/23"), "AU"},
	{netip.MustParsePrefix("2001:b000::/20"), "AU"},
	{netip.MustParsePrefix("2001:4200::/23"), "MU"},
}

// Ensure answers the path of the built database, fetching the source and building it if the cache has it not.
// Several processes may call it at once: the last to finish wins, with the same bytes.
func Ensure(ctx context.Context, cache string, progress io.Writer) (string, error) {
	out := filepath.Join(cache, "geo", "country-"+source.Version+"-r"+revision+".mmdb")
	if _, err := os.Stat(out); err == nil {
		return out, nil
	}
	var readers []io.Reader
	for _, member := range []string{memberIPv4, memberIPv6} {
		name, err := fetch.File(ctx, cache, source, member, progress)
		if err != nil {
			return "", fmt.Errorf("get country data: %w", err)
		}
		f, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("get country data: %w", err)
		}
		defer func() { _ = f.Close() }()
		readers = append(readers, f)
	}
	if err := Build(ctx, readers, out, progress); err != nil {
		return "", err
	}
	return out, nil
}

// Build writes a country database to out from lists of "first,last,country" lines (addresses, ISO 3166-1 alpha-2), and
// says how far it is. Where ranges overlap, the narrower wins, and of equals the later. out is replaced at once, when
// it is whole, or not at all.
func Build(ctx context.Context, lists []io.Reader, out string, progress io.Writer) error {
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		BuildEpoch:   epoch.Unix(),
		DatabaseType: "GeoLite2-Country",
		Description:  map[string]string{"en": attribution},
		Languages:    []string{"en", "ja"},
		RecordSize:   24,
		KeyGenerator: byCountry{},
	})
	if err != nil {
		return fmt.Errorf("build country database: %w", err)
	}
	world := countries{}
	for _, list := range lists {
		ranges, err := read(list)
		if err != nil {
			return fmt.Errorf("build country database: %w", err)
		}
		for i, r := range ranges {
			if i%100_000 == 0 {
				if err := ctx.Err(); err != nil {
					return fmt.Errorf("build country database: %w", err)
				}
				fmt.Fprintf(progress, "  country database: %d of %d ranges\n", i, len(ranges))
			}
			if err := insert(tree, r, world.record(r.country)); err != nil {
				return fmt.Errorf("build country database: %w", err)
			}
		}
	}
	if err := write(tree, out); err != nil {
		return fmt.Errorf("write country database: %w", err)
	}
	return nil
}

// span is a range of addresses, both ends in it.
type span struct {
	first, last netip.Addr
	country     string
}

// read parses a list and orders it so that each range comes after those that hold it.
func read(list io.Reader) ([]span, error) {
	rows := csv.NewReader(bufio.NewReaderSize(list, 1<<20))
	rows.FieldsPerRecord = 3
	rows.ReuseRecord = true
	var spans []span
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read ranges: %w", err)
		}
		s, err := parse(row)
		if err != nil {
			line, _ := rows.FieldPos(0)
			return nil, fmt.Errorf("read ranges: line %d: %w", line, err)
		}
		if !s.withheld() {
			spans = append(spans, s)
		}
	}
	slices.SortStableFunc(spans, func(a, b span) int {
		if c := a.first.Compare(b.first); c != 0 {
			return c
		}
		return b.last.Compare(a.last)
	})
	return spans, nil
}

func parse(row []string) (span, error) {
	first, err := netip.ParseAddr(row[0])
	if err != nil {
		return span{}, err
	}
	last, err := netip.ParseAddr(row[1])
	if err != nil {
		return span{}, err
	}
	if first.BitLen() != last.BitLen() || last.Less(first) || first.Zone() != "" || last.Zone() != "" {
		return span{}, errors.New("the range does not end after its start")
	}
	country := row[2]
	if len(country) != 2 || country[0] < 'A' || country[0] > 'Z' || country[1] < 'A' || country[1] > 'Z' {
		return span{}, errors.New("the country is no ISO 3166-1 code")
	}
	return span{first, last, strings.Clone(country)}, nil // its own bytes: it would hold the whole line
}

func (s span) withheld() bool {
	for _, w := range withheld {
		if s.country == w.country && w.block.Contains(s.first) && w.block.Contains(s.last) {
			return true
		}
	}
	return false
}

// insert adds a range. Reserved networks and those that only mirror others (6to4, Teredo) are nobody's country.
func insert(tree *mmdbwriter.Tree, s span, record mmdbtype.Map) error {
	err := tree.InsertRange(net.IP(s.first.AsSlice()), net.IP(s.last.AsSlice()), record)
	var reserved *mmdbwriter.ReservedNetworkError
	var aliased *mmdbwriter.AliasedNetworkError
	if errors.As(err, &reserved) || errors.As(err, &aliased) {
		return nil
	}
	return err
}

func write(tree *mmdbwriter.Tree, out string) (err error) {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(out), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	_, err = tree.WriteTo(w)
	if err = errors.Join(err, w.Flush(), f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), out)
}

// byCountry tells records apart by what they differ in, instead of hashing each as a whole.
type byCountry struct{}

// Key implements mmdbwriter.KeyGenerator.
func (byCountry) Key(v mmdbtype.DataType) ([]byte, error) {
	record, ok := v.(mmdbtype.Map)
	if !ok {
		return nil, errors.New("a record that is no map")
	}
	country, ok := record["country"].(mmdbtype.Map)
	if !ok {
		return nil, errors.New("a record without a country")
	}
	code, ok := country["iso_code"].(mmdbtype.String)
	if !ok {
		return nil, errors.New("a country without a code")
	}
	return []byte(code), nil
}

// Package geo tells the country, and where the database knows it the region, of a network address.
//
// It reads any database of the GeoLite2-Country or GeoLite2-City schema: the one that package geodb builds, or
// MaxMind's own if the operator brings it. Nothing finer than a region is ever read from it: precise location is a
// category that no purpose of the policy names.
package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"github.com/oschwald/geoip2-golang/v2"
)

// Place is where an address is used, coarsely. What is unknown is "".
type Place struct {
	Country string // ISO 3166-1 alpha-2, such as "JP"
	Region  string // ISO 3166-2, such as "JP-13"; only from a City database
}

// DB is an open database. Its methods may be called by any number of goroutines.
type DB struct {
	mu     sync.RWMutex // held while reading: closing unmaps the file
	reader *geoip2.Reader
	city   bool
}

// Open opens the database at path. The caller closes it.
func Open(path string) (*DB, error) {
	reader, city, err := open(path)
	if err != nil {
		return nil, err
	}
	return &DB{reader: reader, city: city}, nil
}

func open(path string) (*geoip2.Reader, bool, error) {
	reader, err := geoip2.Open(path)
	if err != nil {
		return nil, false, fmt.Errorf("open geo database: %w", err)
	}
	kind := reader.Metadata().DatabaseType
	city := !strings.Contains(kind, "Country")
	var reads func(netip.Addr) error
	if city {
		reads = func(a netip.Addr) error { _, err := reader.City(a); return err }
	} else {
		reads = func(a netip.Addr) error { _, err := reader.Country(a); return err }
	}
	if err := reads(netip.AddrFrom4([4]byte{8, 8, 8, 8})); err != nil {
		return nil, false, errors.Join(fmt.Errorf("read geo database of type %q: %w", kind, err), reader.Close())
	}
	return reader, city, nil
}

// Reload puts the database now at path in the place of the open one. On an error the open one stays.
func (db *DB) Reload(path string) error {
	reader, city, err := open(path)
	if err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	old := db.reader
	db.reader, db.city = reader, city
	if old == nil {
		return nil
	}
	if err := old.Close(); err != nil {
		return fmt.Errorf("close geo database: %w", err)
	}
	return nil
}

// Close closes the database. After it every place is unknown.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.reader == nil {
		return nil
	}
	err := db.reader.Close()
	db.reader = nil
	if err != nil {
		return fmt.Errorf("close geo database: %w", err)
	}
	return nil
}

// Lookup answers where an address is used. It never fails: an address that is not public, or not in the database, or a
// damaged record, is an unknown place. A nil DB knows none.
func (db *DB) Lookup(addr netip.Addr) Place {
	addr = addr.Unmap().WithZone("")
	if db == nil || !public(addr) {
		return Place{}
	}
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.reader == nil {
		return Place{}
	}
	if !db.city {
		record, err := db.reader.Country(addr)
		if err != nil {
			return Place{}
		}
		return Place{Country: iso(record.Country.ISOCode)}
	}
	record, err := db.reader.City(addr)
	if err != nil {
		return Place{}
	}
	place := Place{Country: iso(record.Country.ISOCode)}
	if place.Country != "" && len(record.Subdivisions) > 0 {
		if code := record.Subdivisions[0].ISOCode; isCode(code, 1, 3) {
			place.Region = place.Country + "-" + code
		}
	}
	return place
}

// public leaves out what is nobody's place: private, loopback, link-local, multicast and unspecified addresses, and
// the shared space of carriers (RFC 6598).
func public(a netip.Addr) bool {
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	if a.Is4() {
		b := a.As4()
		return b[0] != 100 || b[1]&0xC0 != 64
	}
	return true
}

func iso(code string) string {
	if isCode(code, 2, 2) {
		return code
	}
	return ""
}

// isCode guards the store's columns against a database that holds something else in its codes.
func isCode(code string, low, high int) bool {
	if len(code) < low || len(code) > high {
		return false
	}
	for _, c := range []byte(code) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

package core

import (
	"fmt"
	"log/slog"
	"net/netip"
)

// RawIP is a client's address on its way through the collector and the first steps of the pipeline. It has no
// exported value and prints as redacted in every way Go can print (fmt, slog, JSON, text), so that it cannot reach a
// log, a metric or an error by accident. The steps that need the address ask for it by name: Reveal.
type RawIP struct{ addr netip.Addr }

const redacted = "[ip]"

// NewRawIP wraps an address; IPv4 in IPv6 is unmapped and a zone is dropped.
func NewRawIP(a netip.Addr) RawIP { return RawIP{a.Unmap().WithZone("")} }

// RawIPFromBytes wraps 4 or 16 bytes; any other length is the zero RawIP.
func RawIPFromBytes(b []byte) RawIP {
	a, _ := netip.AddrFromSlice(b)
	return NewRawIP(a)
}

// IsValid reports whether there is an address.
func (ip RawIP) IsValid() bool { return ip.addr.IsValid() }

// Reveal hands the address to f and to nothing else. The result of f MUST NOT hold it.
func Reveal[T any](ip RawIP, f func(netip.Addr) T) T { return f(ip.addr) }

func (ip RawIP) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (ip RawIP) GoString() string { return redacted }

// Format implements fmt.Formatter for every verb.
func (ip RawIP) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer.
func (ip RawIP) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler.
func (ip RawIP) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText implements encoding.TextMarshaler.
func (ip RawIP) MarshalText() ([]byte, error) { return []byte(redacted), nil }

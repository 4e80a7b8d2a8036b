package core

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
)

func TestTheZeroValuesDeny(t *testing.T) {
	var s PurposeSet
	for p := range Purpose(MaxPurposes) {
		if s.Has(p) {
			t.Errorf("the zero set permits %d", p)
		}
	}
	if ^PurposeSet(0) != 0 && (^PurposeSet(0)).Has(MaxPurposes) {
		t.Error("a purpose out of range is permitted")
	}
	if (^CategorySet(0)).Has(Unknown) || NoReason.Stores() || NoEvent.Category() != Unknown {
		t.Error("an unknown thing is allowed")
	}
}

func TestNamesRoundTripAndAreUnique(t *testing.T) {
	for _, c := range Categories() {
		if got, ok := ParseCategory(c.String()); !ok || got != c {
			t.Errorf("category %d %q", c, c)
		}
	}
	for _, e := range EventTypes() {
		if got, ok := ParseEventType(e.String()); !ok || got != e || e.Category() == Unknown {
			t.Errorf("event type %d %q", e, e)
		}
	}
	for _, r := range Reasons() {
		if got, ok := ParseReason(r.String()); !ok || got != r {
			t.Errorf("reason %d %q", r, r)
		}
	}
	for _, name := range []string{"", "and_so_on"} {
		if _, ok := ParseCategory(name); ok {
			t.Errorf("%q is a category", name)
		}
		if _, ok := ParseBasis(name); ok {
			t.Errorf("%q is a basis", name)
		}
	}
}

func TestARawIPPrintsInNoWay(t *testing.T) {
	const address = "203.0.113.77"
	ip := NewRawIP(netip.MustParseAddr(address))
	holder := struct{ IP RawIP }{ip}
	j, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	timeless := &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr { // a time may hold the same digits
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	slog.New(slog.NewTextHandler(&log, timeless)).Info("seen", "ip", ip, "holder", holder)
	slog.New(slog.NewJSONHandler(&log, timeless)).Info("seen", "ip", ip, "holder", holder)
	for _, printed := range []string{
		fmt.Sprint(ip), fmt.Sprintf("%v %+v %#v %s %q %x %d", ip, ip, ip, ip, ip, ip, ip),
		fmt.Sprintf("%v %+v %#v", holder, holder, holder), string(j), log.String(), fmt.Errorf("lost %v", ip).Error(),
	} {
		if strings.Contains(printed, address) || strings.Contains(printed, "cb00714d") || strings.Contains(printed, "77") {
			t.Errorf("printed: %s", printed)
		}
	}
	if got := Reveal(ip, func(a netip.Addr) string { return a.String() }); got != address {
		t.Error("the address is lost")
	}
}

func TestEveryCodeHasAStatus(t *testing.T) {
	for _, c := range Codes() {
		if s := c.Status(); s < 400 || s > 599 {
			t.Errorf("%s is %d", c, s)
		}
	}
	if Code("surprise").Status() != 500 {
		t.Error("an unknown code is not an internal error")
	}
}

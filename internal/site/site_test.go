package site

import (
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/core"
)

var good = `
sites:
  - id: shop
    name: Shop
    time_zone: Asia/Tokyo
    jurisdiction: jp
    policy: default
    origins: ["http://localhost:8090"]
    write_keys: ["` + HashKey("secret") + `"]
    events:
      signup: {category: operation_log, properties: [plan]}
`

func TestASiteIsRead(t *testing.T) {
	r, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	s, ok := r.Get("shop")
	if !ok || s.Location.String() != "Asia/Tokyo" || s.Events["signup"].Category != core.OperationLog || !s.Events["signup"].Properties["plan"] {
		t.Errorf("got %+v", s)
	}
	if !s.AllowsOrigin("http://localhost:8090") || s.AllowsOrigin("http://localhost:8090.example") || s.AllowsOrigin("") {
		t.Error("origins")
	}
	if !s.AllowsKey("secret") || s.AllowsKey("Secret") || s.AllowsKey("") {
		t.Error("write keys")
	}
	if _, ok := r.Get("other"); ok {
		t.Error("an unknown site is found")
	}
}

func TestAFaultyRegistryDoesNotLoad(t *testing.T) {
	for name, c := range map[string]struct{ old, replacement, want string }{
		"unknown time zone":       {"Asia/Tokyo", "Asia/Nowhere", "time_zone"},
		"unknown category":        {"operation_log", "shoe_size", "category is not known"},
		"a key that is no hash":   {HashKey("secret"), "secret", "/sites/0/write_keys/0"},
		"an origin with a path":   {"localhost:8090", "localhost:8090/x", "/sites/0/origins/0"},
		"a key nobody declared":   {"policy: default", "policy: default\n    colour: red", "colour"},
		"a site registered twice": {"sites:", "sites:\n  - {id: shop, name: S, time_zone: UTC, jurisdiction: jp, policy: default}", "registered twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(strings.Replace(good, c.old, c.replacement, 1)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
}

package access

import (
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/sekisho/sekisho/internal/core"
)

// What docs/ACCESS.md shows is understood, and does what it says.
func TestTheExamplesOfTheDocumentation(t *testing.T) {
	document, err := os.ReadFile("../../docs/ACCESS.md")
	if err != nil {
		t.Fatal(err)
	}
	example := func(language string) string {
		found := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindSubmatch(document)
		if found == nil {
			t.Fatalf("there is no %s", language)
		}
		return string(found[1])
	}
	issuers, err := parseIssuers([]byte(example("yaml")), slog.New(slog.DiscardHandler), now)
	if err != nil || len(issuers) != 1 {
		t.Errorf("%d issuers, %v", len(issuers), err)
	}
	for _, role := range Roles() {
		if !strings.Contains(string(document), "| `"+string(role)+"` |") {
			t.Errorf("role %s is not told of", role)
		}
	}
	shipped, err := os.ReadFile("../../schemas/access/default.cedar")
	if err != nil {
		t.Fatal(err)
	}
	g, _, _ := guard(t, string(shipped)+example("cedar"))
	caller := &Caller{ID: "c", Grants: []Grant{{Roles: []Role{Exporter}, Sites: []string{"shop"}, Purposes: []string{"development"}}}}
	r := reading(Export)
	decides(t, g.Allow(caller, r), "", "")
	r.Categories = core.SetOf(core.SearchKeyword)
	denied := g.Allow(caller, r)
	decides(t, denied, core.CodeForbidden, "format")
	if denied == nil || denied.Message != "Search terms leave through the data office only" {
		t.Errorf("%v", denied)
	}
}

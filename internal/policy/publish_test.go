package policy

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// publishing publishes a document into a directory as a person would: from a file.
func publishing(t *testing.T, dir string, d *document, now time.Time) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pack.yaml")
	if err := os.WriteFile(file, encoded(t, d), 0o600); err != nil {
		t.Fatal(err)
	}
	return Publish(dir, file, now)
}

func TestPublishingAppends(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "policies")
	now := time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	if err := publishing(t, dir, first(t), now); err != nil {
		t.Fatal(err)
	}
	published, err := os.ReadFile(filepath.Join(dir, "default", "2022-09-15.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		next *document
		want string // empty: it is published
	}{
		"a version that exists": {first(t), "published already"},
		"an editorial change that took effect before the newest": {
			furnished(t, later("2022-09-14", Editorial)), "is not after that of default/2022-09-15",
		},
		"a related change that is in effect already": {
			furnished(t, later("2026-01-10", Related), category("search_keyword", func(c *categoryDocument) { c.RetentionDays = 30 })),
			"a change that is related is published before it takes effect",
		},
		"an unrelated change that is in effect already": {
			furnished(t, later("2026-01-10", Unrelated), moves("research_invitation", 13)),
			"a change that is unrelated is published before it takes effect",
		},
		"a bit of another purpose": {
			furnished(t, later("2027-01-01", Unrelated), moves("research_invitation", 13), purpose("customer_support", func(p *purposeDocument) { p.ID = "cuddling" }), func(d *document) {
				d.Recipients, d.Processors = d.Recipients[:0], d.Processors[:0]
			}),
			"takes bit 1 of customer_support",
		},
		"a change that says less than it is": {
			furnished(t, later("2027-01-01", Editorial), category("search_keyword", func(c *categoryDocument) { c.RetentionDays = 30 })),
			"change is editorial, but this is related",
		},
		"a second beginning": {furnished(t, later("2027-01-01", Initial)), "only the first version is initial"},
		"a fault":            {furnished(t, later("2027-01-01", Editorial), func(d *document) { d.TimeZone = "Nowhere" }), "not a time zone"},
	} {
		t.Run(name, func(t *testing.T) {
			err := publishing(t, dir, c.next, now)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
	if left := names(t, dir); !slices.Equal(left, []string{"default/2022-09-15.yaml"}) {
		t.Errorf("refusals left %v", left)
	}

	if err := publishing(t, dir, furnished(t, later("2026-01-05", Editorial), func(d *document) { d.Title["en"] = "Data" }), now); err != nil {
		t.Errorf("an editorial change may take effect at once: %v", err)
	}
	for _, next := range []*document{
		furnished(t, later("2026-02-01", Related), func(d *document) { d.Title["en"] = "Data" }, category("search_keyword", func(c *categoryDocument) { c.RetentionDays = 30 })),
		furnished(t, later("2026-03-01", Unrelated), func(d *document) { d.Title["en"] = "Data" }, category("search_keyword", func(c *categoryDocument) { c.RetentionDays = 30 }), moves("research_invitation", 13)),
	} {
		if err := publishing(t, dir, next, now); err != nil {
			t.Errorf("%s: %v", next.EffectiveFrom, err)
		}
	}
	again, err := os.ReadFile(filepath.Join(dir, "default", "2022-09-15.yaml"))
	if err != nil || string(again) != string(published) {
		t.Errorf("the first version changed: %v", err)
	}
	if left := names(t, dir); len(left) != 4 {
		t.Errorf("the directory holds %v", left)
	}
	r, err := Load(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	inForce, _ := r.At("default", time.Date(2026, 2, 15, 0, 0, 0, 0, time.UTC))
	if inForce.Version != "default/2026-02-01" {
		t.Errorf("%s is in force", inForce.Version)
	}
}

// names lists every file below a directory.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			relative, _ := filepath.Rel(dir, path)
			all = append(all, filepath.ToSlash(relative))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestPreparingSaysWhatPublishingDoesAndDoesNothing(t *testing.T) {
	dir, now := t.TempDir(), time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	if err := publishing(t, dir, first(t), now); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pack.yaml")
	next := furnished(t, later("2026-03-01", Unrelated), moves("research_invitation", 13))
	if err := os.WriteFile(file, encoded(t, next), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Prepare(dir, file, now)
	if err != nil {
		t.Fatal(err)
	}
	if p.Before.Version != "default/2022-09-15" || !slices.Equal(p.Diff.Reopens, []string{"research_invitation"}) || p.Diff.Class != Unrelated {
		t.Errorf("from %s, reopens %v", p.Before.Version, p.Diff.Reopens)
	}
	if len(names(t, dir)) != 1 {
		t.Error("preparing wrote something")
	}
	// What was prepared is held against the directory again: somebody else may have been faster.
	other := furnished(t, later("2026-02-01", Unrelated), moves("service_information", 13))
	if err := publishing(t, dir, other, now); err != nil {
		t.Fatal(err)
	}
	if err := p.Write(); err == nil || !strings.Contains(err.Error(), "takes bit 13 of service_information") {
		t.Errorf("a bit was taken twice: %v", err)
	}
}

func TestOfPublishersAtOnceOneWins(t *testing.T) {
	dir, now := t.TempDir(), time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	if err := publishing(t, dir, first(t), now); err != nil {
		t.Fatal(err)
	}
	ids := []string{"service_information", "behavioral_personalization", "usage_based_development", "research_invitation"}
	errs := make([]error, len(ids))
	var all sync.WaitGroup
	for i, id := range ids { // each wants the same bit in a version of its own
		file := filepath.Join(t.TempDir(), "pack.yaml")
		day := time.Date(2026, 3, 1+i, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
		if err := os.WriteFile(file, encoded(t, furnished(t, later(day, Unrelated), moves(id, 13))), 0o600); err != nil {
			t.Fatal(err)
		}
		all.Go(func() { errs[i] = Publish(dir, file, now) })
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d publishers won: %v", won, errors.Join(errs...))
	}
	if _, err := Load(os.DirFS(dir)); err != nil {
		t.Errorf("the directory no longer loads: %v", err)
	}
}

func TestNothingIsPublishedOntoFaults(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "default"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "default", "2022-09-15.yaml"), []byte("id: default"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := publishing(t, dir, furnished(t, later("2030-01-01", Editorial)), time.Now())
	if err == nil || !strings.Contains(err.Error(), "what is published already is at fault") {
		t.Errorf("error %v", err)
	}
	if err := Publish(dir, filepath.Join(dir, "no-such-file"), time.Now()); err == nil {
		t.Error("a file that is not there was published")
	}
}

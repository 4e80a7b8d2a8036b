package web

import (
	"testing"
	"testing/fstest"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestScriptsAreTheBuiltFiles(t *testing.T) {
	s, err := read(fstest.MapFS{
		"built/.keep": file(""), "built/s.js": file("core"), "built/s.consent.js": file("banner"), "built/version": file("9cc442035905\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"s.js": "core", "s.consent.js": "banner"} {
		if got, ok := s.Script(name); !ok || string(got) != want {
			t.Errorf("%s: %q, %t", name, got, ok)
		}
	}
	for _, name := range []string{"s.ad.js", "version", ".keep", "", "../web.go"} {
		if got, ok := s.Script(name); ok {
			t.Errorf("%q is no script and answered %q", name, got)
		}
	}
	if got := s.Version(); got != "9cc442035905" {
		t.Errorf("version %q", got)
	}
}

func TestWithoutABuildThereAreNoScripts(t *testing.T) {
	s, err := read(fstest.MapFS{"built/.keep": file("")})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Script("s.js"); ok || s.Version() != "" {
		t.Errorf("there is a script, of version %q", s.Version())
	}
}

func TestTheEmbeddedFilesAreAllThereOrNoneIs(t *testing.T) {
	s, err := NewScripts()
	if err != nil {
		t.Fatal(err)
	}
	_, built := s.Script("s.js")
	for _, module := range []string{"page", "links", "search", "purchase", "ad", "consent", "bridge"} {
		if _, ok := s.Script("s." + module + ".js"); ok != built {
			t.Errorf("module %s: %t, core: %t", module, ok, built)
		}
	}
	if (s.Version() != "") != built {
		t.Errorf("version %q, core: %t", s.Version(), built)
	}
}

package kit

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestTheLanguageIsTheOneAskedFor(t *testing.T) {
	for accept, want := range map[string]string{
		"": "ja", " ": "ja", "ja": "ja", "ja-JP,en;q=0.5": "ja", "en": "en", "EN-us": "en", "en-GB,en;q=0.9,ja;q=0.8": "en", "en;q=0.4,ja;q=0.5": "ja",
		"en-GB,ja,en": "en", "ja-JP,en-GB,en": "ja", "fr": "en", "fr,ja;q=0.5": "ja", "ja;q=0, en;q=0.1": "en", "*": "en", "nonsense;;": "en",
	} {
		if got := Preferred(accept); got != want {
			t.Errorf("%q: %s, want %s", accept, got, want)
		}
	}
}

func TestTextsAreReadInEveryLanguageOrNotAtAll(t *testing.T) {
	files := fstest.MapFS{"messages/ja.json": {Data: []byte(`{"tea":"お茶"}`)}, "messages/en.json": {Data: []byte(`{"tea":"tea"}`)}}
	texts, err := ReadTexts(files)
	if err != nil || len(texts) != 2 || texts["ja"]["tea"] != "お茶" || texts["en"]["tea"] != "tea" {
		t.Errorf("%v %v", texts, err)
	}
	files["messages/en.json"].Data = []byte(`{"tea":1}`)
	if _, err := ReadTexts(files); err == nil || !strings.Contains(err.Error(), "texts of en") {
		t.Errorf("a damaged file: %v", err)
	}
	delete(files, "messages/en.json")
	if _, err := ReadTexts(files); err == nil {
		t.Error("a language is missing, and nobody is told")
	}
}

func TestAPagesOwnStyleHasTheLastWord(t *testing.T) {
	own := []byte("a { color: red; }")
	if style := string(Style(own)); !strings.HasPrefix(style, base) || !strings.HasSuffix(style, "}\n"+string(own)) || string(Style(nil)) != base {
		t.Error(style)
	}
	for _, outside := range []string{"@import", "url(", "http:", "https:"} {
		if strings.Contains(base, outside) {
			t.Errorf("the style holds %s", outside)
		}
	}
}

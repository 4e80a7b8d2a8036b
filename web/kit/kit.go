// Package kit is what the house's pages are made of alike. What their tests ask of each of them is in kittest.
package kit

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/text/language"
)

//go:embed base.css
var base string

// Style is the style sheet of a page: what all of them stand on, and then its own.
func Style(own []byte) []byte { return append([]byte(base), own...) }

// Languages are those of every page. The first is for who asks for none.
func Languages() []string { return []string{"ja", "en"} }

// Preferred is the language that Accept-Language asks for: English where a browser asks for neither, Japanese where it
// asks for nothing.
func Preferred(accept string) string {
	if strings.TrimSpace(accept) == "" {
		return Languages()[0]
	}
	asked, weights, err := language.ParseAcceptLanguage(accept) // by preference
	if err != nil {
		return "en"
	}
	for i, tag := range asked {
		// Not the nearest match of all: who reads British English first and Japanese second gets English.
		if spoken, _ := tag.Base(); weights[i] > 0 && slices.Contains(Languages(), spoken.String()) {
			return spoken.String()
		}
	}
	return "en"
}

// ReadTexts reads the texts of a page in every language, by their keys, from messages/<language>.json.
func ReadTexts(files fs.FS) (map[string]map[string]string, error) {
	all := map[string]map[string]string{}
	for _, language := range Languages() {
		data, err := fs.ReadFile(files, "messages/"+language+".json")
		if err != nil {
			return nil, fmt.Errorf("read texts: %w", err)
		}
		texts := map[string]string{}
		if err := json.Unmarshal(data, &texts); err != nil {
			return nil, fmt.Errorf("read texts of %s: %w", language, err)
		}
		all[language] = texts
	}
	return all, nil
}

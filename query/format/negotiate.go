package format

import (
	"mime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/language"

	"github.com/sekisho/sekisho/internal/core"
)

// Language is that of a CSV header row. The zero value is none: the columns' names.
type Language string

// The languages.
const (
	Names    Language = ""
	Japanese Language = "ja"
	English  Language = "en"
)

// Negotiate chooses how an answer travels: what the parameter format names, or else what Accept prefers (RFC 9110,
// 12.5.1), where a client that accepts anything gets JSON. It refuses a parameter that names no form (400), and an Accept
// that takes none (406).
func Negotiate(accept, parameter string) (Form, *core.Error) {
	if parameter != "" {
		for i, f := range forms {
			if parameter == f.name {
				return Form(i), nil
			}
		}
		return JSON, &core.Error{Code: core.CodeInvalid, Field: "format", Message: "not json, csv, ndjson or parquet"}
	}
	if strings.TrimSpace(accept) == "" {
		return JSON, nil
	}
	best, highest := JSON, 0.0
	for i, f := range forms {
		if q := weight(accept, f.media, f.contentType); q > highest {
			best, highest = Form(i), q
		}
	}
	if highest == 0 {
		return JSON, &core.Error{
			Code: core.CodeNotAcceptable, Field: "Accept",
			Message: "an answer is application/json, text/csv, application/x-ndjson or application/vnd.apache.parquet",
		}
	}
	return best, nil
}

// weight is what Accept gives a media type: the most specific range that covers it decides. A range that is not well
// formed covers nothing.
func weight(accept, media, contentType string) (q float64) {
	kind, _, _ := strings.Cut(media, "/")
	specific := -1
	for part := range strings.SplitSeq(accept, ",") {
		accepted, parameters, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		covers := -1
		switch accepted {
		case media:
			covers = 2
		case kind + "/*":
			covers = 1
		case "*/*":
			covers = 0
		}
		given := 1.0
		_, own, _ := mime.ParseMediaType(contentType) // ours are well formed
		for name, value := range parameters {
			switch {
			case name == "q":
				given = quality(value)
			case covers < 2:
			case strings.EqualFold(own[name], value):
				covers++
			default:
				covers = -1 // of this type, another variety
			}
		}
		if covers > specific {
			specific, q = covers, given
		}
	}
	return q
}

// quality reads a weight. One that is none is taken for a refusal.
func quality(value string) float64 {
	q, err := strconv.ParseFloat(value, 64)
	if err != nil || !(q >= 0 && q <= 1) {
		return 0
	}
	return q
}

// spoken are the languages of the labels.
var spoken = []Language{Japanese, English}

// Preferred is the language of the labels that Accept-Language asks for; Names where it asks for neither, or for
// anything.
func Preferred(acceptLanguage string) Language {
	tags, weights, err := language.ParseAcceptLanguage(acceptLanguage)
	if err != nil {
		return Names
	}
	for i, tag := range tags { // by preference
		// Not the nearest match of all: who reads British English first and Japanese second gets English.
		if base, _ := tag.Base(); weights[i] > 0 && slices.Contains(spoken, Language(base.String())) {
			return Language(base.String())
		}
	}
	return Names
}

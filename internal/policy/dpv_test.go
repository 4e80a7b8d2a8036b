package policy

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// dpvTerms are the terms of DPV 2.1 that an export may use, other than purposes.
var dpvTerms = strings.Fields(`
Process Purpose PersonalData PseudonymisedData DataProcessor ThirdParty Consent LegalBasis StorageDuration
TemporalDuration OptingInToProcess OptingOutFromProcess WithdrawingFromProcess CannotOptOutFromProcess
hasProcess hasPurpose hasPersonalData hasLegalBasis hasEntityInvolvement hasJurisdiction hasDataProcessor
hasRecipientThirdParty hasStorageCondition hasDuration hasLocation`)

// small leaves the purposes whose bases differ, and what they use.
func small(d *document) {
	keep := []string{"service_information", "in_service_recommendation", "operational_notice"}
	d.Purposes = slices.DeleteFunc(d.Purposes, func(p purposeDocument) bool { return !slices.Contains(keep, p.ID) })
	var used []string
	for _, p := range d.Purposes {
		used = append(used, p.Categories...)
	}
	for i := range d.Categories {
		if id := d.Categories[i].ID; !slices.Contains(used, id) && id != "record" && id != "pseudonym" {
			d.Categories[i].Ingest = "deny"
		}
	}
	d.Processors[0].Purposes, d.Processors[0].Categories = keep[:1], []string{"contact_name"}
	d.Recipients = d.Recipients[2:]
	d.Recipients[0].Purposes, d.Recipients[0].Sent.Categories = keep[:1], []string{"contact_details"}
}

func TestThePackInTheTermsOfDPV(t *testing.T) {
	const golden = "testdata/small.jsonld"
	got, err := parsed(t, furnished(t, small)).DPV()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the export differs from " + golden + "; if it should, run the test with -update")
	}
}

func TestAnExportUsesTermsThatExistAndNamesWhatIsThere(t *testing.T) {
	p := parsed(t, furnished(t))
	out, err := p.DPV()
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Context map[string]string `json:"@context"`
		Graph   []map[string]any  `json:"@graph"`
	}
	if err := json.Unmarshal(out, &document); err != nil {
		t.Fatal(err)
	}
	defined, named := map[string]bool{}, map[string]bool{}
	var walk func(value any)
	term := func(name string) {
		prefix, local, ok := strings.Cut(name, ":")
		switch {
		case strings.HasPrefix(name, "@") || prefix == "urn":
		case !ok || document.Context[prefix] == "":
			t.Errorf("%s has no prefix of the context", name)
		case prefix == "dpv" && !slices.Contains(dpvTerms, local) && !slices.Contains(dpvPurposes, local):
			t.Errorf("%s is no term of DPV", name)
		}
	}
	walk = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for key, x := range v {
				term(key)
				switch iri, text := x.(string); {
				case key == "@id" && len(v) == 1:
					named[iri] = true
					term(iri)
				case key == "@id":
					defined[iri] = true
				case key == "@type" && text:
					term(iri)
				}
				walk(x)
			}
		}
	}
	for _, n := range document.Graph {
		walk(n)
	}
	for iri := range named {
		if strings.HasPrefix(iri, "urn:") && !defined[iri] {
			t.Errorf("%s is named and not described", iri)
		}
	}
	for _, iri := range []string{
		"urn:sekisho:policy:default:purpose:marketing_use:9", "urn:sekisho:policy:default:2022-09-15:recipient:ad_network",
		"urn:sekisho:policy:default:2022-09-15:processor:mail_house", "urn:sekisho:policy:default:2022-09-15:process:marketing_use:eu",
	} {
		if !defined[iri] {
			t.Errorf("%s is not described", iri)
		}
	}
	for _, absent := range []string{"employee_name", "individual_number", "own_collector"} {
		if bytes.Contains(out, []byte(absent)) {
			t.Errorf("the export names %s", absent)
		}
	}
}

package policy

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/core"
)

// node is one resource of a JSON-LD graph.
type node = map[string]any

// DPV is the pack in the terms of the W3C Data Privacy Vocabulary 2 (https://w3id.org/dpv), as JSON-LD: a process for
// each purpose and jurisdiction, with its legal basis, what the subject can do about it, its data and who else handles
// it; and for each category how long it is stored. Purposes of the pack are narrower concepts of DPV's. What is never
// accepted is not in it, and neither are the operator's own tags: they provide nothing to anybody.
func (p *Pack) DPV() ([]byte, error) {
	document := node{
		"@context": node{
			"dpv": "https://w3id.org/dpv#", "loc": "https://w3id.org/dpv/loc#", "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
			"dct": "http://purl.org/dc/terms/", "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
			"skos": "http://www.w3.org/2004/02/skos/core#", "xsd": "http://www.w3.org/2001/XMLSchema#",
		},
		"@graph": p.graph(),
	}
	out, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write policy as DPV: %w", err)
	}
	return append(out, '\n'), nil
}

func (p *Pack) graph() []node {
	var processes, graph []node
	var names []any
	for i := range p.Purposes {
		graph = append(graph, p.dpvPurpose(&p.Purposes[i]))
		for _, j := range p.Jurisdictions {
			process := p.dpvProcess(&p.Purposes[i], j)
			processes = append(processes, process)
			names = append(names, ref(process["@id"].(string)))
		}
	}
	graph = append(graph, processes...)
	for i := range p.Categories {
		if !p.Categories[i].Denied {
			graph = append(graph, p.dpvCategory(&p.Categories[i]))
		}
	}
	for i := range p.Processors {
		x := &p.Processors[i]
		graph = append(graph, node{
			"@id": p.iri("processor", x.ID), "@type": "dpv:DataProcessor", "skos:prefLabel": texts(x.Name), "dpv:hasLocation": ref("loc:" + x.Region),
		})
	}
	for i := range p.Recipients {
		if x := &p.Recipients[i]; x.Kind != OwnTag && !x.entrusted() {
			graph = append(graph, node{"@id": p.iri("recipient", x.ID), "@type": "dpv:ThirdParty", "skos:prefLabel": texts(x.Name)})
		}
	}
	whole := node{
		"@id": p.iri(), "@type": "dpv:Process",
		"dct:identifier": p.Version, "dct:title": texts(p.Title), "dpv:hasProcess": names,
		"dct:valid": node{"@type": "xsd:dateTime", "@value": p.EffectiveFrom.UTC().Format(time.RFC3339)},
	}
	return append([]node{whole}, graph...)
}

// iri names something as this version has it.
func (p *Pack) iri(parts ...string) string {
	return "urn:sekisho:policy:" + strings.Join(append([]string{strings.ReplaceAll(p.Version, "/", ":")}, parts...), ":")
}

// purposeIRI names a purpose for all versions, by its bit as well: an unrelated change makes it another one.
func (p *Pack) purposeIRI(x *Purpose) string {
	return "urn:sekisho:policy:" + p.ID + ":purpose:" + x.ID + ":" + strconv.Itoa(int(x.Bit))
}

func ref(iri string) node { return node{"@id": iri} }

func texts(t Text) []node {
	return []node{{"@language": "ja", "@value": t["ja"]}, {"@language": "en", "@value": t["en"]}}
}

func (p *Pack) dpvPurpose(x *Purpose) node {
	broader := []node{ref("dpv:Purpose")}
	if x.Mappings.DPV != "" {
		broader = []node{ref("dpv:" + x.Mappings.DPV)}
	}
	if parent, ok := p.Purpose(x.Parent); ok {
		broader = append(broader, ref(p.purposeIRI(parent)))
	}
	n := node{
		"@id": p.purposeIRI(x), "@type": []string{"skos:Concept", "dpv:Purpose"}, "skos:broader": broader,
		"skos:prefLabel": texts(x.Label), "skos:definition": texts(x.Text), "dct:source": "Art. " + x.Article,
	}
	var elsewhere []string
	if x.Mappings.Fideslang != "" {
		elsewhere = append(elsewhere, "fideslang:"+x.Mappings.Fideslang)
	}
	for _, id := range x.Mappings.TCF {
		elsewhere = append(elsewhere, "tcf:"+id)
	}
	if elsewhere != nil {
		n["dct:identifier"] = elsewhere
	}
	return n
}

func (p *Pack) dpvProcess(x *Purpose, jurisdiction string) node {
	n := node{"@id": p.iri("process", x.ID, jurisdiction), "@type": "dpv:Process", "dpv:hasPurpose": ref(p.purposeIRI(x))}
	if len(jurisdiction) == 2 { // default is no place
		n["dpv:hasJurisdiction"] = ref("loc:" + strings.ToUpper(jurisdiction))
	}
	basis := x.Basis[jurisdiction]
	switch {
	case basis == core.Consent && jurisdiction == "eu":
		n["dpv:hasLegalBasis"] = ref("eu-gdpr:A6-1-a")
	case basis == core.Consent:
		n["dpv:hasLegalBasis"] = ref("dpv:Consent")
	default: // which one is the operator's assessment, and no term says it
		n["dpv:hasLegalBasis"] = node{"@type": "dpv:LegalBasis", "skos:prefLabel": texts(basisLabels[basis])}
	}
	switch basis {
	case core.Consent:
		n["dpv:hasEntityInvolvement"] = []node{ref("dpv:OptingInToProcess"), ref("dpv:WithdrawingFromProcess")}
	case core.OptOut:
		n["dpv:hasEntityInvolvement"] = []node{ref("dpv:OptingOutFromProcess")}
	default:
		n["dpv:hasEntityInvolvement"] = []node{ref("dpv:CannotOptOutFromProcess")}
	}
	var data, processors, parties []node
	for _, c := range core.Categories() {
		if x.Categories.Has(c) {
			data = append(data, ref(p.iri("category", c.String())))
		}
	}
	n["dpv:hasPersonalData"] = data
	for i := range p.Processors {
		if p.Processors[i].Purposes.Has(x.Bit) {
			processors = append(processors, ref(p.iri("processor", p.Processors[i].ID)))
		}
	}
	for i := range p.Recipients {
		if r := &p.Recipients[i]; r.Kind != OwnTag && !r.entrusted() && r.Purposes.Has(x.Bit) {
			parties = append(parties, ref(p.iri("recipient", r.ID)))
		}
	}
	if processors != nil {
		n["dpv:hasDataProcessor"] = processors
	}
	if parties != nil {
		n["dpv:hasRecipientThirdParty"] = parties
	}
	return n
}

func (p *Pack) dpvCategory(x *Category) node {
	kind := "dpv:PersonalData" // of DPV, which is wider than personal information in Japanese law
	if x.Category == core.Pseudonym {
		kind = "dpv:PseudonymisedData"
	}
	days := strconv.Itoa(int(x.Retention / (24 * time.Hour)))
	return node{
		"@id": p.iri("category", x.Category.String()), "@type": kind, "skos:prefLabel": texts(x.Label), "dct:source": "Art. " + x.Article,
		"dpv:hasStorageCondition": node{
			"@type": "dpv:StorageDuration",
			"dpv:hasDuration": node{
				"@type": "dpv:TemporalDuration", "rdf:value": node{"@type": "xsd:duration", "@value": "P" + days + "D"},
			},
		},
	}
}

package policy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/schemas"
)

// maxPack bounds a pack, in bytes.
const maxPack = 1 << 20

// document is a pack as written (schemas/json/policy.v1.schema.json).
type document struct {
	ID            string              `yaml:"id" json:"id"`
	EffectiveFrom string              `yaml:"effective_from" json:"effective_from"`
	TimeZone      string              `yaml:"time_zone" json:"time_zone"`
	Change        Class               `yaml:"change" json:"change"`
	Jurisdictions []string            `yaml:"jurisdictions" json:"jurisdictions"`
	Title         Text                `yaml:"title" json:"title"`
	Notice        map[string]Notice   `yaml:"notice" json:"notice"`
	Purposes      []purposeDocument   `yaml:"purposes" json:"purposes"`
	Categories    []categoryDocument  `yaml:"categories" json:"categories"`
	Processors    []processorDocument `yaml:"processors" json:"processors"`
	Recipients    []recipientDocument `yaml:"recipients" json:"recipients"`
}

type purposeDocument struct {
	ID            string            `yaml:"id" json:"id"`
	Bit           uint8             `yaml:"bit" json:"bit"`
	Replaces      *uint8            `yaml:"replaces" json:"replaces,omitempty"`
	Article       string            `yaml:"article" json:"article"`
	Parent        string            `yaml:"parent" json:"parent,omitempty"`
	Basis         map[string]string `yaml:"basis" json:"basis"`
	GPC           string            `yaml:"gpc" json:"gpc,omitempty"`
	Pseudonymised bool              `yaml:"pseudonymised" json:"pseudonymised,omitempty"`
	Categories    []string          `yaml:"categories" json:"categories"`
	Mappings      Mappings          `yaml:"mappings" json:"mappings,omitzero"`
	Label         Text              `yaml:"label" json:"label"`
	Text          Text              `yaml:"text" json:"text"`
}

type categoryDocument struct {
	ID            string `yaml:"id" json:"id"`
	Article       string `yaml:"article" json:"article"`
	Class         string `yaml:"class" json:"class"`
	RetentionDays int    `yaml:"retention_days" json:"retention_days"`
	Ingest        string `yaml:"ingest" json:"ingest,omitempty"`
	Label         Text   `yaml:"label" json:"label"`
}

type processorDocument struct {
	ID       string `yaml:"id" json:"id"`
	Name     Text   `yaml:"name" json:"name"`
	Contract struct {
		Reference string `yaml:"reference" json:"reference"`
		Date      string `yaml:"date" json:"date"`
	} `yaml:"contract" json:"contract"`
	Reviewed   string   `yaml:"reviewed" json:"reviewed"`
	Expires    string   `yaml:"expires" json:"expires"`
	Region     string   `yaml:"region" json:"region"`
	Categories []string `yaml:"categories" json:"categories"`
	Purposes   []string `yaml:"purposes" json:"purposes"`
	Hosts      []string `yaml:"hosts" json:"hosts"`
}

type recipientDocument struct {
	ID               string        `yaml:"id" json:"id"`
	Kind             RecipientKind `yaml:"kind" json:"kind"`
	Name             Text          `yaml:"name" json:"name"`
	Basis            Ground        `yaml:"basis" json:"basis"`
	TreatedAs        Ground        `yaml:"treated_as" json:"treated_as,omitempty"`
	Processor        string        `yaml:"processor" json:"processor,omitempty"`
	Justification    string        `yaml:"justification" json:"justification,omitempty"`
	ConsentDifficult bool          `yaml:"consent_difficult" json:"consent_difficult,omitempty"`
	Sent             struct {
		Categories []string `yaml:"categories" json:"categories"`
		Text       Text     `yaml:"text" json:"text"`
	} `yaml:"sent" json:"sent"`
	Purposes []string `yaml:"purposes" json:"purposes"`
	Use      struct {
		Operator  Text `yaml:"operator" json:"operator"`
		Recipient Text `yaml:"recipient" json:"recipient"`
	} `yaml:"use" json:"use"`
	PolicyURL string `yaml:"policy_url" json:"policy_url,omitempty"`
	OptOut    struct {
		URL  string `yaml:"url" json:"url,omitempty"`
		Text Text   `yaml:"text" json:"text,omitempty"`
	} `yaml:"opt_out" json:"opt_out"`
	Hosts []string `yaml:"hosts" json:"hosts,omitempty"`
}

// Parse reads one pack: held against its JSON Schema, then against the rules the schema cannot say. The error holds
// every fault (Faults).
func Parse(data []byte) (*Pack, error) {
	p, faults := parse(data)
	if len(faults) > 0 {
		return nil, join(faults)
	}
	return p, nil
}

func parse(data []byte) (*Pack, []*Fault) {
	if len(data) > maxPack {
		return nil, []*Fault{{Problem: fmt.Sprintf("longer than %d bytes", maxPack)}}
	}
	var root yaml.Node
	stream := yaml.NewDecoder(bytes.NewReader(data))
	if err := stream.Decode(&root); err != nil {
		return nil, []*Fault{{Problem: fmt.Sprintf("not YAML: %v", err)}}
	}
	if err := stream.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, []*Fault{{Problem: "a pack is one YAML document; more follows the first"}}
	}
	r := &reader{pack: &Pack{rules: map[string]*consent.Rules{}, source: &document{}}}
	if err := schemas.Validate("policy.v1.schema.json", data); err != nil {
		for _, leaf := range leaves(err) {
			place, problem, ok := strings.Cut(leaf.Error(), ": ")
			if !ok || !strings.HasPrefix(place, "/") {
				place, problem = "", leaf.Error()
			}
			r.fault(strings.TrimSuffix(place, "/"), "%s", problem)
		}
	} else if err := root.Decode(r.pack.source); err != nil {
		r.fault("", "not a pack: %v", err)
	} else {
		r.read()
	}
	for _, f := range r.faults {
		f.locate(&root)
	}
	if len(r.faults) > 0 {
		return nil, r.faults
	}
	r.pack.root = &root
	r.pack.Hash = fmt.Sprintf("sha256:%x", sha256.Sum256(data))
	return r.pack, nil
}

// reader fills a pack from its document, and notes what cannot be read.
type reader struct {
	pack   *Pack
	faults []*Fault
}

func (r *reader) fault(place, format string, args ...any) {
	r.faults = append(r.faults, &Fault{Place: place, Problem: fmt.Sprintf(format, args...)})
}

func (r *reader) read() {
	d, p := r.pack.source, r.pack
	var err error
	if p.Location, err = time.LoadLocation(d.TimeZone); err != nil || d.TimeZone == "Local" {
		r.fault("/time_zone", "not a time zone by name")
		return // no date can be read without it
	}
	p.ID, p.Version, p.Change, p.Jurisdictions = d.ID, d.ID+"/"+d.EffectiveFrom, d.Change, d.Jurisdictions
	p.EffectiveFrom = r.date("/effective_from", d.EffectiveFrom)
	p.Title, p.Notice = d.Title, d.Notice
	r.readCategories()
	r.readPurposes()
	r.readProcessors()
	r.readRecipients()
	r.faults = append(r.faults, p.check()...)
	if len(r.faults) > 0 {
		return
	}
	for _, j := range p.Jurisdictions {
		var rules consent.Rules
		for _, purpose := range p.Purposes {
			rules[purpose.Bit] = consent.Rule{Basis: purpose.Basis[j], GPCDenied: purpose.GPCDenied, Categories: purpose.Categories}
		}
		p.rules[j] = &rules
	}
}

// date reads the beginning of a day.
func (r *reader) date(place, day string) time.Time {
	t, err := time.ParseInLocation(time.DateOnly, day, r.pack.Location)
	if err != nil {
		r.fault(place, "not a date")
	}
	return t
}

func (r *reader) readCategories() {
	seen := map[core.Category]bool{}
	for i, c := range r.pack.source.Categories {
		place := at("categories", i)
		category, ok := core.ParseCategory(c.ID)
		if !ok {
			r.fault(place+"/id", "category %s: not a known category", c.ID)
			continue
		}
		if seen[category] {
			r.fault(place+"/id", "category %s: named twice", c.ID)
		}
		seen[category] = true
		r.pack.Categories = append(r.pack.Categories, Category{
			Category: category, Article: c.Article, Personal: c.Class == "personal",
			Retention: time.Duration(c.RetentionDays) * 24 * time.Hour, Denied: c.Ingest == "deny", Label: c.Label,
		})
	}
	for _, category := range core.Categories() {
		if !seen[category] {
			r.fault("/categories", "category %s: no retention period (Art. 7-5)", category)
		}
	}
}

func (r *reader) readPurposes() {
	d := r.pack.source
	for i, x := range d.Purposes {
		place := at("purposes", i)
		purpose := Purpose{
			ID: x.ID, Bit: core.Purpose(x.Bit), Article: x.Article, Parent: x.Parent, Basis: map[string]core.Basis{},
			GPCDenied: x.GPC == "deny", Pseudonymised: x.Pseudonymised, Mappings: x.Mappings, Label: x.Label, Text: x.Text,
		}
		if x.Replaces != nil {
			purpose.Replaces = new(core.Purpose(*x.Replaces))
		}
		purpose.Categories = r.categories(place+"/categories", "purpose "+x.ID, x.Categories)
		for _, j := range d.Jurisdictions {
			basis, ok := core.ParseBasis(x.Basis[j])
			if !ok {
				r.fault(place+"/basis", "purpose %s: no basis in jurisdiction %s", x.ID, j)
				continue
			}
			purpose.Basis[j] = basis
		}
		for _, j := range slices.Sorted(maps.Keys(x.Basis)) {
			if !slices.Contains(d.Jurisdictions, j) {
				r.fault(place+"/basis/"+j, "purpose %s: the pack does not name jurisdiction %s", x.ID, j)
			}
		}
		r.pack.Purposes = append(r.pack.Purposes, purpose)
	}
}

func (r *reader) readProcessors() {
	for i, x := range r.pack.source.Processors {
		place, who := at("processors", i), "processor "+x.ID
		r.pack.Processors = append(r.pack.Processors, Processor{
			ID: x.ID, Name: x.Name, Contract: x.Contract.Reference, Signed: r.date(place+"/contract/date", x.Contract.Date),
			Reviewed: r.date(place+"/reviewed", x.Reviewed), Expires: r.date(place+"/expires", x.Expires).AddDate(0, 0, 1),
			Region: x.Region, Hosts: x.Hosts,
			Categories: r.categories(place+"/categories", who, x.Categories),
			Purposes:   r.purposes(place+"/purposes", who, x.Purposes),
		})
	}
}

func (r *reader) readRecipients() {
	for i, x := range r.pack.source.Recipients {
		place, who := at("recipients", i), "recipient "+x.ID
		r.pack.Recipients = append(r.pack.Recipients, Recipient{
			ID: x.ID, Kind: x.Kind, Name: x.Name, Ground: x.Basis, TreatedAs: x.TreatedAs, Processor: x.Processor,
			Justification: x.Justification, ConsentDifficult: x.ConsentDifficult,
			Sent:     r.categories(place+"/sent/categories", who, x.Sent.Categories),
			SentText: x.Sent.Text, Purposes: r.purposes(place+"/purposes", who, x.Purposes),
			OperatorUse: x.Use.Operator, RecipientUse: x.Use.Recipient, PolicyURL: x.PolicyURL,
			OptOutURL: x.OptOut.URL, OptOutText: x.OptOut.Text, Hosts: x.Hosts,
		})
	}
}

// categories reads the categories that somebody may use or is sent. Some nobody may.
func (r *reader) categories(place, who string, ids []string) (set core.CategorySet) {
	for i, id := range ids {
		category, ok := core.ParseCategory(id)
		switch {
		case !ok:
			r.fault(place+"/"+strconv.Itoa(i), "%s: category %s is not known", who, id)
		case neverPurposed.Has(category):
			r.fault(place+"/"+strconv.Itoa(i), "%s: no purpose may use category %s", who, id)
		default:
			set |= core.SetOf(category)
		}
	}
	return set
}

// purposes reads the purposes that data is sent for.
func (r *reader) purposes(place, who string, ids []string) (set core.PurposeSet) {
	for i, id := range ids {
		purpose, ok := r.pack.Purpose(id)
		if !ok {
			r.fault(place+"/"+strconv.Itoa(i), "%s: %s is no purpose of the pack", who, id)
			continue
		}
		set = set.With(purpose.Bit)
	}
	return set
}

// at is the JSON Pointer of an element of a list.
func at(list string, i int) string { return "/" + list + "/" + strconv.Itoa(i) }

// locate finds the line that the fault's place points into: the deepest part of it that is there. A step into a list
// may be an element's id; the place gets its index.
func (f *Fault) locate(root *yaml.Node) {
	node := root
	if node.Kind == yaml.DocumentNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	f.Line = node.Line
	steps := strings.Split(f.Place, "/")
	for i := 1; i < len(steps); i++ {
		next, name := child(node, steps[i])
		if next == nil {
			break
		}
		node, steps[i], f.Line = next, name, next.Line
	}
	f.Place = strings.Join(steps, "/")
}

// child takes one step of a place, and says what the step is called in a JSON Pointer.
func child(node *yaml.Node, step string) (next *yaml.Node, name string) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1], step
			}
		}
	case yaml.SequenceNode:
		for i, element := range node.Content {
			id, _ := child(element, "id")
			if strconv.Itoa(i) == step || element.Value == step && step != "" || id != nil && id.Value == step {
				return element, strconv.Itoa(i)
			}
		}
	}
	return nil, ""
}

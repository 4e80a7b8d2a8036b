package policy

import (
	"encoding/json"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
)

// Default is the jurisdiction of a site that names no other: in every pack at least as strict as each of the others.
// A jurisdiction that a pack does not name is not served by it; a site has to say default.
const Default = "default"

// Text is a text by language: ja and en.
type Text = map[string]string

// Pack is one version of one policy.
type Pack struct {
	ID            string
	Version       string // "<id>/<date>", as stored on rows and named by consent acts
	Hash          string // "sha256:" and the hash of the pack's text, byte by byte
	EffectiveFrom time.Time
	Location      *time.Location // in which its dates begin and end
	Change        Class          // as declared; Initial for the first version
	Jurisdictions []string
	Title         Text
	Notice        map[string]Notice // by language
	Purposes      []Purpose
	Categories    []Category
	Processors    []Processor
	Recipients    []Recipient

	rules  map[string]*consent.Rules
	source *document
	root   *yaml.Node // the source with its lines
}

// Purpose is one purpose of use (Art. 5).
type Purpose struct {
	ID            string
	Bit           core.Purpose
	Replaces      *core.Purpose // the bit it held before, in the one version that moves it
	Article       string
	Parent        string
	Basis         map[string]core.Basis // by jurisdiction
	GPCDenied     bool
	Pseudonymised bool
	Categories    core.CategorySet
	Mappings      Mappings
	Label         Text
	Text          Text
}

// needsConsent reports whether the purpose rests on consent in some jurisdiction.
func (p *Purpose) needsConsent() bool {
	for _, basis := range p.Basis {
		if basis == core.Consent {
			return true
		}
	}
	return false
}

// Mappings are the purpose's names in other vocabularies: W3C DPV, Fideslang, IAB TCF.
type Mappings struct {
	DPV       string   `yaml:"dpv" json:"dpv,omitempty"`
	Fideslang string   `yaml:"fideslang" json:"fideslang,omitempty"`
	TCF       []string `yaml:"tcf" json:"tcf,omitempty"`
}

// Category is what the policy says of one data category.
type Category struct {
	Category  core.Category
	Article   string
	Personal  bool // personal information, not user information (Art. 3)
	Retention time.Duration
	Denied    bool // never accepted
	Label     Text
}

// Notice is the text of the consent banner in one language.
type Notice struct {
	Title    string `yaml:"title" json:"title"`
	Body     string `yaml:"body" json:"body"`
	Accept   string `yaml:"accept" json:"accept"`
	Refuse   string `yaml:"refuse" json:"refuse"`
	Choose   string `yaml:"choose" json:"choose"`
	Save     string `yaml:"save" json:"save"`
	Reopen   string `yaml:"reopen" json:"reopen"`
	Withdraw string `yaml:"withdraw" json:"withdraw"`
}

// Purpose finds a purpose by its machine id.
func (p *Pack) Purpose(id string) (*Purpose, bool) {
	for i := range p.Purposes {
		if p.Purposes[i].ID == id {
			return &p.Purposes[i], true
		}
	}
	return nil, false
}

// Children are the purposes whose parent is id.
func (p *Pack) Children(id string) []*Purpose {
	var children []*Purpose
	for i := range p.Purposes {
		if p.Purposes[i].Parent == id {
			children = append(children, &p.Purposes[i])
		}
	}
	return children
}

// Rules are the decision rules in a jurisdiction; false for one the pack does not name.
func (p *Pack) Rules(jurisdiction string) (*consent.Rules, bool) {
	r, ok := p.rules[jurisdiction]
	return r, ok
}

// Category is what the pack says of a category.
func (p *Pack) Category(c core.Category) (*Category, bool) {
	for i := range p.Categories {
		if p.Categories[i].Category == c {
			return &p.Categories[i], true
		}
	}
	return nil, false
}

// Retention is how long a category may be kept; false when the pack does not name it.
func (p *Pack) Retention(c core.Category) (time.Duration, bool) {
	said, ok := p.Category(c)
	if !ok {
		return 0, false
	}
	return said.Retention, true
}

// MarshalJSON implements json.Marshaler: the pack as it is written, which Parse reads again.
func (p *Pack) MarshalJSON() ([]byte, error) { return json.Marshal(p.source) }

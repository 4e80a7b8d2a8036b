// Package policy loads policy packs: a privacy policy as reviewed data (schemas/policy/<id>/<date>.yaml). A pack that
// breaks a rule does not load, and nothing starts without one (fail closed).
package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/schemas"
)

// Pack is one version of one policy.
type Pack struct {
	ID            string
	Version       string // "<id>/<date>", as stored on rows and named by consent acts
	EffectiveFrom time.Time
	Change        string // initial, editorial, related or unrelated (Art. 6)
	Jurisdictions []string
	Title         map[string]string // by language
	Notice        map[string]Notice // by language
	Purposes      []Purpose
	Categories    []Category

	rules map[string]*consent.Rules
}

// Purpose is one purpose of use (Art. 5).
type Purpose struct {
	ID            string
	Bit           core.Purpose
	Article       string
	Parent        string
	Basis         map[string]core.Basis // by jurisdiction
	GPCDenied     bool
	Pseudonymised bool
	Categories    core.CategorySet
	Mappings      Mappings
	Label         map[string]string
	Text          map[string]string
}

// Mappings are the purpose's names in other vocabularies: W3C DPV, Fideslang, IAB TCF.
type Mappings struct {
	DPV       string   `yaml:"dpv"`
	Fideslang string   `yaml:"fideslang"`
	TCF       []string `yaml:"tcf"`
}

// Category is what the policy says of one data category.
type Category struct {
	Category  core.Category
	Article   string
	Personal  bool // personal information, not user information (Art. 3)
	Retention time.Duration
	Denied    bool // never accepted
	Label     map[string]string
}

// Notice is the text of the consent banner in one language.
type Notice struct {
	Title    string `yaml:"title"`
	Body     string `yaml:"body"`
	Accept   string `yaml:"accept"`
	Refuse   string `yaml:"refuse"`
	Choose   string `yaml:"choose"`
	Save     string `yaml:"save"`
	Reopen   string `yaml:"reopen"`
	Withdraw string `yaml:"withdraw"`
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

// Retention is how long a category may be kept; false when the pack does not name it.
func (p *Pack) Retention(c core.Category) (time.Duration, bool) {
	for i := range p.Categories {
		if p.Categories[i].Category == c {
			return p.Categories[i].Retention, true
		}
	}
	return 0, false
}

// Register holds every version of every policy.
type Register struct{ packs map[string][]*Pack }

// At is the version in force at t. Before the first version there is none.
func (r *Register) At(id string, t time.Time) (*Pack, bool) {
	versions := r.packs[id]
	n := sort.Search(len(versions), func(i int) bool { return versions[i].EffectiveFrom.After(t) })
	if n == 0 {
		return nil, false
	}
	return versions[n-1], true
}

// Version finds a pack by its version name.
func (r *Register) Version(version string) (*Pack, bool) {
	id, _, _ := strings.Cut(version, "/")
	for _, p := range r.packs[id] {
		if p.Version == version {
			return p, true
		}
	}
	return nil, false
}

// All lists every pack, by id and then by date.
func (r *Register) All() []*Pack {
	var all []*Pack
	for _, versions := range r.packs {
		all = append(all, versions...)
	}
	slices.SortFunc(all, func(a, b *Pack) int { return strings.Compare(a.Version, b.Version) })
	return all
}

// Builtin loads the packs that ship with the program.
func Builtin() (*Register, error) {
	sub, err := fs.Sub(schemas.Policy, "policy")
	if err != nil {
		return nil, fmt.Errorf("open policy packs: %w", err)
	}
	return Load(sub)
}

// Load reads every <id>/<date>.yaml below the root. Every fault of every pack is in the error.
func Load(fsys fs.FS) (*Register, error) {
	files, err := fs.Glob(fsys, "*/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list policy packs: %w", err)
	}
	if len(files) == 0 {
		return nil, errors.New("list policy packs: there is none")
	}
	r := &Register{packs: map[string][]*Pack{}}
	var faults []error
	for _, name := range files {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("read policy pack: %w", err)
		}
		pack, err := Parse(data)
		if err == nil && pack.Version != strings.TrimSuffix(name, path.Ext(name)) {
			err = fmt.Errorf("it holds version %s", pack.Version)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("load policy pack %s: %w", name, err))
			continue
		}
		r.packs[pack.ID] = append(r.packs[pack.ID], pack)
	}
	for _, versions := range r.packs {
		slices.SortFunc(versions, func(a, b *Pack) int { return a.EffectiveFrom.Compare(b.EffectiveFrom) })
		faults = append(faults, checkBits(versions)...)
	}
	return r, errors.Join(faults...)
}

// checkBits holds the registry append-only: a bit belongs to one purpose for ever, or rows stored under an old
// version would become readable under a new purpose.
func checkBits(versions []*Pack) (faults []error) {
	owner := map[core.Purpose]string{}
	bit := map[string]core.Purpose{}
	for _, v := range versions {
		for _, p := range v.Purposes {
			if id, taken := owner[p.Bit]; taken && id != p.ID {
				faults = append(faults, fmt.Errorf("load policy pack %s: purpose %s takes bit %d of %s", v.Version, p.ID, p.Bit, id))
			}
			if b, known := bit[p.ID]; known && b != p.Bit {
				faults = append(faults, fmt.Errorf("load policy pack %s: purpose %s moves from bit %d to %d", v.Version, p.ID, b, p.Bit))
			}
			owner[p.Bit], bit[p.ID] = p.ID, p.Bit
		}
	}
	return faults
}

// document is a pack as written.
type document struct {
	ID            string            `yaml:"id"`
	EffectiveFrom string            `yaml:"effective_from"`
	TimeZone      string            `yaml:"time_zone"`
	Change        string            `yaml:"change"`
	Jurisdictions []string          `yaml:"jurisdictions"`
	Title         map[string]string `yaml:"title"`
	Notice        map[string]Notice `yaml:"notice"`
	Purposes      []struct {
		ID            string            `yaml:"id"`
		Bit           uint8             `yaml:"bit"`
		Article       string            `yaml:"article"`
		Parent        string            `yaml:"parent"`
		Basis         map[string]string `yaml:"basis"`
		GPC           string            `yaml:"gpc"`
		Pseudonymised bool              `yaml:"pseudonymised"`
		Categories    []string          `yaml:"categories"`
		Mappings      Mappings          `yaml:"mappings"`
		Label         map[string]string `yaml:"label"`
		Text          map[string]string `yaml:"text"`
	} `yaml:"purposes"`
	Categories []struct {
		ID            string            `yaml:"id"`
		Article       string            `yaml:"article"`
		Class         string            `yaml:"class"`
		RetentionDays int               `yaml:"retention_days"`
		Ingest        string            `yaml:"ingest"`
		Label         map[string]string `yaml:"label"`
	} `yaml:"categories"`
}

// neverPurposed are collected by no purpose of Art. 5: a pack that gives one to a purpose is refused. A My Number may
// not be kept outside the cases its Act lists (Art. 20), whatever anybody agreed to.
var neverPurposed = core.SetOf(core.EmployeeName, core.EmployeeEmail, core.EmployeeAddress, core.EmployeeGender,
	core.EmployeeBirthDate, core.EmployeeDependents, core.IndividualNumber, core.Location)

// Parse reads one pack: held against its JSON Schema, then against the rules the schema cannot say.
func Parse(data []byte) (*Pack, error) {
	if err := schemas.Validate("policy.v1.schema.json", data); err != nil {
		return nil, err
	}
	var d document
	if err := yaml.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("read pack: %w", err)
	}
	location, err := time.LoadLocation(d.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("read time_zone: %w", err)
	}
	from, err := time.ParseInLocation(time.DateOnly, d.EffectiveFrom, location)
	if err != nil {
		return nil, fmt.Errorf("read effective_from: %w", err)
	}
	p := &Pack{
		ID: d.ID, Version: d.ID + "/" + d.EffectiveFrom, EffectiveFrom: from, Change: d.Change,
		Jurisdictions: d.Jurisdictions, Title: d.Title, Notice: d.Notice, rules: map[string]*consent.Rules{},
	}
	faults := p.readCategories(&d)
	faults = append(faults, p.readPurposes(&d)...)
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	for _, j := range p.Jurisdictions {
		var rules consent.Rules
		for _, purpose := range p.Purposes {
			rules[purpose.Bit] = consent.Rule{Basis: purpose.Basis[j], GPCDenied: purpose.GPCDenied, Categories: purpose.Categories}
		}
		p.rules[j] = &rules
	}
	return p, nil
}

func (p *Pack) readCategories(d *document) (faults []error) {
	seen := map[core.Category]bool{}
	for _, c := range d.Categories {
		category, ok := core.ParseCategory(c.ID)
		if !ok {
			faults = append(faults, fmt.Errorf("category %s: not a known category", c.ID))
			continue
		}
		if seen[category] {
			faults = append(faults, fmt.Errorf("category %s: named twice", c.ID))
		}
		seen[category] = true
		p.Categories = append(p.Categories, Category{
			Category: category, Article: c.Article, Personal: c.Class == "personal",
			Retention: time.Duration(c.RetentionDays) * 24 * time.Hour, Denied: c.Ingest == "deny", Label: c.Label,
		})
	}
	for _, category := range core.Categories() {
		if !seen[category] {
			faults = append(faults, fmt.Errorf("category %s: no retention period (Art. 7-5)", category))
		}
	}
	return faults
}

func (p *Pack) readPurposes(d *document) (faults []error) {
	ids := map[string]bool{}
	for _, x := range d.Purposes {
		if ids[x.ID] {
			faults = append(faults, fmt.Errorf("purpose %s: named twice", x.ID))
		}
		ids[x.ID] = true
		purpose := Purpose{
			ID: x.ID, Bit: core.Purpose(x.Bit), Article: x.Article, Parent: x.Parent, Basis: map[string]core.Basis{},
			GPCDenied: x.GPC == "deny", Pseudonymised: x.Pseudonymised, Mappings: x.Mappings, Label: x.Label, Text: x.Text,
		}
		for _, id := range x.Categories {
			category, ok := core.ParseCategory(id)
			switch {
			case !ok:
				faults = append(faults, fmt.Errorf("purpose %s: category %s is not known", x.ID, id))
			case neverPurposed.Has(category):
				faults = append(faults, fmt.Errorf("purpose %s: no purpose may use category %s", x.ID, id))
			default:
				purpose.Categories |= core.SetOf(category)
			}
		}
		for _, j := range d.Jurisdictions {
			basis, ok := core.ParseBasis(x.Basis[j])
			if !ok {
				faults = append(faults, fmt.Errorf("purpose %s: no basis in jurisdiction %s", x.ID, j))
			}
			purpose.Basis[j] = basis
		}
		p.Purposes = append(p.Purposes, purpose)
	}
	for _, purpose := range p.Purposes {
		if purpose.Parent != "" && !ids[purpose.Parent] {
			faults = append(faults, fmt.Errorf("purpose %s: parent %s is no purpose", purpose.ID, purpose.Parent))
		}
	}
	return append(faults, checkBits([]*Pack{p})...)
}

package access

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/schemas"
)

// Action is what a caller wants to do. The policies speak of actions by these names.
type Action string

// The actions.
const (
	Read     Action = "read"     // an answer as JSON
	Export   Action = "export"   // an answer as a file: CSV, NDJSON, Parquet
	Release  Action = "release"  // a differentially private answer, which leaves the company
	Audit    Action = "audit"    // the record of reads
	Segments Action = "segments" // saved filters
)

// Actions lists every action.
func Actions() []Action { return []Action{Read, Export, Release, Audit, Segments} }

// forPurpose reports whether the action is for one purpose: whether it reads events.
func (a Action) forPurpose() bool { return a != Audit && a != Segments }

// Request is what is asked for, as far as it matters who asks.
type Request struct {
	Action       Action
	Report       string // name in the catalogue; "audit", "segments"
	Site         string
	Jurisdiction string // the site's
	Purpose      string // machine id; none for Audit and Segments
	Basis        core.Basis
	Policy       string // version of the privacy policy in force
	Categories   core.CategorySet
	Sensitive    bool // finer than a country, or about who people are
}

// covering are the grants that hold the site and, when events are read, the purpose. The error says which is missing.
func (c *Caller) covering(r Request) ([]Grant, *core.Error) {
	if fault := c.Reaches(r.Site); fault != nil {
		return nil, fault
	}
	if !r.Action.forPurpose() {
		return slices.DeleteFunc(slices.Clone(c.Grants), func(g Grant) bool { return !g.covers(r.Site) }), nil
	}
	if r.Purpose == "" {
		return nil, &core.Error{Code: core.CodePurposeMissing, Field: "purpose", Message: "a read names its purpose (Art. 5)"}
	}
	if fault := c.Holds(r.Site, r.Purpose); fault != nil {
		return nil, fault
	}
	if r.Basis == core.NoBasis {
		return nil, &core.Error{Code: core.CodePurposeDenied, Field: "purpose", Message: "the purpose has no legal basis where the site is"}
	}
	return slices.DeleteFunc(slices.Clone(c.Grants), func(g Grant) bool {
		return !g.covers(r.Site) || !slices.Contains(g.Purposes, r.Purpose)
	}), nil
}

// Allow returns nil when the caller may do what it asks for, and says why not otherwise.
func (g *Guard) Allow(caller *Caller, r Request) *core.Error {
	covering, missing := caller.covering(r)
	if missing != nil {
		return missing
	}
	policies, err := g.policies.current()
	if err != nil {
		return &core.Error{Code: core.CodeUnavailable, Message: "the policies about access cannot be read"}
	}
	allowed, message, fault := policies.decide(caller, covering, r)
	if fault != nil {
		g.log.Error("a policy about access failed: denied", "error", fault)
	}
	if allowed {
		return nil
	}
	denied := &core.Error{Code: core.CodeForbidden, Message: cmp.Or(message, refusals[r.Action], "no policy permits it")}
	if r.Action == Export {
		denied.Field = "format"
	}
	return denied
}

// refusals tell a caller what its roles do not reach.
var refusals = map[Action]string{
	Read:     "no policy lets the caller read reports; its roles decide",
	Export:   "no policy lets the caller take answers away as files; its roles decide",
	Release:  "no policy lets the caller release answers; its roles decide",
	Audit:    "no policy lets the caller read the audit; its roles decide",
	Segments: "no policy lets the caller keep segments; its roles decide",
}

// policies are a set that was held against the schema.
type policies struct{ set *cedar.PolicySet }

// builtin reads the policies that ship with the program.
func builtin() (*policies, error) {
	text, err := schemas.Access.ReadFile("access/default.cedar")
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	return parsePolicies("default.cedar", text)
}

// newValidator holds policies against schemas/access/access.cedarschema.
func newValidator() (*validate.Validator, error) {
	text, err := schemas.Access.ReadFile("access/access.cedarschema")
	if err != nil {
		return nil, fmt.Errorf("read schema of policies: %w", err)
	}
	var s schema.Schema
	if err := s.UnmarshalCedar(text); err != nil {
		return nil, fmt.Errorf("read schema of policies: %w", err)
	}
	resolved, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("read schema of policies: %w", err)
	}
	return validate.New(resolved), nil
}

// parsePolicies reads Cedar. A policy that speaks of what there is not, or could fail, is refused. So is a file without
// any policy: it would deny everything, and is more likely cut off than meant.
func parsePolicies(name string, text []byte) (*policies, error) {
	set, err := cedar.NewPolicySetFromBytes(name, text)
	if err != nil {
		return nil, fmt.Errorf("parse policies: %w", err)
	}
	v, err := newValidator()
	if err != nil {
		return nil, err
	}
	n := 0
	for id, p := range set.All() {
		n++
		if err := v.Policy(string(id), (*ast.Policy)(p.AST())); err != nil {
			return nil, fmt.Errorf("check policies: line %d: %w", p.Position().Line, err)
		}
		// The validator knows that Role is a closed list, and does not hold policies against it.
		if err := knownRoles(p); err != nil {
			return nil, fmt.Errorf("check policies: line %d: %w", p.Position().Line, err)
		}
	}
	if n == 0 {
		return nil, errors.New("parse policies: there is none")
	}
	return &policies{set}, nil
}

// knownRoles refuses a policy about a role that nobody can have: it would forbid nothing.
func knownRoles(p *cedar.Policy) error {
	text, err := p.MarshalJSON()
	if err != nil {
		return err
	}
	var document any
	if err := json.Unmarshal(text, &document); err != nil {
		return err
	}
	var walk func(any) error
	walk = func(node any) error {
		switch node := node.(type) {
		case []any:
			for _, n := range node {
				if err := walk(n); err != nil {
					return err
				}
			}
		case map[string]any:
			if id, ok := node["id"].(string); ok && node["type"] == "Role" {
				return known([]Role{Role(id)})
			}
			for _, n := range node {
				if err := walk(n); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return walk(document)
}

// decide asks the policies. The caller is there with the roles, sites and purposes of the covering grants. Cedar skips a
// policy that fails to evaluate; here a failure denies, because it may be a forbid's. message is that of the policy that
// forbids, if it has one.
func (p *policies) decide(caller *Caller, covering []Grant, r Request) (allowed bool, message string, fault error) {
	var roles []cedar.EntityUID
	var sites, purposes []string
	for _, g := range covering {
		for _, role := range g.Roles {
			roles = append(roles, cedar.NewEntityUID("Role", cedar.String(role)))
		}
		sites = append(sites, g.Sites...)
		purposes = append(purposes, g.Purposes...)
	}
	var categories []string
	for _, c := range core.Categories() {
		if r.Categories.Has(c) {
			categories = append(categories, c.String())
		}
	}
	who := cedar.NewEntityUID("Caller", cedar.String(caller.ID))
	where := cedar.NewEntityUID("Site", cedar.String(r.Site))
	what := cedar.NewEntityUID("Report", cedar.String(r.Site+"/"+r.Report))
	entities := cedar.EntityMap{
		who: {UID: who, Parents: cedar.NewEntityUIDSet(roles...), Attributes: cedar.NewRecord(cedar.RecordMap{
			"kind": cedar.String(caller.Kind), "sites": texts(sites), "purposes": texts(purposes),
		})},
		where: {UID: where, Attributes: cedar.NewRecord(cedar.RecordMap{"jurisdiction": cedar.String(r.Jurisdiction)})},
		what: {UID: what, Parents: cedar.NewEntityUIDSet(where), Attributes: cedar.NewRecord(cedar.RecordMap{
			"site": cedar.String(r.Site), "report": cedar.String(r.Report), "purpose": cedar.String(r.Purpose),
			"jurisdiction": cedar.String(r.Jurisdiction), "basis": cedar.String(r.Basis.String()), "policy": cedar.String(r.Policy),
			"categories": texts(categories), "sensitive": cedar.Boolean(r.Sensitive),
		})},
	}
	decision, diagnostic := cedar.Authorize(p.set, entities, cedar.Request{
		Principal: who, Action: cedar.NewEntityUID("Action", cedar.String(r.Action)), Resource: what,
	})
	for _, e := range diagnostic.Errors {
		return false, "", fmt.Errorf("evaluate policy on line %d: %s", e.Position.Line, e.Message)
	}
	if decision == cedar.Allow {
		return true, "", nil
	}
	// The first in the file speaks, so that the answer does not depend on the order of a map.
	line := 0
	for _, reason := range diagnostic.Reasons {
		if line == 0 || reason.Position.Line < line {
			line, message = reason.Position.Line, "a policy forbids it"
			if m := p.set.Get(reason.PolicyID).Annotations()["message"]; m != "" {
				message = string(m)
			}
		}
	}
	return false, message, nil
}

func texts(all []string) cedar.Set {
	values := make([]cedar.Value, len(all))
	for i, s := range all {
		values[i] = cedar.String(s)
	}
	return cedar.NewSet(values...)
}

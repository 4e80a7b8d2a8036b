// Package access decides who may read what. A caller is known by an API key or by a token of an OpenID Connect issuer;
// either way it holds grants, and each grant says: these roles, on these sites, for these purposes. Cedar policies
// (schemas/access) say what a role may do.
//
// Two things hold whatever the policies say, so that a list of keys tells the most that a key can open: what no single
// grant holds is denied, and so is a purpose without a legal basis in the site's jurisdiction (Art. 5). A policy narrows.
//
// The keys, the issuers and the policies are files that are read again when they change. One that cannot be read or
// understood opens nothing.
package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/core"
)

// Role is what a grant makes of its caller. What a role may do is said by the policies.
type Role string

// The roles.
const (
	Analyst  Role = "analyst"  // reads
	Exporter Role = "exporter" // takes answers away as files
	Officer  Role = "officer"  // releases what leaves the company
	Auditor  Role = "auditor"  // reads who read what
)

// Roles lists every role.
func Roles() []Role { return []Role{Analyst, Exporter, Officer, Auditor} }

// Grant is what a caller holds: all of its roles, on each of its sites, for each of its purposes. Two grants do not add
// up: the site of one and the purpose of the other open nothing.
type Grant struct {
	Roles    []Role   `json:"roles,omitempty"`
	Purposes []string `json:"purposes"`
	Sites    []string `json:"sites"`
}

// Kind is how a caller is known.
type Kind string

// The kinds.
const (
	KindKey  Kind = "key"
	KindOIDC Kind = "oidc"
)

// Caller is who asks.
type Caller struct {
	// ID is what the audit knows of the caller: the id of an API key, or CallerID of a person.
	ID     string
	Kind   Kind
	Grants []Grant
}

// Sites lists the sites of all grants, sorted.
func (c *Caller) Sites() []string {
	var all []string
	for _, g := range c.Grants {
		all = append(all, g.Sites...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Reaches says why the caller may do nothing at all on a site. It comes before the question whether there is such a
// site: that is told only to those who may read it.
func (c *Caller) Reaches(site string) *core.Error {
	if !slices.Contains(c.Sites(), site) {
		return &core.Error{Code: core.CodeForbidden, Field: "site", Message: "the caller has no grant for the site"}
	}
	return nil
}

// Holds says why the caller may read nothing of a site for a purpose, whatever its roles are.
func (c *Caller) Holds(site, purpose string) *core.Error {
	if fault := c.Reaches(site); fault != nil {
		return fault
	}
	if !slices.ContainsFunc(c.Grants, func(g Grant) bool { return g.covers(site) && slices.Contains(g.Purposes, purpose) }) {
		return &core.Error{Code: core.CodePurposeDenied, Field: "purpose", Message: "the caller has no grant for the purpose"}
	}
	return nil
}

func (g Grant) covers(site string) bool { return slices.Contains(g.Sites, site) }

// Config names the files.
type Config struct {
	// Keys holds the API keys. A file that is not there holds none. Required.
	Keys string
	// Issuers holds the issuers of tokens and what their claims grant. Empty: no token is accepted.
	Issuers string
	// Policies replaces the policies that ship with the program. Empty: those.
	Policies string
}

// Guard knows callers and decides on what they ask for. It is safe for concurrent use.
type Guard struct {
	keys     *watched[map[string]*Key]
	issuers  *watched[map[string]*issuer]
	policies *watched[*policies]
	now      func() time.Time
	log      *slog.Logger
}

// New reads every file. One that is broken, or named and not there, is an error: a service that would deny everybody
// does not start.
func New(config Config, log *slog.Logger, now func() time.Time) (*Guard, error) {
	if config.Keys == "" {
		return nil, errors.New("guard access: a file of API keys is required")
	}
	g := &Guard{now: now, log: log}
	g.keys = &watched[map[string]*Key]{file: config.Keys, optional: true, log: log, parse: keysByID}
	g.issuers = &watched[map[string]*issuer]{file: config.Issuers, log: log, parse: func(data []byte) (map[string]*issuer, error) {
		return parseIssuers(data, log, now)
	}}
	g.policies = &watched[*policies]{file: config.Policies, log: log, parse: func(data []byte) (*policies, error) {
		return parsePolicies(config.Policies, data)
	}}
	if config.Issuers == "" {
		g.issuers.fix(nil)
	}
	if config.Policies == "" {
		shipped, err := builtin()
		if err != nil {
			return nil, fmt.Errorf("guard access: %w", err)
		}
		g.policies.fix(shipped)
	}
	if _, err := g.policies.current(); err != nil {
		return nil, fmt.Errorf("guard access: read policies: %w", err)
	}
	if _, err := g.issuers.current(); err != nil {
		return nil, fmt.Errorf("guard access: read issuers: %w", err)
	}
	// A broken file of keys is no reason to stay away: those with tokens can read, and Ready says that something is wrong.
	_, _ = g.keys.current()
	return g, nil
}

// Ready says whether every file can be read and understood as it is now.
func (g *Guard) Ready() error {
	_, keys := g.keys.current()
	_, issuers := g.issuers.current()
	_, policies := g.policies.current()
	return errors.Join(keys, issuers, policies)
}

// errUnauthenticated is all that a stranger hears: not whether the key exists, which issuers there are, or what is wrong
// with a token.
var errUnauthenticated = &core.Error{
	Code: core.CodeUnauthenticated, Field: "Authorization", Message: "a valid API key or token is required (Authorization: Bearer)",
}

// Authenticate finds out who sent a request, from its Authorization header (RFC 6750). It returns a *core.Error: 401 for
// whoever cannot show who they are, 503 when that cannot be checked now.
func (g *Guard) Authenticate(ctx context.Context, authorization string) (*Caller, error) {
	scheme, credential, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, errUnauthenticated
	}
	if strings.HasPrefix(credential, keyPrefix) {
		byID, err := g.keys.current()
		if err != nil {
			return nil, &core.Error{Code: core.CodeUnavailable, Message: "the API keys cannot be read"}
		}
		return authenticateKey(byID, credential)
	}
	issuers, err := g.issuers.current()
	if err != nil {
		return nil, &core.Error{Code: core.CodeUnavailable, Message: "the issuers of tokens cannot be read"}
	}
	return authenticateToken(ctx, issuers, credential)
}

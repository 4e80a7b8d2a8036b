package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"go.yaml.in/yaml/v3"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/schemas"
)

// algorithms are the signatures that a token may carry. Those by a shared secret (HS256) are none of them: the issuer's
// public key, which everybody has, would serve as the secret.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA}

const (
	maxToken    = 16 << 10
	defaultSkew = time.Minute
)

// CallerID is how the audit names a person: 64 bits of a hash of who vouches for them and under which name. The name
// itself (sub is an account number, a user name, at some issuers an e-mail address) never gets there, nor does anything
// else of the token: a record of reads is kept for years and read by people who need to tell callers apart, not to know
// them. It is no secret key's hash, on purpose: whoever has a reason to ask about one person, and knows their sub, can
// work out the id with sha256sum, and needs nothing from this service for it.
func CallerID(issuer, subject string) string {
	sum := sha256.Sum256([]byte(issuer + "\x00" + subject))
	return "oidc:" + hex.EncodeToString(sum[:8])
}

// issuer is one that vouches for people, and what its claims grant.
type issuer struct {
	url      string
	verifier func(oidc.KeySet) *oidc.IDTokenVerifier
	skew     time.Duration
	claim    []string // the names on the way to it
	grants   []mapped
	keys     *remoteKeys
	now      func() time.Time
}

// mapped is a grant of whoever has a value in the claim.
type mapped struct {
	value string
	grant Grant
}

// path is a claim's name, or the names on the way to it.
type path []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (p *path) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*p = path{node.Value}
		return nil
	}
	return node.Decode((*[]string)(p))
}

// parseIssuers reads the file of issuers (schemas/json/access.v1.schema.json).
func parseIssuers(data []byte, log *slog.Logger, now func() time.Time) (map[string]*issuer, error) {
	if err := schemas.Validate("access.v1.schema.json", data); err != nil {
		return nil, fmt.Errorf("parse issuers: %w", err)
	}
	var document struct {
		Issuers []struct {
			Issuer     string                    `yaml:"issuer"`
			Audience   string                    `yaml:"audience"`
			Algorithms []jose.SignatureAlgorithm `yaml:"algorithms"`
			Skew       *int                      `yaml:"clock_skew"`
			Claim      path                      `yaml:"roles_claim"`
			Map        []struct {
				Value    string   `yaml:"value"`
				Roles    []Role   `yaml:"roles"`
				Sites    []string `yaml:"sites"`
				Purposes []string `yaml:"purposes"`
			} `yaml:"map"`
		} `yaml:"issuers"`
	}
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, errors.New("parse issuers: the file is not the expected YAML")
	}
	byURL := map[string]*issuer{}
	client := newClient()
	for i, d := range document.Issuers {
		if err := secure(d.Issuer); err != nil {
			return nil, fmt.Errorf("parse issuers: /issuers/%d/issuer: %w", i, err)
		}
		if byURL[d.Issuer] != nil {
			return nil, fmt.Errorf("parse issuers: /issuers/%d/issuer: named twice", i)
		}
		is := &issuer{
			url: d.Issuer, skew: defaultSkew, claim: d.Claim, now: now,
			keys: &remoteKeys{issuer: d.Issuer, client: client, log: log, now: now},
		}
		if d.Skew != nil {
			is.skew = time.Duration(*d.Skew) * time.Second
		}
		if d.Algorithms == nil {
			d.Algorithms = algorithms
		}
		names := make([]string, len(d.Algorithms))
		for i, a := range d.Algorithms {
			names[i] = string(a)
		}
		is.verifier = func(keys oidc.KeySet) *oidc.IDTokenVerifier {
			return oidc.NewVerifier(d.Issuer, keys, &oidc.Config{
				ClientID: d.Audience, SupportedSigningAlgs: names,
				SkipExpiryCheck: true, // valid does it, with the configured skew
			})
		}
		for _, m := range d.Map {
			is.grants = append(is.grants, mapped{m.Value, Grant{Roles: m.Roles, Sites: m.Sites, Purposes: m.Purposes}})
		}
		byURL[d.Issuer] = is
	}
	return byURL, nil
}

// secure refuses an address from which anybody on the way could hand out keys.
func secure(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("not a plain URL")
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback()) {
		return nil
	}
	return errors.New("neither https nor on a loopback address")
}

// authenticateToken finds the caller of a signed token: an access token (RFC 9068) or an ID token. Its fault is never
// told. A person whose claims map to nothing is a caller without a grant.
func authenticateToken(ctx context.Context, issuers map[string]*issuer, token string) (*Caller, error) {
	if len(token) > maxToken || len(issuers) == 0 {
		return nil, errUnauthenticated
	}
	is, keyID, ok := peek(issuers, token)
	if !ok {
		return nil, errUnauthenticated
	}
	keys, err := is.keys.current(ctx, keyID)
	if err != nil {
		return nil, &core.Error{Code: core.CodeUnavailable, Message: "the issuer's keys cannot be had now, so no token can be checked"}
	}
	verified, err := is.verifier(keySet(keys)).Verify(ctx, token)
	if err != nil || !is.valid(verified) {
		return nil, errUnauthenticated
	}
	var claims map[string]any
	if err := verified.Claims(&claims); err != nil {
		return nil, errUnauthenticated
	}
	caller := &Caller{ID: CallerID(is.url, verified.Subject), Kind: KindOIDC}
	held := values(claims, is.claim)
	for _, m := range is.grants {
		if slices.Contains(held, m.value) {
			caller.Grants = append(caller.Grants, m.grant)
		}
	}
	return caller, nil
}

// types are those of tokens that say who asks. An issuer signs others with the same key, such as for logging out.
var types = []string{"", "jwt", "at+jwt", "application/at+jwt"}

// peek reads, and does not believe, who signed a token and with which key. It refuses what needs no key to be refused:
// other forms than the compact one, unsigned tokens, shared secrets, other types.
func peek(issuers map[string]*issuer, token string) (is *issuer, keyID string, ok bool) {
	parsed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, "", false
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(parsed.UnsafePayloadWithoutVerification(), &claims); err != nil {
		return nil, "", false
	}
	is, ok = issuers[claims.Issuer]
	header := parsed.Signatures[0].Header
	kind, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if !ok || !slices.Contains(types, strings.ToLower(kind)) {
		return nil, "", false
	}
	return is, header.KeyID, true
}

// valid holds a token's times against the clock. exp and iat are required, nbf counts if it is there.
func (is *issuer) valid(token *oidc.IDToken) bool {
	var claims struct {
		IssuedAt  *float64 `json:"iat"`
		NotBefore *float64 `json:"nbf"`
	}
	if err := token.Claims(&claims); err != nil || claims.IssuedAt == nil || token.Subject == "" {
		return false
	}
	earliest, latest := is.now().Add(-is.skew), is.now().Add(is.skew)
	return token.Expiry.After(earliest) && !token.IssuedAt.After(latest) &&
		(claims.NotBefore == nil || *claims.NotBefore <= float64(latest.Unix()))
}

// values are what a claim holds: a string, or a list of strings. scope is a list with spaces (RFC 9068, 2.2.3).
func values(claims map[string]any, way []string) []string {
	var at any = claims
	for _, name := range way {
		object, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = object[name]
	}
	switch at := at.(type) {
	case string:
		if way[len(way)-1] == "scope" {
			return strings.Fields(at)
		}
		return []string{at}
	case []any:
		var all []string
		for _, v := range at {
			if s, ok := v.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

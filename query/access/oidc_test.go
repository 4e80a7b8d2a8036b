package access

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sekisho/sekisho/internal/core"
)

// provider is an issuer: discovery, keys that can be turned over, and a switch to go away.
type provider struct {
	t       *testing.T
	server  *httptest.Server
	keys    atomic.Pointer[[]any] // public JWKs
	away    atomic.Bool
	fetches atomic.Int32
	forward string // where discovery says the keys are; empty: here
	issuer  string // what discovery says it is; empty: what it is
}

func newProvider(t *testing.T) *provider {
	p := &provider{t: t}
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.away.Load() {
			http.Error(w, "canary", http.StatusBadGateway)
			return
		}
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			issuer, keys := p.issuer, p.forward
			if issuer == "" {
				issuer = p.server.URL
			}
			if keys == "" {
				keys = p.server.URL + "/keys"
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"issuer": issuer, "jwks_uri": keys})
		case "/keys":
			p.fetches.Add(1)
			_ = json.NewEncoder(w).Encode(map[string]any{"keys": *p.keys.Load()})
		case "/moved":
			http.Redirect(w, r, "/keys", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(p.server.Close)
	p.publish()
	return p
}

func (p *provider) publish(keys ...any) {
	all := slices.Clone(keys)
	p.keys.Store(&all)
}

// signer is a private key with its algorithm and id.
type signer struct {
	id, algorithm string
	private       crypto.Signer
}

func newSigner(t *testing.T, id, algorithm string) signer {
	t.Helper()
	var private crypto.Signer
	var err error
	switch algorithm {
	case "RS256", "PS256", "RS512":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return signer{id, algorithm, private}
}

func (s signer) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: s.private.Public(), KeyID: s.id, Algorithm: s.algorithm, Use: "sig"}
}

// sign makes a token. Claims that are nil are left out of it; kind is its typ.
func (s signer) sign(t testing.TB, kind string, claims map[string]any) string {
	t.Helper()
	options := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{"kid": s.id}}
	if kind != "" {
		options.ExtraHeaders["typ"] = kind
	}
	with, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(s.algorithm), Key: s.private}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := with.Sign(encode(t, claims))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func encode(t testing.TB, claims map[string]any) []byte {
	t.Helper()
	kept := map[string]any{}
	for name, value := range claims {
		if value != nil {
			kept[name] = value
		}
	}
	payload, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// house is a guard that believes a provider, and whose clock can be moved.
type house struct {
	*provider
	guard  *Guard
	file   string
	log    *bytes.Buffer
	passed atomic.Int64
}

const mapping = `    map:
      - {value: development-team, roles: [analyst, exporter], sites: [shop, other], purposes: [development]}
      - {value: audit, roles: [auditor], sites: [shop]}
`

func (h *house) config(lines string) string {
	return "issuers:\n  - issuer: " + h.server.URL + "\n    audience: sekisho\n" + lines
}

func newHouse(t *testing.T, lines string) *house {
	t.Helper()
	h := &house{provider: newProvider(t), log: &bytes.Buffer{}}
	dir := t.TempDir()
	h.file = filepath.Join(dir, "access.yaml")
	write(t, h.file, h.config(lines))
	var err error
	h.guard, err = New(Config{Keys: filepath.Join(dir, "grants.json"), Issuers: h.file}, slog.New(slog.NewTextHandler(h.log, nil)), func() time.Time {
		return noon.Add(time.Duration(h.passed.Load()))
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// pass moves the clock.
func (h *house) pass(d time.Duration) { h.passed.Add(int64(d)) }

// claims are those of a sound token, with changes.
func (h *house) claims(changes map[string]any) map[string]any {
	at := noon.Add(time.Duration(h.passed.Load())).Unix()
	all := map[string]any{
		"iss": h.server.URL, "aud": "sekisho", "sub": "taro.canary@example.jp", "iat": at - 10, "exp": at + 300, "groups": []string{"staff", "development-team"},
	}
	for name, value := range changes {
		all[name] = value
	}
	return all
}

func (h *house) ask(token string) (*Caller, error) {
	return h.guard.Authenticate(h.t.Context(), "Bearer "+token)
}

const groups = "    roles_claim: groups\n" + mapping

func TestATokenIsWhatItsClaimsMapTo(t *testing.T) {
	for _, algorithm := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			h, s := newHouse(t, groups), newSigner(t, "one", algorithm)
			h.publish(s.public())
			for _, kind := range []string{"", "JWT", "at+jwt", "application/at+JWT"} {
				caller, err := h.ask(s.sign(t, kind, h.claims(nil)))
				if err != nil {
					t.Fatalf("typ %q: %v", kind, err)
				}
				sum := sha256.Sum256([]byte(h.server.URL + "\x00taro.canary@example.jp"))
				want := &Caller{ID: fmt.Sprintf("oidc:%x", sum[:8]), Kind: KindOIDC, Grants: []Grant{
					{Roles: []Role{Analyst, Exporter}, Sites: []string{"shop", "other"}, Purposes: []string{"development"}},
				}}
				if !reflect.DeepEqual(caller, want) {
					t.Errorf("%+v", caller)
				}
				decides(t, h.guard.Allow(caller, reading(Read)), "", "")
				decides(t, h.guard.Allow(caller, reading(Audit)), core.CodeForbidden, "")
			}
			if n := h.fetches.Load(); n != 1 {
				t.Errorf("the keys were fetched %d times", n)
			}
		})
	}
}

func TestAClaimIsFoundWhereItIs(t *testing.T) {
	team := []string{"development-team", "audit"}
	for name, tc := range map[string]struct {
		claim  string
		claims map[string]any
		grants int
	}{
		"a list":                       {"groups", map[string]any{"groups": team}, 2},
		"a string":                     {"groups", map[string]any{"groups": "audit"}, 1},
		"a string with spaces":         {"groups", map[string]any{"groups": "audit development-team"}, 0},
		"scopes":                       {"scope", map[string]any{"scope": "openid audit development-team"}, 2},
		"deep":                         {"[realm_access, roles]", map[string]any{"realm_access": map[string]any{"roles": team}}, 2},
		"a name like a URL":            {`"https://example.jp/roles"`, map[string]any{"https://example.jp/roles": team}, 2},
		"nobody":                       {"groups", map[string]any{"groups": []string{"staff"}}, 0},
		"no claim":                     {"groups", map[string]any{"groups": nil}, 0},
		"numbers and objects":          {"groups", map[string]any{"groups": []any{1, true, map[string]any{}, "audit"}}, 1},
		"an object":                    {"groups", map[string]any{"groups": map[string]any{"audit": true}}, 0},
		"not as deep as thought":       {"[groups, roles]", map[string]any{"groups": team}, 0},
		"another claim's":              {"groups", map[string]any{"roles": team, "groups": nil}, 0},
		"groups that are kept outside": {"groups", map[string]any{"groups": nil, "_claim_names": map[string]any{"groups": "src"}, "_claim_sources": map[string]any{"src": map[string]any{"endpoint": "http://127.0.0.1:1/"}}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h, s := newHouse(t, "    roles_claim: "+tc.claim+"\n"+mapping), newSigner(t, "one", "ES256")
			h.publish(s.public())
			caller, err := h.ask(s.sign(t, "", h.claims(tc.claims)))
			if err != nil {
				t.Fatal(err)
			}
			if len(caller.Grants) != tc.grants {
				t.Errorf("%+v", caller.Grants)
			}
			if tc.grants == 0 {
				decides(t, h.guard.Allow(caller, reading(Read)), core.CodeForbidden, "site")
			}
		})
	}
}

// forge puts a header of one's own before claims, and a signature behind them.
func forge(t *testing.T, header map[string]any, claims map[string]any, sign func(signed string) []byte) string {
	t.Helper()
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	signed := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(encode(t, claims))
	return signed + "." + base64.RawURLEncoding.EncodeToString(sign(signed))
}

func TestATokenThatIsNotSoundHearsNothingOfWhy(t *testing.T) {
	h := newHouse(t, groups)
	s, old, stranger := newSigner(t, "one", "RS256"), newSigner(t, "edwards", "EdDSA"), newSigner(t, "one", "RS256")
	weak, curve, long := newSigner(t, "weak", "RS256"), newSigner(t, "curve", "ES384"), newSigner(t, "long", "RS512")
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak.private = short
	encrypting := newSigner(t, "enc", "RS256")
	enc := encrypting.public()
	enc.Use = "enc"
	unnamed := long.public()
	unnamed.Algorithm = ""
	secret := []byte("0123456789abcdef0123456789abcdef")
	h.publish(s.public(), old.public(), weak.public(), curve.public(), unnamed, enc,
		map[string]any{"kty": "oct", "kid": "shared", "k": base64.RawURLEncoding.EncodeToString(secret)},
		map[string]any{"kty": "OKP", "crv": "Ed448", "kid": "unknown", "x": "AAAA"}, "no key")

	der, err := x509.MarshalPKIXPublicKey(s.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	asSecret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	mac := func(key []byte) func(string) []byte {
		return func(signed string) []byte {
			m := hmac.New(sha256.New, key)
			m.Write([]byte(signed))
			return m.Sum(nil)
		}
	}
	nothing := func(string) []byte { return nil }
	good := s.sign(t, "", h.claims(nil))
	if _, err := h.ask(good); err != nil {
		t.Fatalf("the sound one: %v", err)
	}
	parts := strings.Split(good, ".")
	at := noon.Unix()
	for name, token := range map[string]string{
		"another audience":               s.sign(t, "", h.claims(map[string]any{"aud": "shop"})),
		"other audiences":                s.sign(t, "", h.claims(map[string]any{"aud": []string{"shop", "sekisho2"}})),
		"no audience":                    s.sign(t, "", h.claims(map[string]any{"aud": nil})),
		"an unknown issuer":              s.sign(t, "", h.claims(map[string]any{"iss": "https://login.example.jp"})),
		"almost the issuer":              s.sign(t, "", h.claims(map[string]any{"iss": h.server.URL + "/"})),
		"no issuer":                      s.sign(t, "", h.claims(map[string]any{"iss": nil})),
		"an issuer that is no text":      s.sign(t, "", h.claims(map[string]any{"iss": 1})),
		"no subject":                     s.sign(t, "", h.claims(map[string]any{"sub": nil})),
		"expired":                        s.sign(t, "", h.claims(map[string]any{"exp": at - 61})),
		"no end":                         s.sign(t, "", h.claims(map[string]any{"exp": nil})),
		"an end that is no number":       s.sign(t, "", h.claims(map[string]any{"exp": "never"})),
		"from the future":                s.sign(t, "", h.claims(map[string]any{"iat": at + 61})),
		"no beginning":                   s.sign(t, "", h.claims(map[string]any{"iat": nil})),
		"not yet":                        s.sign(t, "", h.claims(map[string]any{"nbf": at + 61})),
		"not before what is no number":   s.sign(t, "", h.claims(map[string]any{"nbf": "now"})),
		"a token for logging out":        s.sign(t, "logout+jwt", h.claims(nil)),
		"another type":                   s.sign(t, "secevent+jwt", h.claims(nil)),
		"a stranger's key":               stranger.sign(t, "", h.claims(nil)),
		"a key for something else":       encrypting.sign(t, "", h.claims(nil)),
		"a short key":                    weak.sign(t, "", h.claims(nil)),
		"an algorithm not allowed":       long.sign(t, "", h.claims(nil)),
		"a curve not allowed":            curve.sign(t, "", h.claims(nil)),
		"unsigned":                       forge(t, map[string]any{"alg": "none", "kid": "one"}, h.claims(nil), nothing),
		"unsigned, in other letters":     forge(t, map[string]any{"alg": "NoNe", "kid": "one"}, h.claims(nil), nothing),
		"signed with nothing":            forge(t, map[string]any{"alg": "RS256", "kid": "one"}, h.claims(nil), nothing),
		"signed with the public key":     forge(t, map[string]any{"alg": "HS256", "kid": "one"}, h.claims(nil), mac(asSecret)),
		"signed with the public DER":     forge(t, map[string]any{"alg": "HS256", "kid": "one"}, h.claims(nil), mac(der)),
		"signed with a shared secret":    forge(t, map[string]any{"alg": "HS256", "kid": "shared"}, h.claims(nil), mac(secret)),
		"a secret where RSA is said":     forge(t, map[string]any{"alg": "RS256", "kid": "shared"}, h.claims(nil), mac(secret)),
		"another key's algorithm":        forge(t, map[string]any{"alg": "EdDSA", "kid": "one"}, h.claims(nil), func(signed string) []byte { return ed25519.Sign(old.private.(ed25519.PrivateKey), []byte(signed)) }),
		"a key of its own":               forge(t, map[string]any{"alg": "EdDSA", "jwk": newSigner(t, "", "EdDSA").public()}, h.claims(nil), nothing),
		"what must be understood":        forge(t, map[string]any{"alg": "EdDSA", "kid": "edwards", "crit": []string{"b64"}, "b64": false}, h.claims(nil), func(signed string) []byte { return ed25519.Sign(old.private.(ed25519.PrivateKey), []byte(signed)) }),
		"claims that were changed":       parts[0] + "." + base64.RawURLEncoding.EncodeToString(encode(t, h.claims(map[string]any{"groups": []string{"audit"}}))) + "." + parts[2],
		"without its signature":          parts[0] + "." + parts[1] + ".",
		"in two parts":                   parts[0] + "." + parts[1],
		"in four parts":                  good + ".",
		"as JSON":                        `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		"too long":                       s.sign(t, "", h.claims(map[string]any{"picture": strings.Repeat("A", maxToken)})),
		"a key's other algorithm":        signer{"one", "PS256", s.private}.sign(t, "", h.claims(nil)),
		"claims that are a list":         strings.Join([]string{parts[0], base64.RawURLEncoding.EncodeToString([]byte("[]")), parts[2]}, "."),
		"nothing":                        "",
		"dots":                           "..",
		"a reserved issuer of a library": s.sign(t, "", h.claims(map[string]any{"iss": "accounts.google.com"})),
	} {
		t.Run(name, func(t *testing.T) {
			if caller, err := h.ask(token); err != errUnauthenticated { //nolint:errorlint // the very same answer
				t.Errorf("%+v, %v", caller, err)
			}
		})
	}
	if strings.Contains(h.log.String(), "canary") {
		t.Errorf("the log names somebody: %s", h.log)
	}
}

func TestTheClocksMayDifferALittle(t *testing.T) {
	h, s := newHouse(t, "    clock_skew: 30\n"+groups), newSigner(t, "one", "EdDSA")
	h.publish(s.public())
	at := noon.Unix()
	for name, tc := range map[string]struct {
		claims map[string]any
		ok     bool
	}{
		"just expired":              {map[string]any{"exp": at - 29}, true},
		"expired":                   {map[string]any{"exp": at - 31}, false},
		"just begun":                {map[string]any{"iat": at + 29, "nbf": at + 29}, true},
		"made in the future":        {map[string]any{"iat": at + 31}, false},
		"begins in the future":      {map[string]any{"nbf": at + 31}, false},
		"times with fractions":      {map[string]any{"exp": float64(at) + 0.5, "nbf": float64(at) - 0.5, "iat": float64(at) - 0.5}, true},
		"among several audiences":   {map[string]any{"aud": []string{"other", "sekisho"}}, true},
		"long before anybody asked": {map[string]any{"iat": 0, "exp": at + 1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := h.ask(s.sign(t, "", h.claims(tc.claims))); (err == nil) != tc.ok {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestKeysAreTurnedOver(t *testing.T) {
	h := newHouse(t, groups)
	first, second := newSigner(t, "one", "ES256"), newSigner(t, "two", "ES256")
	h.publish(first.public())
	ask := func(s signer) error { _, err := h.ask(s.sign(t, "", h.claims(nil))); return err }
	wants(t, ask(first), "", "")

	// A new one counts as soon as somebody comes with it, but forged key ids do not make this service ask for each.
	h.publish(first.public(), second.public())
	for range 20 {
		wants(t, ask(second), core.CodeUnauthenticated, "Authorization")
	}
	if n := h.fetches.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	h.pass(fetchPause)
	wants(t, ask(second), "", "")
	wants(t, ask(first), "", "")

	// A withdrawn one ends with the next look.
	h.publish(second.public())
	wants(t, ask(first), "", "")
	h.pass(keysRefresh)
	wants(t, ask(second), "", "")
	h.pass(fetchPause)
	wants(t, ask(first), core.CodeUnauthenticated, "Authorization")
	if n := h.fetches.Load(); n != 4 {
		t.Errorf("fetched %d times", n)
	}
}

func TestWithoutTheKeysNoTokenIsBelieved(t *testing.T) {
	h := newHouse(t, groups)
	s, second := newSigner(t, "one", "ES256"), newSigner(t, "two", "ES256")
	h.publish(s.public())
	ask := func(s signer) error { _, err := h.ask(s.sign(t, "", h.claims(nil))); return err }

	h.away.Store(true)
	for range 3 {
		wants(t, ask(s), core.CodeUnavailable, "")
	}
	if n := strings.Count(h.log.String(), "\n"); n != 1 || strings.Contains(h.log.String(), "canary") {
		t.Errorf("%d lines are logged: %s", n, h.log)
	}
	if err := h.guard.Ready(); err != nil {
		t.Errorf("keys of this service work, and it is not ready: %v", err)
	}
	h.away.Store(false)
	wants(t, ask(s), core.CodeUnavailable, "") // not asked again so soon
	h.pass(fetchPause)
	wants(t, ask(s), "", "")

	// What is known stays good for a while. What may be new cannot be told from what is forged.
	h.away.Store(true)
	h.pass(keysRefresh)
	wants(t, ask(s), "", "")
	wants(t, ask(second), core.CodeUnavailable, "")
	h.pass(keysLife)
	wants(t, ask(s), core.CodeUnavailable, "")
	h.away.Store(false)
	h.pass(fetchPause)
	wants(t, ask(s), "", "")
}

func TestAnIssuerIsOnlyBelievedWhereItSaysItIs(t *testing.T) {
	for name, change := range map[string]func(*house){
		"it says it is another":          func(h *house) { h.issuer = "https://login.example.jp" },
		"its keys come over an open way": func(h *house) { h.forward = "http://192.0.2.1/keys" },
		"its keys are a file":            func(h *house) { h.forward = "file:///etc/passwd" },
		"its keys have moved":            func(h *house) { h.forward = h.server.URL + "/moved" },
		"its keys are not there":         func(h *house) { h.forward = h.server.URL + "/gone" },
		"it has no keys":                 func(h *house) { h.publish() },
		"its keys verify nothing":        func(h *house) { h.publish(map[string]any{"kty": "oct", "k": "AAAA"}) },
		"its keys are the secret ones":   func(h *house) { h.publish(jose.JSONWebKey{Key: newSigner(h.t, "one", "ES256").private, KeyID: "one"}) },
		"its document has no end":        func(h *house) { h.publish(append(*h.keys.Load(), strings.Repeat("x", maxDocument))...) },
	} {
		t.Run(name, func(t *testing.T) {
			h, s := newHouse(t, groups), newSigner(t, "one", "ES256")
			h.publish(s.public())
			change(h)
			_, err := h.ask(s.sign(t, "", h.claims(nil)))
			wants(t, err, core.CodeUnavailable, "")
		})
	}
}

func TestOneIssuerDoesNotSpeakForAnother(t *testing.T) {
	h, other := newHouse(t, groups), newProvider(t)
	write(t, h.file, h.config(groups)+"  - issuer: "+other.server.URL+"\n    audience: sekisho\n    algorithms: [EdDSA]\n    roles_claim: groups\n    map:\n      - {value: development-team, roles: [auditor], sites: [shop]}\n")
	s, theirs, slow := newSigner(t, "one", "ES256"), newSigner(t, "one", "EdDSA"), newSigner(t, "two", "ES256")
	h.publish(s.public())
	other.publish(theirs.public(), slow.public())

	caller, err := h.ask(theirs.sign(t, "", h.claims(map[string]any{"iss": other.server.URL})))
	if err != nil || len(caller.Grants) != 1 || caller.Grants[0].Roles[0] != Auditor {
		t.Fatalf("%+v, %v", caller, err)
	}
	same, err := h.ask(s.sign(t, "", h.claims(nil)))
	if err != nil || same.ID == caller.ID {
		t.Errorf("two issuers' subjects of one name are one caller: %+v, %v", same, err)
	}
	for name, token := range map[string]string{
		"signed by the other":             theirs.sign(t, "", h.claims(nil)),
		"signed by the first":             s.sign(t, "", h.claims(map[string]any{"iss": other.server.URL})),
		"an algorithm that it is not for": slow.sign(t, "", h.claims(map[string]any{"iss": other.server.URL})),
	} {
		if _, err := h.ask(token); err != errUnauthenticated { //nolint:errorlint // the very same answer
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIssuersThatAreNotUnderstood(t *testing.T) {
	one := func(lines string) string {
		return "issuers:\n  - issuer: https://login.example.jp\n    audience: sekisho\n" + lines
	}
	broken := map[string]string{
		"no YAML":               "issuers: [",
		"nothing":               "",
		"no issuer":             "issuers: []",
		"no audience":           "issuers:\n  - issuer: https://login.example.jp\n" + groups,
		"an open way":           "issuers:\n  - issuer: http://login.example.jp\n    audience: sekisho\n" + groups,
		"no URL":                "issuers:\n  - issuer: login\n    audience: sekisho\n" + groups,
		"a user in the URL":     "issuers:\n  - issuer: https://a:b@login.example.jp\n    audience: sekisho\n" + groups,
		"a shared secret":       one("    algorithms: [HS256]\n" + groups),
		"no signature":          one("    algorithms: [none]\n" + groups),
		"no algorithm":          one("    algorithms: []\n" + groups),
		"clocks far apart":      one("    clock_skew: 3600\n" + groups),
		"a role there is not":   one("    roles_claim: groups\n    map:\n      - {value: a, roles: [admin], sites: [shop]}\n"),
		"no role":               one("    roles_claim: groups\n    map:\n      - {value: a, roles: [], sites: [shop]}\n"),
		"no site":               one("    roles_claim: groups\n    map:\n      - {value: a, roles: [analyst], sites: []}\n"),
		"every site":            one("    roles_claim: groups\n    map:\n      - {value: a, roles: [analyst], sites: ['*']}\n"),
		"nobody's value":        one("    roles_claim: groups\n    map:\n      - {value: '', roles: [analyst], sites: [shop]}\n"),
		"a field there is not":  one("    secret: canary\n" + groups),
		"the same issuer twice": one(groups) + strings.TrimPrefix(one(groups), "issuers:\n"),
	}
	for name, text := range broken {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "access.yaml")
			write(t, file, text)
			if _, err := New(Config{Keys: file + ".json", Issuers: file}, slog.New(slog.DiscardHandler), now); err == nil {
				t.Error("it starts")
			}
		})
	}
	h, s := newHouse(t, groups), newSigner(t, "one", "ES256")
	h.publish(s.public())
	wants(t, func() error { _, err := h.ask(s.sign(t, "", h.claims(nil))); return err }(), "", "")
	write(t, h.file, "issuers: [")
	for range 3 {
		_, err := h.ask(s.sign(t, "", h.claims(nil)))
		wants(t, err, core.CodeUnavailable, "")
	}
	if n := strings.Count(h.log.String(), "\n"); n != 1 {
		t.Errorf("%d lines are logged: %s", n, h.log)
	}
	if h.guard.Ready() == nil {
		t.Error("it is ready")
	}
}

func FuzzAuthenticate(f *testing.F) {
	issuers, err := parseIssuers([]byte("issuers:\n  - issuer: http://127.0.0.1:1\n    audience: sekisho\n"+groups), slog.New(slog.DiscardHandler), now)
	if err != nil {
		f.Fatal(err)
	}
	_, private, err := ed25519.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 64)))
	if err != nil {
		f.Fatal(err)
	}
	s := signer{"one", "EdDSA", private}
	keys := issuers["http://127.0.0.1:1"].keys
	keys.keys, keys.fetched, keys.tried = []jose.JSONWebKey{newPublic(f)}, noon, noon
	g := &Guard{
		keys: &watched[map[string]*Key]{}, issuers: &watched[map[string]*issuer]{}, log: slog.New(slog.DiscardHandler), now: now,
	}
	g.keys.fix(nil)
	g.issuers.fix(issuers)
	f.Add("Bearer " + s.sign(f, "", map[string]any{"iss": "http://127.0.0.1:1", "aud": "sekisho", "sub": "a", "iat": noon.Unix(), "exp": noon.Unix() + 60}))
	f.Add("Bearer sk_00000000_" + strings.Repeat("A", 43))
	f.Add("Bearer ..")
	f.Fuzz(func(t *testing.T, header string) {
		// None of them is signed with the key that is believed.
		if caller, err := g.Authenticate(t.Context(), header); err != errUnauthenticated { //nolint:errorlint // the very same answer
			t.Errorf("%+v, %v", caller, err)
		}
	})
}

func newPublic(f *testing.F) jose.JSONWebKey {
	f.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	return jose.JSONWebKey{Key: public, KeyID: "one", Algorithm: "EdDSA", Use: "sig"}
}

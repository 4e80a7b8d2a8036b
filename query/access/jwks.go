package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// How an issuer's keys are kept. go-oidc's own set keeps a key for as long as it verifies, so one that the issuer has
// withdrawn would stay good, and asks the issuer once more for each forged token.
const (
	keysRefresh = 5 * time.Minute  // they are fetched again after that
	keysLife    = 15 * time.Minute // and believed no longer than that
	fetchPause  = 10 * time.Second // between two tries, whatever the tokens say
	fetchTime   = 5 * time.Second
	maxDocument = 1 << 20
	minRSABits  = 2048
)

// keySet verifies with keys that are at hand. It implements oidc.KeySet.
type keySet []jose.JSONWebKey

// VerifySignature implements oidc.KeySet.
func (k keySet) VerifySignature(_ context.Context, token string) ([]byte, error) {
	parsed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, errors.New("verify token: it is not signed")
	}
	header := parsed.Signatures[0].Header
	for _, key := range k {
		if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm || !fit(key, header.Algorithm) {
			continue
		}
		if payload, err := parsed.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	return nil, errors.New("verify token: no key of the issuer made it")
}

// fit refuses a key that is too short, or on another curve than the algorithm names (RFC 7518, 3.3 and 3.4).
func fit(key jose.JSONWebKey, algorithm string) bool {
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		return algorithm == oidc.ES256 && public.Curve == elliptic.P256()
	}
	return true
}

// remoteKeys are the keys of one issuer, found by OpenID Connect Discovery.
type remoteKeys struct {
	issuer string
	client *http.Client
	log    *slog.Logger
	now    func() time.Time

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // when the keys were
	tried   time.Time // when it was tried the last time
	fault   error     // of the last try
}

// current returns the keys; those of before when the named one is among them and they are young enough. Only one caller
// fetches at a time, the others wait for what it finds. The error says that nothing can be verified now.
func (r *remoteKeys) current(ctx context.Context, keyID string) ([]jose.JSONWebKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	known := keyID == "" || slices.ContainsFunc(r.keys, func(k jose.JSONWebKey) bool { return k.KeyID == keyID })
	alive := r.keys != nil && now.Sub(r.fetched) < keysLife
	if alive && known && now.Sub(r.fetched) < keysRefresh {
		return r.keys, nil
	}
	if r.tried.IsZero() || now.Sub(r.tried) >= fetchPause {
		r.fetch(ctx)
		known = known || r.fault == nil
		alive = r.keys != nil && now.Sub(r.fetched) < keysLife
	}
	// A key that is not there may be new, so as long as that cannot be found out the token is not called bad.
	if alive && (known || r.fault == nil) {
		return r.keys, nil
	}
	if r.fault == nil {
		return nil, errors.New("fetch keys: they are too old")
	}
	return nil, r.fault
}

// fetch asks the issuer. The caller's leaving does not end it: others wait for it too.
func (r *remoteKeys) fetch(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
	defer cancel()
	before := r.fault
	var keys []jose.JSONWebKey
	keys, r.fault = r.ask(ctx)
	r.tried = r.now()
	if r.fault == nil {
		r.keys, r.fetched = keys, r.tried
	}
	// Its words are the other side's, and are not repeated.
	switch {
	case r.fault != nil && before == nil:
		r.log.WarnContext(ctx, "the keys of an issuer cannot be had", "issuer", r.issuer)
	case r.fault == nil && before != nil:
		r.log.InfoContext(ctx, "the keys of an issuer are there again", "issuer", r.issuer)
	}
}

func (r *remoteKeys) ask(ctx context.Context) ([]jose.JSONWebKey, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, r.client), r.issuer)
	if err != nil {
		return nil, fmt.Errorf("discover issuer: %w", err)
	}
	var metadata struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&metadata); err != nil {
		return nil, fmt.Errorf("discover issuer: %w", err)
	}
	if err := secure(metadata.Keys); err != nil {
		return nil, fmt.Errorf("discover issuer: jwks_uri is %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, metadata.Keys, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch keys: status %d", answer.StatusCode)
	}
	return decodeKeys(answer.Body)
}

// decodeKeys reads a JWK set. Keys that are not understood, or do not verify signatures, are left out (RFC 7517, 5). So
// are secret ones, which no issuer has a reason to publish.
func decodeKeys(body io.Reader) ([]jose.JSONWebKey, error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(body).Decode(&document); err != nil {
		return nil, errors.New("fetch keys: the document is no set of keys")
	}
	var keys []jose.JSONWebKey
	for _, raw := range document.Keys {
		var k jose.JSONWebKey
		if err := json.Unmarshal(raw, &k); err == nil && k.Valid() && k.IsPublic() && (k.Use == "" || k.Use == "sig") {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("fetch keys: there is none that verifies signatures")
	}
	return keys, nil
}

// newClient asks issuers: soon or not at all, only where it was told to, and for no more than a sound answer has.
func newClient() *http.Client {
	return &http.Client{
		Transport:     bounded{&http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}},
		Timeout:       fetchTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, maxDocument), answer.Body}
	return answer, nil
}

package collector

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/schemas/sekishov1"
)

const state = `{"policy_version":"default/2022-09-15","purposes":[{"id":"usage_based_development","basis":"consent","state":"given",` +
	`"since":"2026-03-01T00:00:00Z","permitted":true}]}`

// fakeStates is a pipeline that answers with state, or with its fault.
type fakeStates struct {
	fault error
	asked [][]byte
}

func (s *fakeStates) State(_ context.Context, sealed []byte) ([]byte, error) {
	s.asked = append(s.asked, sealed)
	return []byte(state), s.fault
}

func withStates(s States) func(*Config, *Deps) { return func(_ *Config, d *Deps) { d.States = s } }

func TestACallerIsToldItsOwnState(t *testing.T) {
	for name, tc := range map[string]struct {
		target string
		header []string
		status int
		say    string
	}{
		"by cookie":                  {"?site=shop", []string{"Sekisho-Cookie-Id", "c1"}, 200, state},
		"by device, from a page":     {"?site=shop", []string{"Sekisho-Device-Id", "d1", "Origin", origin}, 200, state},
		"a long one, in characters":  {"?site=shop", []string{"Sekisho-Cookie-Id", strings.Repeat("あ", 128)}, 200, state},
		"one that is too long":       {"?site=shop", []string{"Sekisho-Cookie-Id", strings.Repeat("c", 129)}, 400, `"field":"Sekisho-Cookie-Id"`},
		"a device that is too long":  {"?site=shop", []string{"Sekisho-Device-Id", strings.Repeat("d", 129)}, 400, `"field":"Sekisho-Device-Id"`},
		"one that is no text":        {"?site=shop", []string{"Sekisho-Cookie-Id", "\xff"}, 400, `"field":"Sekisho-Cookie-Id"`},
		"nobody":                     {"?site=shop", nil, 400, `"code":"missing"`},
		"nobody, but in the address": {"?site=shop&cookie_id=c1", nil, 400, `"code":"missing"`},
		"an unknown site":            {"?site=other", []string{"Sekisho-Cookie-Id", "c1"}, 400, `"field":"site"`},
		"no site":                    {"", []string{"Sekisho-Cookie-Id", "c1"}, 400, `"field":"site"`},
		"a foreign page":             {"?site=shop", []string{"Sekisho-Cookie-Id", "c1", "Origin", "https://evil.example"}, 403, `"code":"forbidden"`},
	} {
		t.Run(name, func(t *testing.T) {
			states := &fakeStates{}
			c, broker, _ := build(t, 1<<20, withStates(states))
			w := get(c, "/v1/consent"+tc.target, tc.header...)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.say) {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if cache := w.Header().Get("Cache-Control"); cache != "no-store" {
				t.Errorf("it may be cached: %q", cache)
			}
			if len(broker.messages) != 0 {
				t.Error("a question went to the topic")
			}
			if asked := len(states.asked); (asked == 1) != (tc.status == 200) {
				t.Fatalf("the pipeline was asked %d times", asked)
			}
			if tc.status != 200 {
				return
			}
			var env sekishov1.Envelope
			var act sekishov1.ConsentAct
			if err := errors.Join(proto.Unmarshal(states.asked[0], &env), proto.Unmarshal(env.Sealed, &act)); err != nil {
				t.Fatal(err)
			}
			if who := act.Subject.CookieId + act.Subject.DeviceId; env.Site != "shop" || env.Kind != sekishov1.Kind_KIND_CONSENT || who != tc.header[1] {
				t.Errorf("asked for %q of %s", who, env.Site)
			}
		})
	}
}

func TestAStateThatCannotBeAskedForIsUnavailable(t *testing.T) {
	const mark = "CANARY7f3a"
	for name, states := range map[string]States{"no pipeline": nil, "a pipeline that is away": &fakeStates{fault: errors.New("away")}} {
		t.Run(name, func(t *testing.T) {
			c, _, log := build(t, 1<<20, withStates(states))
			w := get(c, "/v1/consent?site=shop", "Sekisho-Cookie-Id", mark, "User-Agent", mark, "Origin", origin)
			if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `"code":"unavailable"`) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if strings.Contains(w.Body.String()+log.String(), mark) || log.Len() == 0 {
				t.Error("the answer or the log names the subject, or nothing is logged")
			}
		})
	}
}

func TestThePipelineIsAskedOverHTTP(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		ok     bool
	}{
		"its answer":            {200, state, true},
		"a refusal":             {404, state, false},
		"its fault":             {500, "", false},
		"no JSON":               {200, "<html>", false},
		"an answer of any size": {200, `"` + strings.Repeat("x", maxAnswer) + `"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				sealed, err := io.ReadAll(r.Body)
				if err != nil || r.Method != http.MethodPost || r.URL.Path != "/internal/v1/consent/state" || r.URL.RawQuery != "" || string(sealed) != "sealed" {
					t.Errorf("%s %s with %q, %v", r.Method, r.URL, sealed, err)
				}
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			}))
			defer server.Close()
			got, err := NewHTTPPipeline(server.URL+"/", server.Client()).State(t.Context(), []byte("sealed"))
			if (err == nil) != tc.ok || tc.ok && string(got) != tc.body {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
	server := httptest.NewServer(nil)
	server.Close()
	if _, err := NewHTTPPipeline(server.URL, http.DefaultClient).State(t.Context(), nil); err == nil {
		t.Error("a pipeline that is not there answers")
	}
}

func FuzzDecodeAct(f *testing.F) {
	f.Add([]byte(`{"site":"shop","subject":{"cookie_id":"c"},"policy_version":"default/2022-09-15","granted":["service_development"],"text_hash":"sha256:0a"}`))
	f.Add([]byte(`{"id":"01890a5d-ac96-774b-bcce-b302099a8057","subject":{"user_id":"\u3042"},"withdrawn":[],"surface":"banner","time":1,"sent_at":"2026-04-01T12:00:00Z"}`))
	f.Add([]byte(`{"site":"shop","tc_string":"CP","consent_mode":{"ad_storage":"denied"},"link":true,"actor":"subject","x":[{"y":null}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		it, act, signals, fault := decodeAct(body)
		if fault != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatal("accepted what is no JSON")
		}
		if signals != nil && !json.Valid(signals) {
			t.Fatalf("signals %q are no JSON", signals)
		}
		if _, err := proto.Marshal(act); err != nil || it == nil {
			t.Fatal(err)
		}
	})
}

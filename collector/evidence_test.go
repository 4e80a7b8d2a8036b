package collector

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// tcString is a string of the published encoder by its name in the test data of internal/tcf.
func tcString(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../internal/tcf/testdata/encoded.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []struct{ Name, String string }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(c struct{ Name, String string }) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("there is no string %q", name)
	}
	return all[i].String
}

// sent is the act in the last message.
func sent(t *testing.T, broker *fakeBroker) *sekishov1.ConsentAct {
	t.Helper()
	var env sekishov1.Envelope
	var act sekishov1.ConsentAct
	if err := errors.Join(proto.Unmarshal(broker.messages[len(broker.messages)-1].Value, &env), proto.Unmarshal(env.Sealed, &act)); err != nil {
		t.Fatal(err)
	}
	return &act
}

func TestAnActSaysHowItCameAbout(t *testing.T) {
	accepted, refused := tcString(t, "everything accepted"), tcString(t, "nothing set")
	const start = `{"site":"shop","subject":{"cookie_id":"c1"},"policy_version":"default/2022-09-15",`
	for name, tc := range map[string]struct {
		body, key string
		status    int
		say       string
		holds     func(*sekishov1.ConsentAct) bool
	}{
		"a banner's": {start + `"surface":"banner","granted":["usage_based_development"]}`, "", 202, "", func(a *sekishov1.ConsentAct) bool {
			return a.Source == "banner" && a.Method == "click" && a.Actor == "subject"
		}},
		"a server's":                  {start + `"granted":["usage_based_development"]}`, key, 202, "", func(a *sekishov1.ConsentAct) bool { return a.Source == "api" && a.Method == "api_call" }},
		"renewed":                     {start + `"renewed":["usage_based_development"]}`, "", 202, "", func(a *sekishov1.ConsentAct) bool { return len(a.Renewed) == 1 }},
		"an import":                   {start + `"source":"import","method":"document","granted":["usage_based_development"]}`, key, 202, "", func(a *sekishov1.ConsentAct) bool { return a.Source == "import" && a.Method == "document" }},
		"an import by a page":         {start + `"source":"import","granted":["usage_based_development"]}`, "", 403, "/source", nil},
		"for somebody else":           {start + `"actor":"representative","granted":["usage_based_development"]}`, key, 202, "", func(a *sekishov1.ConsentAct) bool { return a.Actor == "representative" }},
		"for somebody else by a page": {start + `"actor":"operator","granted":["usage_based_development"]}`, "", 403, "/actor", nil},
		"an expiry":                   {start + `"expired":["usage_based_development"]}`, key, 202, "", func(a *sekishov1.ConsentAct) bool { return len(a.Expired) == 1 }},
		"an expiry by a page":         {start + `"expired":["usage_based_development"]}`, "", 403, "/expired", nil},
		"an expiry of no consent":     {start + `"expired":["customer_support"]}`, key, 400, "/expired/0", nil},
		"an unknown source":           {start + `"source":"CANARY","granted":["usage_based_development"]}`, "", 400, "/source", nil},
		"a link":                      {`{"site":"shop","subject":{"cookie_id":"c1","user_id":"u1"},"policy_version":"default/2022-09-15","link":true}`, "", 202, "", func(a *sekishov1.ConsentAct) bool { return a.Link }},
		"a withdrawal that erases":    {start + `"withdrawn":["usage_based_development"],"erase_past":true}`, "", 202, "", func(a *sekishov1.ConsentAct) bool { return a.ErasePast }},
		"an erasure of nothing":       {start + `"granted":["usage_based_development"],"erase_past":true}`, "", 400, "/withdrawn", nil},
		"a link of one":               {start + `"link":true}`, "", 400, "/subject", nil},
		"nothing":                     {start + `"surface":"banner"}`, "", 400, "/granted", nil},
		"a TC string that consents": {start + `"tc_string":"` + accepted + `"}`, "", 202, "", func(a *sekishov1.ConsentAct) bool {
			return a.Source == "tcf" && a.Method == "signal" && a.TcString == accepted && slices.Contains(a.Granted, "behavioral_personalization") &&
				!slices.Contains(a.Granted, "in_service_recommendation") && len(a.Refused) == 0
		}},
		"a TC string that refuses": {start + `"tc_string":"` + refused + `"}`, "", 202, "", func(a *sekishov1.ConsentAct) bool {
			return len(a.Granted) == 0 && slices.Contains(a.Refused, "behavioral_personalization") && slices.Contains(a.Refused, "marketing_use")
		}},
		"its own words before the string's": {start + `"refused":["behavioral_personalization","development_marketing"],"tc_string":"` + accepted + `"}`, "", 202, "", func(a *sekishov1.ConsentAct) bool {
			return !slices.Contains(a.Granted, "behavioral_personalization") && !slices.Contains(a.Granted, "marketing_use")
		}},
		"no TC string": {start + `"tc_string":"CANARY"}`, "", 400, "/tc_string", nil},
		"Consent Mode": {start + `"consent_mode":{"ad_storage":"denied","analytics_storage":"granted"}}`, "", 202, "", func(a *sekishov1.ConsentAct) bool {
			return a.Source == "consent_mode" && len(a.Granted) == 0 && slices.Contains(a.Refused, "marketing_use")
		}},
		"Consent Mode against a TC string": {start + `"consent_mode":{"ad_personalization":"denied"},"tc_string":"` + accepted + `"}`, "", 202, "", func(a *sekishov1.ConsentAct) bool {
			return slices.Contains(a.Refused, "behavioral_personalization") && !slices.Contains(a.Granted, "behavioral_personalization")
		}},
		"Consent Mode of another word": {start + `"consent_mode":{"ad_storage":"CANARY"}}`, "", 400, "/consent_mode", nil},
		"Consent Mode of no object":    {start + `"consent_mode":"CANARY"}`, "", 400, "/consent_mode", nil},
		"signals that say nothing":     {start + `"consent_mode":{"security_storage":"granted"}}`, "", 400, "/consent_mode", nil},
	} {
		t.Run(name, func(t *testing.T) {
			c, broker, log := build(t, 1<<20)
			w := post(c, "/v1/consent", tc.body, "Sekisho-Write-Key", tc.key)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.say) || strings.Contains(w.Body.String()+log.String(), "CANARY") {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if tc.holds != nil && !tc.holds(sent(t, broker)) {
				t.Errorf("sent %v", sent(t, broker))
			}
		})
	}
}

// fakeLedger answers what it is told to.
type fakeLedger struct {
	status int
	body   string
	err    error
	asked  []string
}

func (f *fakeLedger) Ask(_ context.Context, what string, query url.Values) (int, string, []byte, error) {
	f.asked = append(f.asked, what+"?"+query.Encode())
	return f.status, "application/json", []byte(f.body), f.err
}

func withLedger(l Ledger) func(*Config, *Deps) { return func(_ *Config, d *Deps) { d.Ledger = l } }

func TestAnActIsAnsweredWithItsReceipts(t *testing.T) {
	const (
		id  = "0198c0de-0000-7000-8000-000000000001"
		act = `{"id":"` + id + `","site":"shop","subject":{"cookie_id":"c1"},"policy_version":"default/2022-09-15","granted":["usage_based_development"]}`
	)
	for name, tc := range map[string]struct {
		path   string
		ledger fakeLedger
		asked  string
		say    bool
	}{
		"as a rule":      {"/v1/consent", fakeLedger{status: 200, body: `{"receipts":[{"index":7}]}`}, "wait=2", true},
		"for longer":     {"/v1/consent?wait=30", fakeLedger{status: 200, body: `{"receipts":[{"index":7}]}`}, "wait=10", true},
		"not waited for": {"/v1/consent?wait=0", fakeLedger{status: 200, body: `{"receipts":[{"index":7}]}`}, "", false},
		"not ready":      {"/v1/consent", fakeLedger{status: 404, body: `{"code":"not_found"}`}, "wait=2", false},
		"out of reach":   {"/v1/consent", fakeLedger{err: errors.New("away")}, "wait=2", false},
		"unreadable":     {"/v1/consent", fakeLedger{status: 200, body: `<html>`}, "wait=2", false},
	} {
		t.Run(name, func(t *testing.T) {
			c, broker, _ := build(t, 1<<20, withLedger(&tc.ledger))
			w := post(c, tc.path, act)
			if w.Code != 202 || len(broker.messages) != 1 || strings.Contains(w.Body.String(), `"receipts":[{"index":7}]`) != tc.say {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if tc.asked == "" != (len(tc.ledger.asked) == 0) || tc.asked != "" && tc.ledger.asked[0] != "proof?act="+id+"&site=shop&"+tc.asked {
				t.Errorf("asked %v", tc.ledger.asked)
			}
		})
	}
}

func TestTheLedgerIsPassedOn(t *testing.T) {
	ledger := &fakeLedger{status: 404, body: `{"code":"not_found"}`}
	c, _, log := build(t, 1<<20, withLedger(ledger))
	if w := get(c, "/v1/ledger/proof?site=shop&act=CANARY&wait=99&more=1"); w.Code != 404 || w.Body.String() != ledger.body {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if ledger.asked[0] != "proof?act=CANARY&site=shop" {
		t.Errorf("asked %v", ledger.asked)
	}
	ledger.err = errors.New("away")
	for _, path := range []string{"/v1/ledger/checkpoint", "/v1/ledger/key", "/v1/ledger/proof?act=CANARY"} {
		if w := get(c, path); w.Code != 503 || strings.Contains(w.Body.String()+log.String(), "CANARY") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	c, _, _ = build(t, 1<<20)
	if w := get(c, "/v1/ledger/checkpoint"); w.Code != 503 {
		t.Errorf("without a pipeline: %d", w.Code)
	}
	// The client that asks a real pipeline tells no act in its error.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, r.URL.Path+" "+r.URL.RawQuery)
	}))
	pipeline := NewHTTPPipeline(server.URL, server.Client())
	status, kind, body, err := pipeline.Ask(t.Context(), "proof", url.Values{"act": {"x"}})
	if err != nil || status != 200 || kind != "text/plain" || string(body) != "/internal/v1/ledger/proof act=x" {
		t.Errorf("%d %s %s %v", status, kind, body, err)
	}
	server.Close()
	if _, _, _, err := pipeline.Ask(t.Context(), "proof", url.Values{"act": {"CANARY"}}); err == nil || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("error %v", err)
	}
}

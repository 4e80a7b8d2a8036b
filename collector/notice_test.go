package collector

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
)

var update = flag.Bool("update", false, "write the golden files")

func ask(c *Collector, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, r)
	return w
}

// The golden files are what the browser tests of web/ show.
func TestTheNoticeSaysInEachLanguageWhatThePolicySays(t *testing.T) {
	c, _, _ := build(t, 1<<20)
	for _, language := range []string{"ja", "en"} {
		w := ask(c, "/v1/notice?site=shop&lang="+language)
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		var got bytes.Buffer
		if err := json.Indent(&got, w.Body.Bytes(), "", "  "); err != nil {
			t.Fatal(err)
		}
		got.WriteByte('\n')
		golden := filepath.Join("testdata", "notice."+language+".json")
		if *update {
			if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s differs; got\n%s", golden, got.Bytes())
		}
	}
}

func TestTheNoticeExplainsWhatTheTrackerAsksAndWhatRunsWithoutAsking(t *testing.T) {
	c, _, _ := build(t, 1<<20)
	shop, _ := c.deps.Sites.Get("shop")
	pack, _ := c.deps.Policies.At("default", now)
	for _, jurisdiction := range pack.Jurisdictions {
		there := *shop
		there.Jurisdiction = jurisdiction
		config, n := configOf(&there, pack, ""), noticeOf(&there, pack, "en")
		by := map[string][]string{}
		for _, p := range n.Purposes {
			by[p.Basis] = append(by[p.Basis], p.ID)
			if p.Label == "" || p.Text == "" || len(p.Categories) == 0 {
				t.Errorf("%s: purpose %s is not explained", jurisdiction, p.ID)
			}
			for _, id := range p.Categories {
				if said := n.Categories[id]; said.Label == "" || said.Days < 1 {
					t.Errorf("%s: purpose %s: category %s is not explained", jurisdiction, p.ID, id)
				}
			}
		}
		if !slices.Equal(by["consent"], config.Ask) || len(config.Ask) == 0 {
			t.Errorf("%s: by consent %v, asked %v", jurisdiction, by["consent"], config.Ask)
		}
		if len(config.OptOut) > 0 && !slices.Equal(by["opt_out"], config.OptOut) || len(by["opt_out"]) != len(config.OptOut) {
			t.Errorf("%s: unless objected %v, offered %v", jurisdiction, by["opt_out"], config.OptOut)
		}
		if want := []string{"customer_support", "security_incident"}; !slices.Equal(by["notified"], want) {
			t.Errorf("%s: without asking %v, want %v", jurisdiction, by["notified"], want)
		}
	}
	elsewhere := *shop
	elsewhere.Jurisdiction = "nowhere"
	if n := noticeOf(&elsewhere, pack, "en"); len(n.Purposes) > 0 {
		t.Errorf("where the policy has no basis nothing is used, and %v is said to be", n.Purposes)
	}
}

func TestTheNoticeNamesWhoeverElseGetsTheData(t *testing.T) {
	c, _, _ := build(t, 1<<20)
	shop, _ := c.deps.Sites.Get("shop")
	builtin, _ := c.deps.Policies.At("default", now)
	pack := *builtin
	marketing, _ := pack.Purpose("marketing_use")
	only := core.PurposeSet(1 << marketing.Bit)
	pack.Recipients = append(slices.Clone(pack.Recipients),
		policy.Recipient{Kind: policy.ThirdParty, Name: policy.Text{"ja": "広告社", "en": "Ads Ltd"}, Purposes: only},
		policy.Recipient{Kind: policy.SDK, Name: policy.Text{"ja": "計測社", "en": "Metrics Ltd"}, Processor: "metrics", Purposes: only})
	pack.Processors = []policy.Processor{{ID: "host", Name: policy.Text{"ja": "保管社", "en": "Storage Ltd"}, Purposes: only}}
	for language, want := range map[string][]noticeRecipient{
		"ja": {{"広告社", false}, {"計測社", true}, {"保管社", true}},
		"en": {{"Ads Ltd", false}, {"Metrics Ltd", true}, {"Storage Ltd", true}},
	} {
		for _, p := range noticeOf(shop, &pack, language).Purposes {
			if p.ID == "marketing_use" {
				if !reflect.DeepEqual(p.Recipients, want) {
					t.Errorf("recipients %v, want %v", p.Recipients, want)
				}
			} else if len(p.Recipients) > 0 {
				t.Errorf("%s has the recipients of another purpose: %v", p.ID, p.Recipients)
			}
		}
	}
}

func TestTheNoticeIsPublicAndCacheable(t *testing.T) {
	c, _, _ := build(t, 1<<20)
	const path = "/v1/notice?site=shop&lang=ja"
	w := ask(c, path, "Origin", origin)
	h := w.Header()
	etag := h.Get("ETag")
	if w.Code != http.StatusOK || etag == "" || strings.HasPrefix(etag, "W/") || h.Get("Cache-Control") != "public, max-age=300" ||
		h.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("%d %v", w.Code, h)
	}
	if h.Get("Access-Control-Allow-Origin") != origin || !slices.Contains(h.Values("Vary"), "Origin") {
		t.Errorf("a page of the site cannot read it: %v", h)
	}
	if got := ask(c, path, "Origin", "https://evil.example").Header().Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("a foreign page can read it: %q", got)
	}
	if again := ask(c, path, "If-None-Match", etag); again.Code != http.StatusNotModified || again.Body.Len() > 0 || again.Header().Get("ETag") != etag {
		t.Errorf("%d %v %s", again.Code, again.Header(), again.Body)
	}
	if other := ask(c, "/v1/notice?site=shop&lang=en", "If-None-Match", etag); other.Code != http.StatusOK {
		t.Errorf("the other language has the same ETag: %d", other.Code)
	}
	for query, field := range map[string]string{
		"": "site", "site=other&lang=ja": "site", "site=shop": "lang", "site=shop&lang=fr": "lang", "site=shop&lang=CANARY7f3a": "lang",
	} {
		w := ask(c, "/v1/notice?"+query)
		if body := w.Body.String(); w.Code != http.StatusNotFound || !strings.Contains(body, `"field":"`+field+`"`) || strings.Contains(body, "CANARY") {
			t.Errorf("%q: %d %s", query, w.Code, body)
		}
	}
}

func TestTheNoticeIsOfTheVersionInForce(t *testing.T) {
	c, _, _ := build(t, 1<<20)
	at := now
	c.deps.Now = func() time.Time { return at }
	var bodies []string
	for _, version := range []string{"default/2022-09-15", "default/2019-10-15", "default/2022-09-15"} {
		at = now
		if version == "default/2019-10-15" {
			at = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		w := ask(c, "/v1/notice?site=shop&lang=en")
		if !strings.Contains(w.Body.String(), `"policy":"`+version+`"`) {
			t.Errorf("want %s: %d %s", version, w.Code, w.Body)
		}
		bodies = append(bodies, w.Body.String())
	}
	if bodies[0] != bodies[2] {
		t.Error("the same version is told differently")
	}
	at = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	if w := ask(c, "/v1/notice?site=shop&lang=en"); w.Code != http.StatusNotFound {
		t.Errorf("before any policy: %d", w.Code)
	}
}

package pipeline

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/pii"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/pseudonym"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// clerk takes acts without a broker or a store.
type clerk struct {
	s      *shard
	seal   *pseudonym.Sealer
	opener *open.Opener
	pack   *policy.Pack
}

func newClerk(t *testing.T) *clerk {
	t.Helper()
	store, err := open.OpenStore(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	private, err := store.SealKey(pseudonym.X25519, 1)
	if err != nil {
		t.Fatal(err)
	}
	c := &clerk{opener: open.NewOpener(store)}
	if c.seal, err = pseudonym.NewSealer(private.Public(), rand.Reader, time.Now); err != nil {
		t.Fatal(err)
	}
	keys, err := open.NewKeys(store, rand.Reader, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	policies, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	c.pack, _ = policies.Version("default/2022-09-15")
	sites, err := site.Parse([]byte(`sites: [{id: shop, name: Shop, time_zone: Asia/Tokyo, jurisdiction: jp, policy: default}]`))
	if err != nil {
		t.Fatal(err)
	}
	c.s = &shard{p: &Pipeline{states: newStates(), deps: Deps{
		Keys: keys, Sites: sites, Policies: policies, Scrubber: NewScrubber(pii.New(), nil), Now: time.Now,
	}}}
	return c
}

// take takes an act as the pipeline does.
func (c *clerk) take(t *rapid.T, act *sekishov1.ConsentAct) *effects {
	id := uuid.New()
	value, err := c.seal.Seal(&sekishov1.Envelope{Kind: sekishov1.Kind_KIND_CONSENT, Site: "shop", Id: id[:], ReceivedUs: time.Now().UnixMicro()}, act)
	if err != nil {
		t.Fatal(err)
	}
	opened, reason := c.opener.Open(value)
	if reason != core.NoReason {
		t.Fatal(reason)
	}
	x, reason, err := c.s.act(opened, 0)
	if err != nil || reason != core.NoReason {
		t.Fatal(reason, err)
	}
	return x
}

// permitted is what an event of some identities, at a time, may be used for.
func (c *clerk) permitted(who *sekishov1.Identity, kind core.EventType, at int64) core.PurposeSet {
	rules, _ := c.pack.Rules("jp")
	cookie, device, account := c.s.p.subjects("shop", who)
	return consent.Decide(rules, &consent.Inputs{Type: kind, Time: at, Subjects: c.s.p.states.of(cookie, device, account)}).Purposes
}

// Whatever a cookie and an account have said before, and in whatever order it arrives: linking them never permits what
// was not permitted before, for either of them, together or alone, at any time.
func TestLinkingNeverWidens(t *testing.T) {
	c := newClerk(t)
	base := time.Now().Add(-time.Hour).UnixMicro()
	purposes := make([]string, len(c.pack.Purposes))
	for i := range c.pack.Purposes {
		purposes[i] = c.pack.Purposes[i].ID
	}
	run, bound := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		cookie := &sekishov1.Identity{CookieId: fmt.Sprint("cookie", run)}
		account := &sekishov1.Identity{UserId: fmt.Sprint("user", run)}
		both := &sekishov1.Identity{CookieId: cookie.CookieId, UserId: account.UserId}
		minute := func(name string) int64 { return base + int64(rapid.IntRange(0, 50).Draw(t, name))*60_000_000 }
		for range rapid.IntRange(0, 8).Draw(t, "acts") {
			act := &sekishov1.ConsentAct{
				Subject: rapid.SampledFrom([]*sekishov1.Identity{cookie, account, both}).Draw(t, "who"), PolicyVersion: c.pack.Version, TimeUs: minute("time"),
			}
			said := []string{rapid.SampledFrom(purposes).Draw(t, "purpose")}
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				act.Refused = said
			case 1:
				act.Withdrawn = said
			case 2:
				act.Renewed = said
			default:
				act.Granted = said
			}
			c.take(t, act)
		}
		type question struct {
			who  *sekishov1.Identity
			kind core.EventType
			at   int64
		}
		before := map[question]core.PurposeSet{}
		for _, who := range []*sekishov1.Identity{cookie, account, both} {
			for _, kind := range []core.EventType{core.PageView, core.Operation, core.Purchase} {
				for m := int64(0); m <= 60; m += 5 {
					q := question{who, kind, base + m*60_000_000}
					before[q] = c.permitted(who, kind, q.at)
				}
			}
		}
		at := minute("link")
		x := c.take(t, &sekishov1.ConsentAct{Subject: both, PolicyVersion: c.pack.Version, TimeUs: at, Link: true})
		bound += len(x.acts)
		for q, was := range before {
			if now := c.permitted(q.who, q.kind, q.at); now&^was != 0 {
				t.Fatalf("linked at %d, an event at %d gains the purposes %b: it had %b", at-base, q.at-base, now&^was, was)
			}
		}
		// And what one of them denies as of the link, all of them deny: alone and together they agree.
		for bit := range core.Purpose(core.MaxPurposes) {
			mine, _, ours := c.s.p.subjects("shop", both)
			_, cookieDenies := consent.Standing(c.s.p.states.of(mine), bit, at)
			_, accountDenies := consent.Standing(c.s.p.states.of(ours), bit, at)
			if cookieDenies != accountDenies {
				t.Fatalf("after the link only one of them denies purpose %d", bit)
			}
		}
	})
	if bound == 0 {
		t.Error("no link bound anything: the property proves nothing")
	}
}

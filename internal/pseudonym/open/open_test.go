package open

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/pseudonym"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

const canary = "taro.canary@example.jp"

func rig(t testing.TB, kem pseudonym.KEM) (*Store, *pseudonym.Sealer, *Opener) {
	t.Helper()
	store, err := OpenStore(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	private, err := store.SealKey(kem, 1)
	if err != nil {
		t.Fatal(err)
	}
	text, err := private.Public().MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pseudonym.ParsePublicKey(text)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := pseudonym.NewSealer(public, rand.Reader, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return store, sealer, NewOpener(store)
}

func header() *sekishov1.Envelope {
	return &sekishov1.Envelope{Kind: sekishov1.Kind_KIND_EVENT, Site: "shop", Id: bytes.Repeat([]byte{7}, 16), ReceivedUs: 1_795_000_000_000_000}
}

func body() *sekishov1.Event {
	return &sekishov1.Event{Type: sekishov1.EventType_EVENT_TYPE_PAGE_VIEW, Url: "https://shop.example/?mail=" + canary, Identity: &sekishov1.Identity{CookieId: canary}}
}

func TestWhatIsSealedIsOpenedAndUnreadableInBetween(t *testing.T) {
	for _, kem := range []pseudonym.KEM{pseudonym.X25519, pseudonym.Hybrid} {
		t.Run(string(kem), func(t *testing.T) {
			_, sealer, opener := rig(t, kem)
			value, err := sealer.Seal(header(), body())
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(value, []byte("canary")) || bytes.Contains(value, []byte("example")) {
				t.Error("the sealed message is readable")
			}
			o, reason := opener.Open(value)
			if reason != core.NoReason || !proto.Equal(o.Event(), body()) || o.Site() != "shop" || o.ID()[0] != 7 || o.ConsentAct() != nil {
				t.Errorf("reason %v, opened %+v", reason, o)
			}
		})
	}
}

func TestNoFieldCanBeChangedOrMoved(t *testing.T) {
	_, sealer, opener := rig(t, pseudonym.X25519)
	value, err := sealer.Seal(header(), body())
	if err != nil {
		t.Fatal(err)
	}
	for name, tamper := range map[string]func(*sekishov1.Envelope){
		"kind":        func(e *sekishov1.Envelope) { e.Kind = sekishov1.Kind_KIND_CONSENT },
		"site":        func(e *sekishov1.Envelope) { e.Site = "other" },
		"id":          func(e *sekishov1.Envelope) { e.Id[3]++ },
		"received_us": func(e *sekishov1.Envelope) { e.ReceivedUs++ },
		"epoch":       func(e *sekishov1.Envelope) { e.Epoch++ },
		"wrapped_key": func(e *sekishov1.Envelope) { e.WrappedKey[40]++ },
		"nonce":       func(e *sekishov1.Envelope) { e.Nonce[11]++ },
		"sealed":      func(e *sekishov1.Envelope) { e.Sealed[0]++ },
	} {
		t.Run(name, func(t *testing.T) {
			var env sekishov1.Envelope
			if err := proto.Unmarshal(value, &env); err != nil {
				t.Fatal(err)
			}
			tamper(&env)
			changed, err := proto.Marshal(&env)
			if err != nil {
				t.Fatal(err)
			}
			if o, reason := opener.Open(changed); reason != core.ReasonUnsealable || o.Event() != nil {
				t.Errorf("reason %v", reason)
			}
		})
	}
}

func TestADestroyedEpochIsUnreadableForEver(t *testing.T) {
	store, sealer, opener := rig(t, pseudonym.X25519)
	value, err := sealer.Seal(header(), body())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.DestroyEpoch(1, time.Now()); err != nil {
		t.Fatal(err)
	}
	opener.Forget()
	if _, reason := opener.Open(value); reason != core.ReasonUnsealable {
		t.Errorf("reason %v", reason)
	}
	// A new key of the same number opens nothing old.
	if _, err := store.SealKey(pseudonym.X25519, 1); err != nil {
		t.Fatal(err)
	}
	if _, reason := opener.Open(value); reason != core.ReasonUnsealable {
		t.Errorf("reason %v", reason)
	}
}

func TestConcurrentSealsNeverShareANonce(t *testing.T) {
	_, sealer, _ := rig(t, pseudonym.X25519)
	var (
		mu   sync.Mutex
		seen = map[string]bool{}
		wg   sync.WaitGroup
	)
	for range 8 {
		wg.Go(func() {
			for range 500 {
				env := header()
				if _, err := sealer.Seal(env, body()); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[string(env.Nonce)] {
					t.Error("a nonce was used twice")
				}
				seen[string(env.Nonce)] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestKeysThatOthersMayReadAreRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	store, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.SealKey(pseudonym.X25519, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(store.sealPath(1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := store.SealKey(pseudonym.X25519, 1); err == nil {
		t.Error("a readable key is used")
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(dir); err == nil {
		t.Error("an open directory is used")
	}
}

func TestTwoProcessesMakeTheSameKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	var (
		wg  sync.WaitGroup
		ids [8]uint64
	)
	for i := range ids {
		wg.Go(func() {
			store, err := OpenStore(dir)
			if err != nil {
				t.Error(err)
				return
			}
			keys, err := NewKeys(store, rand.Reader, time.Now)
			if err != nil {
				t.Error(err)
				return
			}
			today := time.Now().UTC().Format(time.DateOnly)
			visitor, err := keys.Cookieless("shop", today, core.NewRawIP(netip.MustParseAddr("203.0.113.7")), "ua")
			if err != nil {
				t.Error(err)
			}
			ids[i] = visitor ^ keys.Subject("shop", Cookie, "c1")
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("pseudonyms differ: %v", ids)
		}
	}
}

func TestACookielessKeyIsDestroyedAfterItsDay(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	store, err := OpenStore(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := NewKeys(store, rand.Reader, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	ip := core.NewRawIP(netip.MustParseAddr("203.0.113.7"))
	first, err := keys.Cookieless("shop", "2026-11-24", ip, "ua")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := keys.Cookieless("shop", "2026-11-24", ip, "ua"); again != first {
		t.Error("the same visitor has two pseudonyms in a day")
	}
	if other, _ := keys.Cookieless("blog", "2026-11-24", ip, "ua"); other == first {
		t.Error("a visitor has the same pseudonym on two sites")
	}
	if _, err := keys.Cookieless("shop", "2026-11-26", ip, "ua"); !errors.Is(err, ErrDestroyed) {
		t.Errorf("a key for a day that has not come: %v", err)
	}

	now = now.AddDate(0, 0, 1)
	if destroyed, err := keys.DestroyBefore(Yesterday(now)); err != nil || len(destroyed) != 0 {
		t.Errorf("destroyed %v, %v although it may be needed over midnight", destroyed, err)
	}
	now = now.AddDate(0, 0, 2)
	destroyed, err := keys.DestroyBefore(Yesterday(now))
	if err != nil || len(destroyed) != 2 {
		t.Errorf("destroyed %v, %v", destroyed, err)
	}
	if _, err := keys.Cookieless("shop", "2026-11-24", ip, "ua"); !errors.Is(err, ErrDestroyed) {
		t.Errorf("the destroyed key is back: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	_, sealer, opener := rig(f, pseudonym.X25519)
	value, err := sealer.Seal(header(), body())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		o, reason := opener.Open(data)
		if reason == core.NoReason && o.Event() == nil && o.ConsentAct() == nil {
			t.Error("opened nothing without a reason")
		}
	})
}

func BenchmarkSealAndOpen(b *testing.B) {
	_, sealer, opener := rig(b, pseudonym.X25519)
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := sealer.Seal(header(), body()); err != nil {
				b.Fatal(err)
			}
		}
	})
	value, err := sealer.Seal(header(), body())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, reason := opener.Open(value); reason != core.NoReason {
				b.Fatal(reason)
			}
		}
	})
}

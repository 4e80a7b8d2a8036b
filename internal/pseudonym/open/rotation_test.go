package open

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/pseudonym"
)

const day = 24 * time.Hour

// keep are the periods of the built-in policy.
const (
	keepPseudonyms = 395 * day
	keepSealed     = 7 * day
)

func utc(year int, month time.Month, d int) time.Time {
	return time.Date(year, month, d, 0, 0, 0, 0, time.UTC)
}

// clock is a time that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// rotating is a key directory with its rotation, at a time of its own.
func rotating(t testing.TB, dir string, c *clock) (*Rotation, *pseudonym.PublicKey) {
	t.Helper()
	store, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := NewKeys(store, rand.Reader, c.now)
	if err != nil {
		t.Fatal(err)
	}
	published := &pseudonym.PublicKey{}
	return &Rotation{
		Store: store, Keys: keys, Opener: NewOpener(store), KEM: pseudonym.X25519,
		Publish:    func(k pseudonym.PublicKey) error { *published = k; return nil },
		Pseudonyms: func(time.Time) time.Duration { return keepPseudonyms }, Sealed: keepSealed,
		Clear:  func(context.Context, time.Time) (bool, error) { return true, nil },
		Logger: slog.New(slog.DiscardHandler), Now: c.now,
	}, published
}

func turn(t testing.TB, r *Rotation) {
	t.Helper()
	if err := r.Turn(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAnEpochFollowsFromTheTimeOfTheEvent(t *testing.T) {
	tokyo := time.FixedZone("JST", 9*60*60)
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{utc(2026, 7, 1), "2026-07"},
		{utc(2026, 7, 1).Add(-time.Microsecond), "2026-01"},
		{utc(2026, 12, 31).Add(day - 1), "2026-07"},
		{utc(2027, 1, 1), "2027-01"},
		{time.Date(2027, 1, 1, 8, 59, 0, 0, tokyo), "2026-07"},
		{time.Date(2027, 1, 1, 9, 0, 0, 0, tokyo), "2027-01"},
	} {
		e := EpochOf(c.at)
		if e.String() != c.want {
			t.Errorf("%v belongs to %v, want %s", c.at, e, c.want)
		}
		if c.at.Before(e.Start()) || !c.at.Before(e.End()) {
			t.Errorf("%v lies outside of %v", c.at, e)
		}
		if read, ok := parseEpoch(e.String()); !ok || read != e {
			t.Errorf("%v is read back as %v", e, read)
		}
	}
	if _, ok := parseEpoch("2026-08"); ok {
		t.Error("a month within an epoch is one")
	}
}

func TestOneIdentifierIsTwoStrangersInTwoEpochs(t *testing.T) {
	c := &clock{utc(2027, 1, 10)}
	r, _ := rotating(t, filepath.Join(t.TempDir(), "keys"), c)
	turn(t, r)
	before, after := EpochOf(utc(2026, 12, 31)), EpochOf(utc(2027, 1, 1))
	const n = 20_000
	first := map[uint64]bool{}
	var agreeing int
	for i := range n {
		id := "c" + strconv.Itoa(i)
		a, err := r.Keys.Pseudonym(before, "shop", Cookie, id)
		if err != nil {
			t.Fatal(err)
		}
		b, err := r.Keys.Pseudonym(after, "shop", Cookie, id)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := r.Keys.Pseudonym(before, "shop", Cookie, id); again != a {
			t.Fatal("a replay gives another pseudonym")
		}
		if a == r.Keys.Subject("shop", Cookie, id) {
			t.Fatal("the id of the consent stands in a row")
		}
		first[a] = true
		if first[b] {
			t.Fatal("a pseudonym came back in the next epoch")
		}
		agreeing += 64 - bits.OnesCount64(a^b)
	}
	// Of n*64 coin tosses a half agree, give or take five standard deviations.
	if mean, slack := n*32, 5*4*141; agreeing < mean-slack || agreeing > mean+slack {
		t.Errorf("%d of %d bits agree: the two are not independent", agreeing, n*64)
	}
	// By construction: the key of an epoch is drawn, not derived from anything that outlives it.
	a, errA := os.ReadFile(r.Store.keyPath(PseudonymKey, before.String()))
	b, errB := os.ReadFile(r.Store.keyPath(PseudonymKey, after.String()))
	if err := errors.Join(errA, errB); err != nil || len(a) != keySize || bytes.Equal(a, b) {
		t.Errorf("the keys are %d bytes, equal %t, %v", len(a), bytes.Equal(a, b), err)
	}
}

func TestADestroyedPseudonymKeyNeverComesBack(t *testing.T) {
	c := &clock{utc(2026, 11, 25)}
	dir := filepath.Join(t.TempDir(), "keys")
	r, _ := rotating(t, dir, c)
	var told []Destruction
	r.Store.OnDestroyed = func(d Destruction) { told = append(told, d) }
	turn(t, r)
	epoch := EpochOf(c.t)
	old, err := r.Keys.Pseudonym(epoch, "shop", Cookie, "c1")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := os.ReadFile(r.Store.keyPath(PseudonymKey, epoch.String()))
	if err != nil {
		t.Fatal(err)
	}

	c.t = epoch.End().Add(keepPseudonyms - time.Second)
	turn(t, r)
	if again, err := r.Keys.Pseudonym(epoch, "shop", Cookie, "c1"); err != nil || again != old {
		t.Fatalf("within its period the key gives %d, %v", again, err)
	}
	// A second rather than a minute or a day later.
	c.t = c.t.Add(time.Second)
	told = nil
	turn(t, r)
	if len(told) != 2 || told[0].Confirmed || !told[1].Confirmed || told[0].Epoch != "2026-07" || told[1].Reason != PeriodOver || !told[1].DestroyedAt.Equal(c.t) {
		t.Errorf("told %+v", told)
	}
	// Neither this process nor the next, whatever the clock says, has the old pseudonym.
	for _, now := range []time.Time{c.t, utc(2026, 11, 25)} {
		c.t = now
		again, _ := rotating(t, dir, c)
		for _, keys := range []*Keys{r.Keys, again.Keys} {
			if id, err := keys.Pseudonym(epoch, "shop", Cookie, "c1"); !errors.Is(err, ErrDestroyed) || id != 0 {
				t.Errorf("the destroyed key gives %d, %v", id, err)
			}
		}
		turn(t, again)
		if _, err := again.Keys.Pseudonym(epoch, "shop", Cookie, "c1"); !errors.Is(err, ErrDestroyed) {
			t.Errorf("a turn brought the key back: %v", err)
		}
	}
	holds(t, dir, secret, false)
}

// holds looks for bytes in every file of a directory.
func holds(t *testing.T, dir string, secret []byte, want bool) {
	t.Helper()
	var found bool
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		found = found || bytes.Contains(content, secret)
		return err
	})
	if err != nil || found != want {
		t.Errorf("the directory holds the key: %t, %v", found, err)
	}
}

func TestACrashInADestructionLeavesTheKeyOutOfUse(t *testing.T) {
	epoch := EpochOf(utc(2026, 11, 25))
	begun := Destruction{Kind: PseudonymKey, Epoch: epoch.String(), DestroyedAt: utc(2026, 11, 25), Reason: PeriodOver}
	for name, crash := range map[string]func(t *testing.T, s *Store, path string){
		"after the name was taken": func(t *testing.T, _ *Store, path string) {
			rename(t, path)
		},
		"after it was written down": func(t *testing.T, s *Store, path string) {
			rename(t, path)
			if err := s.record(begun); err != nil {
				t.Fatal(err)
			}
		},
		"in the middle of a record": func(t *testing.T, s *Store, path string) {
			rename(t, path)
			if err := s.record(begun); err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(s.recordPath())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.recordPath(), content[:len(content)-20], 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"after it was unlinked": func(t *testing.T, s *Store, path string) {
			rename(t, path)
			if err := s.record(begun); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(path + ".destroyed"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &clock{utc(2026, 11, 25)}
			dir := filepath.Join(t.TempDir(), "keys")
			r, _ := rotating(t, dir, c)
			turn(t, r)
			path := r.Store.keyPath(PseudonymKey, epoch.String())
			secret, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			holds(t, dir, secret, true)
			crash(t, r.Store, path)

			after, _ := rotating(t, dir, c)
			if _, err := after.Keys.Pseudonym(epoch, "shop", Cookie, "c1"); !errors.Is(err, ErrDestroyed) {
				t.Errorf("after the crash the key is in use: %v", err)
			}
			var told []Destruction
			after.Store.OnDestroyed = func(d Destruction) { told = append(told, d) }
			turn(t, after)
			turn(t, after)
			holds(t, dir, secret, false)
			records, err := after.Store.Destructions()
			if err != nil || len(records) != 2 || records[0].Confirmed || !records[1].Confirmed {
				t.Errorf("records %+v, %v", records, err)
			}
			if len(told) == 0 || !told[len(told)-1].Confirmed {
				t.Errorf("told %+v", told)
			}
			// Another process's keys in memory go with its next turn.
			if _, err := r.Keys.Pseudonym(epoch, "shop", Cookie, "c1"); err != nil {
				t.Errorf("the other process cannot have noticed yet: %v", err)
			}
			turn(t, r)
			if _, err := r.Keys.Pseudonym(epoch, "shop", Cookie, "c1"); !errors.Is(err, ErrDestroyed) {
				t.Errorf("the key lives on in the memory of another process: %v", err)
			}
		})
	}
}

func rename(t *testing.T, path string) {
	t.Helper()
	if err := os.Rename(path, path+".destroyed"); err != nil {
		t.Fatal(err)
	}
}

func TestAKeyIsKeptWhileARowNeedsIt(t *testing.T) {
	c := &clock{utc(2026, 11, 25)}
	r, _ := rotating(t, filepath.Join(t.TempDir(), "keys"), c)
	turn(t, r)
	epoch := EpochOf(c.t)
	c.t = utc(2030, 1, 1)
	for name, clear := range map[string]func(context.Context, time.Time) (bool, error){
		"a row carries a pseudonym":  func(context.Context, time.Time) (bool, error) { return false, nil },
		"the store cannot be asked":  func(context.Context, time.Time) (bool, error) { return true, errors.New("away") },
		"another epoch's rows count": func(_ context.Context, before time.Time) (bool, error) { return !before.Equal(epoch.End()), nil },
	} {
		r.Clear = clear
		turn(t, r)
		if _, err := r.Keys.Pseudonym(epoch, "shop", Cookie, "c1"); err != nil {
			t.Errorf("%s, and the key is gone: %v", name, err)
		}
	}
	r.Clear = func(context.Context, time.Time) (bool, error) { return true, nil }
	r.Pseudonyms = func(time.Time) time.Duration { return 0 }
	turn(t, r)
	if _, err := r.Keys.Pseudonym(epoch, "shop", Cookie, "c1"); err != nil {
		t.Errorf("no policy says how long, and the key is gone: %v", err)
	}
}

func TestSealingKeysChangeWithTheMonthAndGoWhenNothingIsSealedToThem(t *testing.T) {
	c := &clock{utc(2026, 11, 25)}
	r, published := rotating(t, filepath.Join(t.TempDir(), "keys"), c)
	turn(t, r)
	if published.Epoch != 202611 {
		t.Fatalf("published epoch %d", published.Epoch)
	}
	sealer, err := pseudonym.NewSealer(*published, rand.Reader, c.now)
	if err != nil {
		t.Fatal(err)
	}
	november, err := sealer.Seal(header(), body())
	if err != nil {
		t.Fatal(err)
	}
	c.t = utc(2026, 12, 1)
	turn(t, r)
	if published.Epoch != 202612 {
		t.Fatalf("in December epoch %d is published", published.Epoch)
	}
	if err := sealer.Use(*published); err != nil {
		t.Fatal(err)
	}
	december, err := sealer.Seal(header(), body())
	if err != nil {
		t.Fatal(err)
	}
	readable := func(value []byte, want bool) {
		t.Helper()
		if _, reason := r.Opener.Open(value); (reason == core.NoReason) != want {
			t.Errorf("at %v: reason %v, want it readable: %t", c.t, reason, want)
		}
	}
	readable(november, true)
	readable(december, true)
	c.t = utc(2026, 12, 1).Add(SealOverlap + keepSealed - time.Second)
	turn(t, r)
	readable(november, true)
	// Another process has the session key in memory and sees the file go.
	other := &Rotation{}
	*other = *r
	other.Opener = NewOpener(r.Store)
	if _, reason := other.Opener.Open(november); reason != core.NoReason {
		t.Fatal(reason)
	}
	c.t = c.t.Add(time.Second)
	turn(t, r)
	readable(november, false)
	readable(december, true)
	turn(t, other)
	if _, reason := other.Opener.Open(november); reason != core.ReasonUnsealable {
		t.Errorf("another process still opens it: %v", reason)
	}
	if _, reason := other.Opener.Open(december); reason != core.NoReason {
		t.Errorf("another process has lost December: %v", reason)
	}
}

func TestASealingKeyWithoutASuccessorIsInUseHoweverOld(t *testing.T) {
	c := &clock{utc(2026, 11, 25)}
	r, published := rotating(t, filepath.Join(t.TempDir(), "keys"), c)
	turn(t, r)
	sealer, err := pseudonym.NewSealer(*published, rand.Reader, c.now)
	if err != nil {
		t.Fatal(err)
	}
	// The pipeline is away for months; collectors seal on.
	c.t = utc(2027, 4, 3)
	value, err := sealer.Seal(header(), body())
	if err != nil {
		t.Fatal(err)
	}
	turn(t, r)
	if _, reason := r.Opener.Open(value); reason != core.NoReason {
		t.Errorf("reason %v", reason)
	}
	if published.Epoch != 202704 {
		t.Errorf("published epoch %d", published.Epoch)
	}
	c.t = c.t.Add(SealOverlap + keepSealed)
	turn(t, r)
	if _, reason := r.Opener.Open(value); reason != core.ReasonUnsealable {
		t.Errorf("reason %v", reason)
	}
}

func TestAClockThatWasAheadDoesNotDecideForTheOthers(t *testing.T) {
	c := &clock{utc(2026, 11, 30).Add(23 * time.Hour)}
	dir := filepath.Join(t.TempDir(), "keys")
	r, published := rotating(t, dir, c)
	fast, _ := rotating(t, dir, &clock{c.t.Add(2 * time.Hour)})
	turn(t, fast)
	turn(t, r)
	if published.Epoch != 202612 {
		t.Errorf("two processes publish different keys: %d", published.Epoch)
	}
	mad, _ := rotating(t, dir, &clock{utc(2031, 5, 1)})
	turn(t, mad)
	turn(t, r)
	if published.Epoch != 202612 {
		t.Errorf("a key of 2031 is in use: %d", published.Epoch)
	}
	if _, err := r.Keys.Pseudonym(EpochOf(utc(2029, 5, 1)), "shop", Cookie, "c1"); !errors.Is(err, ErrDestroyed) {
		t.Errorf("a key of a time that has not come: %v", err)
	}
}

func TestTwoProcessesDestroyAKeyOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	c := &clock{utc(2026, 11, 25)}
	first, _ := rotating(t, dir, c)
	turn(t, first)
	c.t = utc(2030, 1, 1)
	var wg sync.WaitGroup
	for range 4 {
		r, _ := rotating(t, dir, c)
		wg.Go(func() {
			for range 5 {
				if err := r.Turn(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	records, err := first.Store.Destructions()
	if err != nil {
		t.Fatal(err)
	}
	times := map[Destruction]int{}
	for _, d := range records {
		times[d]++
	}
	for d, n := range times {
		if n != 1 {
			t.Errorf("%+v is recorded %d times", d, n)
		}
	}
	if len(records) != 2 { // the epoch of November 2026; its sealing key waits for the successor's date
		t.Errorf("%d records: %+v", len(records), records)
	}
}

func TestEveryKeyHasADateAndIsGoneByIt(t *testing.T) {
	c := &clock{utc(2026, 11, 25)}
	r, _ := rotating(t, filepath.Join(t.TempDir(), "keys"), c)
	turn(t, r)
	if _, err := r.Keys.Cookieless("shop", "2026-11-25", core.RawIP{}, "ua"); err != nil {
		t.Fatal(err)
	}
	c.t = utc(2026, 12, 20)
	turn(t, r)
	dates, err := r.Dates(c.t)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]time.Time{
		"seal/202611":                c.t.Add(SealOverlap + keepSealed),
		"seal/202612":                {},
		"pseudonym/2026-07":          utc(2027, 1, 1).Add(keepPseudonyms),
		"cookieless/shop/2026-11-25": utc(2026, 11, 27).Add(12 * time.Hour),
	}
	for _, d := range dates {
		name := string(d.Kind) + "/" + d.Epoch
		if until, ok := want[name]; !ok || !d.Until.Equal(until) {
			t.Errorf("%s until %v, want %v", name, d.Until, until)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s has no date", name)
	}
	// The cookieless key is past its date; its own loop destroys it exactly then.
	if _, err := r.Keys.DestroyBefore(Yesterday(utc(2026, 11, 27).Add(12*time.Hour - time.Second))); err != nil {
		t.Fatal(err)
	}
	if names, _ := r.Store.epochs(CookielessKey, keySuffix); len(names) != 1 {
		t.Error("destroyed before its date")
	}
	if _, err := r.Keys.DestroyBefore(Yesterday(utc(2026, 11, 27).Add(12 * time.Hour))); err != nil {
		t.Fatal(err)
	}
	if names, _ := r.Store.epochs(CookielessKey, keySuffix); len(names) != 0 {
		t.Errorf("%v there at its date", names)
	}
}

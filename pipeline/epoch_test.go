package pipeline

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/internal/gate"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/pseudonym"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

const (
	keepPseudonyms = 395 * 24 * time.Hour
	keepSealed     = 7 * 24 * time.Hour
)

// rotate gives the house a key directory with a rotation, whose clock is ahead of the real one by what ahead points to.
func (h *house) rotate(ahead *time.Duration) *open.Rotation {
	h.t.Helper()
	now := func() time.Time { return time.Now().Add(*ahead) }
	store, err := open.OpenStore(filepath.Join(h.t.TempDir(), "rotating"))
	if err != nil {
		h.t.Fatal(err)
	}
	keys, err := open.NewKeys(store, rand.Reader, now)
	if err != nil {
		h.t.Fatal(err)
	}
	opener := open.NewOpener(store)
	r := &open.Rotation{
		Store: store, Keys: keys, Opener: opener, KEM: pseudonym.X25519, Sealed: keepSealed,
		Publish: func(public pseudonym.PublicKey) error {
			var err error
			h.sealer, err = pseudonym.NewSealer(public, rand.Reader, time.Now)
			return err
		},
		Pseudonyms: func(time.Time) time.Duration { return keepPseudonyms },
		Clear:      func(context.Context, time.Time) (bool, error) { return true, nil },
		Logger:     h.deps.Logger, Now: now,
	}
	h.turn(r)
	h.deps.Keys, h.deps.Opener = keys, opener
	return r
}

func (h *house) turn(r *open.Rotation) {
	h.t.Helper()
	if err := r.Turn(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// eitherSide are a moment of the epoch before this one and a moment of this one, both past.
func eitherSide() (before, after time.Time) {
	now := time.Now()
	start := open.EpochOf(now).Start()
	after = now.Add(-time.Minute)
	if after.Before(start) {
		after = start
	}
	return start.Add(-time.Hour), after
}

const usage = "usage_based_development"

func consented(at time.Time, who *sekishov1.Identity, granted, withdrawn []string) *sekishov1.ConsentAct {
	return &sekishov1.ConsentAct{
		Subject: who, PolicyVersion: "default/2022-09-15", Granted: granted, Withdrawn: withdrawn, TimeUs: at.UnixMicro(), Surface: "banner", Language: "ja",
	}
}

// visible counts the rows that the gate of the query service lets through.
func (h *house) visible(where string) uint64 {
	h.t.Helper()
	sql := strings.NewReplacer(
		"{site:String}", "'shop'", "{bit:UInt8}", "10", "{policy:String}", "'default/'", "{time_zone:String}", "'Asia/Tokyo'",
		"{from:Int64}", "0", "{to:Int64}", fmt.Sprint(time.Now().Add(time.Hour).UnixMilli()),
	).Replace(gate.Gate([]string{"visitor_id", "account_id", "device_key", "time"}))
	return h.count("WITH " + sql + " SELECT count() FROM gate WHERE left_out = '' AND " + where)
}

func TestAWithdrawalMasksTheRowsOfEveryEpoch(t *testing.T) {
	h := newHouse(t, testkit.EmbeddedKafka(t))
	var ahead time.Duration
	h.rotate(&ahead)
	stop := h.start()
	before, after := eitherSide()
	who := &sekishov1.Identity{CookieId: "c1", DeviceId: "d1", UserId: "u1"}
	view := func(who *sekishov1.Identity, at time.Time) *sekishov1.Event {
		e := pageView("", at)
		e.Identity = who
		return e
	}
	byDevice, byAccount := &sekishov1.Identity{DeviceId: "d1"}, &sekishov1.Identity{UserId: "u1"}
	other := &sekishov1.Identity{CookieId: "c2"}
	h.send(0,
		consented(before.Add(-time.Minute), who, []string{usage}, nil),
		consented(before.Add(-time.Minute), other, []string{usage}, nil),
		view(who, before), view(byDevice, before), view(byAccount, before), view(other, before),
		view(who, after), view(byDevice, after), view(byAccount, after), view(other, after),
	)
	h.eventually("SELECT count() FROM events WHERE linkage IN ('visitor', 'account')", 8)
	for what, sql := range map[string]string{
		"visitors":                     "SELECT uniqExact(visitor_id) FROM events WHERE account_id != 0 AND device_key != 0",
		"devices":                      "SELECT uniqExact(device_key) FROM events WHERE device_key != 0",
		"accounts":                     "SELECT uniqExact(account_id) FROM events WHERE account_id != 0",
		"sessions of the cookie":       "SELECT uniqExact(session_id) FROM events WHERE account_id != 0 AND device_key != 0",
		"consent ids of the one's act": "SELECT 1 + uniqExact(visitor_id) FROM consent_acts WHERE account_id != 0",
	} {
		if n := h.count(sql); n != 2 {
			t.Errorf("%d %s, want 2: one in each epoch", n, what)
		}
	}
	if n := h.count("SELECT count() FROM events WHERE visitor_id IN (SELECT visitor_id FROM consent_acts) OR account_id IN (SELECT account_id FROM consent_acts WHERE account_id != 0)"); n != 0 {
		t.Errorf("%d rows carry the id of their consent", n)
	}
	if n := h.visible("1"); n != 8 {
		t.Errorf("%d rows are visible before the withdrawal", n)
	}

	h.send(1, consented(time.Now(), who, nil, []string{usage}))
	h.eventually("SELECT count() FROM consent_acts WHERE state = 'withdrawn'", 1)
	if n := h.visible("1"); n != 2 {
		t.Errorf("%d rows are visible after the withdrawal, want the other visitor's two", n)
	}
	// The moment of the denial stands in one epoch only: it does not tell which pseudonyms are one person's.
	if n := h.count("SELECT max(n) FROM (SELECT uniqExact(subject) AS n FROM consent_masks GROUP BY denied_at)"); n != 3 {
		t.Errorf("%d pseudonyms share a moment, want the three of one epoch", n)
	}
	if n := h.count("SELECT uniqExact(subject) FROM consent_masks"); n < 6 {
		t.Errorf("only %d pseudonyms are masked", n)
	}

	// Whoever consents again is seen from then on, and the past stays hidden.
	again := time.Now()
	h.send(0, consented(again, who, []string{usage}, nil), view(who, again.Add(time.Millisecond)))
	h.eventually("SELECT count() FROM events WHERE linkage IN ('visitor', 'account')", 9)
	if n := h.visible("1"); n != 3 {
		t.Errorf("%d rows are visible after the new consent", n)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func purchase(cookie, order string, at time.Time, totalE4 int64) *sekishov1.Event {
	e := pageView(cookie, at)
	e.Type = sekishov1.EventType_EVENT_TYPE_PURCHASE
	e.Purchase = &sekishov1.Purchase{OrderId: order, Currency: "JPY", TotalE4: totalE4, HasTotal: true}
	return e
}

func TestAnOrderThatIsCorrectedInTheNextEpochCountsOnce(t *testing.T) {
	h := newHouse(t, testkit.EmbeddedKafka(t))
	var ahead time.Duration
	h.rotate(&ahead)
	stop := h.start()
	before, after := eitherSide()
	who := &sekishov1.Identity{CookieId: "c1"}
	h.send(0,
		consented(before.Add(-time.Minute), who, []string{usage}, nil),
		purchase("c1", "A-1", before, 10_000_000), purchase("c1", "A-2", before, 5_000_000),
	)
	h.eventually("SELECT count() FROM events WHERE type = 'purchase'", 2)
	time.Sleep(1100 * time.Millisecond) // received_at, by which the later word is told, has seconds
	h.send(0, purchase("c1", "A-1", after, 8_000_000))
	h.eventually("SELECT count() FROM events WHERE type = 'purchase'", 3)
	if n := h.count("SELECT uniqExact(visitor_id) FROM events"); n != 2 {
		t.Errorf("%d visitors, want one in each epoch", n)
	}
	if n := h.count("SELECT toUInt64(sum(amount)) FROM (SELECT amount FROM events ORDER BY received_at DESC, event_id LIMIT 1 BY if(order_key = 0, event_id, order_key))"); n != 1300 {
		t.Errorf("the orders come to %d, want 800 + 500", n)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestARunningPipelineSurvivesTheRotationOfSealingKeys(t *testing.T) {
	h := newHouse(t, testkit.EmbeddedKafka(t))
	var ahead time.Duration
	r := h.rotate(&ahead)
	stop := h.start()
	events := func(n int) []proto.Message {
		batch := make([]proto.Message, n)
		for i := range batch {
			batch[i] = operation(time.Now())
		}
		return batch
	}
	first := h.sealer
	h.send(0, events(50)...)
	h.eventually("SELECT count() FROM events", 50)

	ahead = time.Until(time.Date(time.Now().UTC().Year(), time.Now().UTC().Month()+1, 1, 0, 0, 1, 0, time.UTC))
	h.turn(r)
	second := h.sealer
	if first == second {
		t.Fatal("the month changed and the sealing key did not")
	}
	for i := range 10 { // some collectors have the new key, some not yet
		h.sealer = []*pseudonym.Sealer{first, second}[i%2]
		h.send(i%partitions, events(10)...)
	}
	h.eventually("SELECT count() FROM events", 150)

	ahead += open.SealOverlap + keepSealed
	h.turn(r)
	h.sealer = first
	h.send(0, events(3)...)
	h.sealer = second
	h.send(0, events(5)...)
	h.eventually("SELECT count() FROM events", 155)
	h.eventually("SELECT sum(count) FROM event_drops WHERE reason = 'unsealable'", 3)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestAReplayOverARotationGivesTheSameRows(t *testing.T) {
	h := newHouse(t, testkit.EmbeddedKafka(t))
	var ahead time.Duration
	r := h.rotate(&ahead)
	before, after := eitherSide()
	who := &sekishov1.Identity{CookieId: "c1", UserId: "u1"}
	bodies := []proto.Message{
		consented(before.Add(-time.Minute), who, []string{usage}, nil),
		pageView("c1", before), purchase("c1", "A-1", before.Add(time.Second), 1), pageView("c1", after), purchase("c1", "A-1", after, 2),
		consented(time.Now(), who, nil, []string{usage}),
	}
	received := time.Now().UnixMicro()
	seal := func() []kafka.Record {
		t.Helper()
		var records []kafka.Record
		for i, body := range bodies {
			env := &sekishov1.Envelope{Kind: sekishov1.Kind_KIND_EVENT, Site: "shop", Id: append(make([]byte, 15), byte(i)), ReceivedUs: received}
			if _, ok := body.(*sekishov1.ConsentAct); ok {
				env.Kind = sekishov1.Kind_KIND_CONSENT
			}
			value, err := h.sealer.Seal(env, body)
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, kafka.Record{Offset: int64(i), Value: value})
		}
		return records
	}
	records := seal()
	run := func() *block {
		t.Helper()
		p, err := New(h.cfg, h.deps)
		if err != nil {
			t.Fatal(err)
		}
		s := &shard{p: p, seen: newSeen(100), sessions: newSessions()}
		b, err := s.process(records)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	values := func(b *block, names ...string) map[string]any {
		found := map[string]any{}
		for _, c := range b.events {
			for _, name := range names {
				if c.Name() == name {
					found[name] = c.values()
				}
			}
		}
		return found
	}
	ids := []string{"event_id", "visitor_id", "account_id", "device_key", "session_id", "order_key", "linkage"}
	first := run()
	if first.rows != 4 {
		t.Fatalf("%d rows of 4", first.rows)
	}

	// In the next epoch, in another process: the keys of both are there, and a third is on.
	ahead = time.Until(open.EpochOf(after).End())
	h.turn(r)
	var err error
	if h.deps.Keys, err = open.NewKeys(r.Store, rand.Reader, r.Now); err != nil {
		t.Fatal(err)
	}
	again := run()
	if got, want := values(again, ids...), values(first, ids...); !reflect.DeepEqual(got, want) {
		t.Errorf("the replay gives %v, want %v", got, want)
	}
	masked := func(b *block) map[mask]bool {
		set := map[mask]bool{}
		for _, m := range b.masks {
			set[m] = true
		}
		return set
	}
	if got, want := masked(again), masked(first); !reflect.DeepEqual(got, want) {
		t.Errorf("the replay masks %v, want %v", got, want)
	}

	// When the earlier epoch's key is destroyed its rows have no pseudonym, and their linkage says that they had one:
	// the gate leaves them out.
	ahead = time.Until(open.EpochOf(before).End().Add(keepPseudonyms))
	h.turn(r)
	records = seal() // the sealing key of then is long destroyed
	if h.deps.Keys, err = open.NewKeys(r.Store, rand.Reader, r.Now); err != nil {
		t.Fatal(err)
	}
	late := values(run(), "visitor_id", "session_id", "linkage")
	was := values(first, "visitor_id")["visitor_id"].([]uint64)
	if got := late["visitor_id"].([]uint64); got[0] != 0 || got[1] != 0 || got[2] != was[2] || got[3] != was[3] {
		t.Errorf("visitors %v, before %v", got, was)
	}
	if got := late["linkage"].([]string); got[0] != "visitor" {
		t.Errorf("linkage %v", got)
	}
	if got := late["session_id"].([]uint64); got[0] != 0 || got[2] == 0 {
		t.Errorf("sessions %v", got)
	}
}

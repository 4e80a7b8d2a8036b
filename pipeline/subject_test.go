package pipeline

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/evidence"
	"github.com/sekisho/sekisho/internal/ledger"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/internal/subject"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// archive is the proof ledger of a house at work.
type archive struct {
	h    *house
	dir  string
	key  ledger.Key
	stop func()
}

func (h *house) keepLedger() *archive {
	h.t.Helper()
	a := &archive{h: h, dir: filepath.Join(h.t.TempDir(), "ledger")}
	var err error
	if a.key, err = evidence.LoadKey(filepath.Join(h.t.TempDir(), "ledger.key"), "test.example/ledger"); err != nil {
		h.t.Fatal(err)
	}
	book, err := evidence.OpenBook(h.t.Context(), a.dir, a.key, h.cluster, strings.TrimSuffix(h.cfg.EventsTopic, ".events")+".ledger", h.db, h.deps.Logger)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- book.Run(ctx) }()
	a.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			h.t.Error(err)
		}
	}
	return a
}

// faults are what an audit of everything finds.
func (a *archive) faults() string {
	a.h.t.Helper()
	v, err := ledger.NewVerifier(a.key.Public())
	if err != nil {
		a.h.t.Fatal(err)
	}
	store, err := ledger.ReadStore(a.dir)
	if err != nil {
		a.h.t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	var out strings.Builder
	n, err := evidence.Audit(a.h.t.Context(), &out, store, a.h.db, v, time.Time{})
	if err != nil {
		a.h.t.Fatal(err)
	}
	if n == 0 {
		return ""
	}
	return out.String()
}

func (a *archive) leaves(ctx context.Context, ids []ledger.ID) (map[ledger.ID]int64, error) {
	return subject.Leaves(ctx, a.dir, ids)
}

func (h *house) fold() *subject.Fold {
	return &subject.Fold{
		DB: h.db, Entries: h.deps.Ledger, Salter: h.deps.Keys, Now: time.Now,
		Purpose: func(string, core.Purpose) string { return usage },
	}
}

func TestAWithdrawalThatErasesThePastLeavesARecordAndNoRow(t *testing.T) {
	h := newHouse(t, testkit.EmbeddedKafka(t))
	a := h.keepLedger()
	stop := h.start()
	at := func(seconds int) time.Time { return time.Now().Add(time.Duration(seconds-60) * time.Second) }
	one, other := &sekishov1.Identity{CookieId: "c1"}, &sekishov1.Identity{CookieId: "c2"}
	usages := []string{usage}
	op := operation(at(5)) // an operation serves other purposes as well, and keeps living
	op.Identity = one
	h.send(
		0,
		consented(at(1), one, usages, nil), consented(at(1), other, usages, nil),
		pageView("c1", at(3)), pageView("c1", at(4)), op, pageView("c2", at(4)),
	)
	h.eventually("SELECT count() FROM events", 4)
	past := consented(at(10), one, nil, usages)
	past.ErasePast = true
	h.send(0, past, consented(at(20), one, usages, nil), pageView("c1", at(21)))
	h.eventually("SELECT count() FROM events", 5)
	if n := h.visible("1"); n != 2 {
		t.Errorf("%d rows are seen after the withdrawal, want the other's and the one granted again", n)
	}

	done, err := h.fold().TurnAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if done.Rows != 3 || done.Deleted != 2 || len(done.Erasures) != 1 {
		t.Errorf("%+v", done)
	}
	for what, sql := range map[string]string{
		"rows but two":      "SELECT toUInt64(count() - 2) FROM events",
		"rows of the other": "SELECT count() FROM events WHERE type = 'operation' AND NOT bitTest(purposes, 10) AND purposes != 0",
		"the record": `SELECT count() FROM ledger_records WHERE kind = 'erasure' AND values[indexOf(names, 'rows')] = '3' AND values[indexOf(names, 'site')] = 'shop'
			AND values[indexOf(names, 'purpose')] = 'usage_based_development'`,
		"the mask": "SELECT count() + 1 FROM consent_masks",
	} {
		if n := h.count(sql); n != 1 {
			t.Errorf("%s: %d", what, n)
		}
	}
	if n := h.visible("1"); n != 2 {
		t.Errorf("%d rows are seen after the folding", n)
	}
	// An event that comes late, of a time that was erased: no mask is left, and the consent state blocks it.
	h.send(0, pageView("c1", at(4)), pageView("c1", at(22)))
	h.eventually("SELECT sum(count) FROM event_drops WHERE reason = 'refused'", 1)
	h.eventually("SELECT count() FROM events WHERE type = 'page_view' AND bitTest(purposes, 10)", 3)
	if _, err := a.leaves(t.Context(), done.Erasures); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	a.stop()
	if found := a.faults(); found != "" {
		t.Error(found)
	}
}

func TestAnErasedSubjectLeavesNothingButDenials(t *testing.T) {
	h := newHouse(t, testkit.EmbeddedKafka(t))
	a := h.keepLedger()
	var ahead time.Duration
	h.rotate(&ahead)
	stop := h.start()
	before, after := eitherSide()
	const objected = "in_service_recommendation"
	one, other := &sekishov1.Identity{CookieId: "c1", UserId: "u1"}, &sekishov1.Identity{CookieId: "c2"}
	view := func(who *sekishov1.Identity, at time.Time) *sekishov1.Event {
		e := pageView("", at)
		e.Identity = who
		return e
	}
	h.send(
		0,
		consented(before.Add(-time.Minute), one, []string{usage}, nil), consented(before.Add(-time.Minute), other, []string{usage}, nil),
		view(one, before), view(one, after), view(other, before), view(other, after),
		consented(after, one, nil, []string{objected}),
	)
	h.eventually("SELECT count() FROM events", 4)
	h.eventually("SELECT count() FROM consent_acts", 3)

	who := subject.Subject{Site: "shop"}
	living, err := h.deps.Keys.Living()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []struct {
		kind open.Kind
		id   string
	}{{open.Cookie, "c1"}, {open.Account, "u1"}} {
		who.Consent = append(who.Consent, h.deps.Keys.Subject("shop", id.kind, id.id))
		for _, epoch := range living {
			pseudonym, err := h.deps.Keys.Pseudonym(epoch, "shop", id.kind, id.id)
			if err != nil {
				t.Fatal(err)
			}
			who.Pseudonyms = append(who.Pseudonyms, subject.Pseudonym{ID: pseudonym, Until: time.UnixMicro(min(epoch.Last().UnixMicro(), time.Now().UnixMicro()))})
		}
	}
	erase := &subject.Erase{
		DB: h.db, Entries: h.deps.Ledger, States: h.deps.Consent, Cluster: h.cluster, Topic: h.cfg.ConsentTopic, Salter: h.deps.Keys,
		Purposes: 1<<12 - 1, Leaves: a.leaves, Running: true, Now: time.Now, Random: rand.Reader,
	}
	done, err := erase.Do(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	if !done.OK() || done.Rows != 2 || done.Acts != 2 || done.Masks == 0 || done.Denials != 2 {
		t.Errorf("%+v", done)
	}
	ids := make([]string, len(who.Consent)+len(who.Pseudonyms))
	for i, id := range who.Consent {
		ids[i] = fmt.Sprint(id)
	}
	for i, p := range who.Pseudonyms {
		ids[len(who.Consent)+i] = fmt.Sprint(p.ID)
	}
	nobody := func() {
		t.Helper()
		in := " IN (" + strings.Join(ids, ", ") + ")"
		for _, table := range []string{"events", "consent_acts"} {
			if n := h.count("SELECT count() FROM " + table + " WHERE visitor_id" + in + " OR account_id" + in + " OR device_key" + in); n != 0 {
				t.Errorf("%d rows of %s name the subject", n, table)
			}
		}
		if n := h.count("SELECT count() FROM events"); n < 2 {
			t.Errorf("only %d rows of the other are left", n)
		}
		// The engine keeps the text of a change for a while.
		for _, id := range ids {
			if n := h.count("SELECT count() FROM system.mutations WHERE command LIKE '%" + id + "%'"); n != 0 {
				t.Errorf("%d changes name the subject", n)
			}
		}
	}
	nobody()

	// A running pipeline has taken the denials in: whatever comes of the subject is denied, however late. So it is after a
	// restart from what is left in the topic, and until the subject consents again.
	refused := func() uint64 { return h.count("SELECT sum(count) FROM event_drops WHERE reason = 'refused'") }
	late := func() {
		t.Helper()
		known := refused()
		h.send(0, view(one, before), view(one, after.Add(time.Second)))
		testkit.Eventually(t, time.Minute, func() bool { return refused() == known+2 })
		nobody()
	}
	late()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	stop = h.start()
	late()
	if _, err := h.fold().TurnAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := h.count("SELECT count() FROM consent_masks"); n != 0 {
		t.Errorf("%d masks are left after the folding", n)
	}
	nobody()
	h.send(0, consented(time.Now(), one, []string{usage}, nil), view(one, time.Now().Add(time.Millisecond)))
	h.eventually("SELECT count() FROM events", 3)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	a.stop()
	if found := a.faults(); found != "" {
		t.Error(found)
	}
}

// failing lets no events in while it is shut, and tells when it is asked to.
type failing struct {
	*clickhouse.DB
	shut  atomic.Bool
	asked chan struct{}
}

func (f *failing) Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error {
	if table == "events" && f.shut.Load() {
		select {
		case f.asked <- struct{}{}:
		default:
		}
		return core.Retryable{Err: fmt.Errorf("shut")}
	}
	return f.DB.Insert(ctx, table, token, columns)
}

func TestABatchThatWaitedTooLongIsDecidedAnew(t *testing.T) {
	h := newHouse(t, testkit.EmbeddedKafka(t))
	store := &failing{DB: h.db, asked: make(chan struct{}, 1)}
	h.deps.Store = store
	var ahead atomic.Int64
	h.deps.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	stop := h.start()
	at := func(seconds int) time.Time { return time.Now().Add(time.Duration(seconds-60) * time.Second) }
	who := &sekishov1.Identity{CookieId: "c1"}
	h.send(0, consented(at(1), who, []string{usage}, nil), operation(at(1)))
	h.eventually("SELECT count() FROM events", 1)

	store.shut.Store(true)
	h.send(0, pageView("c1", at(2)), operation(at(2)))
	<-store.asked // it is decided: the page view is permitted
	h.send(1, consented(at(5), who, nil, []string{usage}))
	h.eventually("SELECT count() FROM consent_masks", 1)
	if _, err := h.fold().TurnAll(t.Context()); err != nil { // as if the mask had grown old meanwhile
		t.Fatal(err)
	}
	ahead.Store(int64(staleAfter + time.Second))
	time.Sleep(6 * time.Second) // longer than the longest pause between two tries
	store.shut.Store(false)
	h.eventually("SELECT count() FROM events WHERE type = 'operation'", 2)
	h.send(0, operation(at(3)))
	h.eventually("SELECT count() FROM events WHERE type = 'operation'", 3)
	if n := h.visible("1"); n != 0 {
		t.Errorf("%d rows are seen that were withdrawn before they were stored", n)
	}
	if n := h.count("SELECT count() FROM events WHERE type = 'page_view'"); n != 0 {
		t.Errorf("%d rows were stored as they were decided first", n)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

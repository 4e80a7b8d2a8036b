package pipeline

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/embedded/broker"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/pii"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/pseudonym"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/internal/testkit"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

func TestMain(m *testing.M) {
	testkit.EngineMain()
	os.Exit(testkit.Main(m))
}

// plain is an enricher whose answers a test can foresee.
type plain struct{}

func (plain) Place(a netip.Addr) Place { return Place{Country: "JP"} }
func (plain) Device(userAgent, _, _ string) Device {
	return Device{Class: "desktop", Bot: strings.Contains(userAgent, "bot")}
}
func (plain) Channel(string, string) Channel { return Channel{Kind: "direct"} }

// house is a pipeline on real engines with everything around it.
type house struct {
	t        testing.TB
	cluster  *kafka.Cluster
	db       *clickhouse.DB
	deps     Deps
	sealer   *pseudonym.Sealer
	producer *kafka.Producer
	cfg      Config
}

const partitions = 3

func newHouse(t testing.TB, brokers string) *house {
	t.Helper()
	ctx := t.Context()
	h := &house{t: t, db: testkit.ClickHouse(t)}
	name := strings.ReplaceAll(uuid.NewString(), "-", "")
	h.cfg = Config{
		EventsTopic: name + ".events", ConsentTopic: name + ".consent", DeadLetterTopic: name + ".dead", Group: name,
		FlushInterval: 50 * time.Millisecond, BatchRecords: 700,
	}
	var err error
	h.cluster, err = kafka.Open(kafka.Config{Brokers: []string{brokers}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.cluster.Close)
	err = kafka.NewAdmin(h.cluster).EnsureTopics(ctx, []kafka.Topic{
		{Name: h.cfg.EventsTopic, Partitions: partitions, ReplicationFactor: 1, Config: map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000"}},
		{Name: h.cfg.ConsentTopic, Partitions: 1, ReplicationFactor: 1, Config: map[string]string{"cleanup.policy": "compact"}},
		{Name: h.cfg.DeadLetterTopic, Partitions: 1, ReplicationFactor: 1, Config: map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000"}},
		{Name: name + ".ledger", Partitions: 1, ReplicationFactor: 1, Config: map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	produce := func(topic string) *kafka.Producer {
		p, err := kafka.NewProducer(h.cluster, kafka.ProducerConfig{Topic: topic})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close(context.Background()) })
		return p
	}
	h.producer = produce(h.cfg.EventsTopic)
	store, err := open.OpenStore(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	private, err := store.SealKey(pseudonym.X25519, 1)
	if err != nil {
		t.Fatal(err)
	}
	if h.sealer, err = pseudonym.NewSealer(private.Public(), rand.Reader, time.Now); err != nil {
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
	sites, err := site.Parse([]byte(`sites: [{id: shop, name: Shop, time_zone: Asia/Tokyo, jurisdiction: jp, policy: default}]`))
	if err != nil {
		t.Fatal(err)
	}
	h.deps = Deps{
		Cluster: h.cluster, Consent: produce(h.cfg.ConsentTopic), DeadLetters: produce(h.cfg.DeadLetterTopic), Ledger: produce(name + ".ledger"), Store: h.db,
		Opener: open.NewOpener(store), Keys: keys, Sites: sites, Policies: policies, Enricher: plain{},
		Scrubber: NewScrubber(pii.New(), nil), Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), Now: time.Now,
	}
	return h
}

// uncleaned is an embedded broker that compacts nothing meanwhile: with the race detector, that takes longer with every
// act, and the broker stands still for it.
func uncleaned(t testing.TB) string {
	t.Helper()
	return testkit.StartEmbedded(t, broker.Config{DataDir: t.TempDir(), CleanerInterval: time.Hour}).Addrs()[0]
}

// start runs a pipeline; the returned function stops it and gives its error.
func (h *house) start() (stop func() error) {
	h.t.Helper()
	p, err := New(h.cfg, h.deps)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	return func() error { cancel(); return <-ended }
}

// sealed makes the messages of bodies for one partition.
func (h *house) sealed(partition int, bodies ...proto.Message) []kafka.Message {
	h.t.Helper()
	var messages []kafka.Message
	for _, body := range bodies {
		id := uuid.New()
		env := &sekishov1.Envelope{Kind: sekishov1.Kind_KIND_EVENT, Site: "shop", Id: id[:], ReceivedUs: time.Now().UnixMicro()}
		if _, ok := body.(*sekishov1.ConsentAct); ok {
			env.Kind = sekishov1.Kind_KIND_CONSENT
		}
		value, err := h.sealer.Seal(env, body)
		if err != nil {
			h.t.Fatal(err)
		}
		messages = append(messages, kafka.Message{Partition: partition, Value: value})
	}
	return messages
}

// send seals bodies for one partition and waits until they are durable.
func (h *house) send(partition int, bodies ...proto.Message) {
	h.t.Helper()
	h.produce(h.sealed(partition, bodies...)...)
}

func (h *house) produce(messages ...kafka.Message) {
	h.t.Helper()
	if err := h.producer.Produce(h.t.Context(), messages); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) count(sql string) (n uint64) {
	h.t.Helper()
	err := h.db.Select(context.Background(), sql, nil, clickhouse.Limits{}, func(rows clickhouse.Rows) error {
		for rows.Next() {
			if err := rows.Scan(&n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

func (h *house) eventually(sql string, want uint64) {
	h.t.Helper()
	testkit.Eventually(h.t, 3*time.Minute, func() bool { return h.count(sql) == want })
}

func pageView(cookie string, at time.Time) *sekishov1.Event {
	return &sekishov1.Event{
		Type: sekishov1.EventType_EVENT_TYPE_PAGE_VIEW, TimeUs: at.UnixMicro(), Source: sekishov1.AcquisitionSource_ACQUISITION_SOURCE_SERVICE_COLLECTED,
		Url: "https://shop.example/item/1?token=secretsecret", Title: "Item taro.canary@example.jp",
		Identity: &sekishov1.Identity{CookieId: cookie},
		Receipt:  &sekishov1.Receipt{ClientIp: []byte{203, 0, 113, 77}, UserAgent: "Firefox"},
	}
}

func operation(at time.Time) *sekishov1.Event {
	e := pageView("", at)
	e.Type, e.Operation = sekishov1.EventType_EVENT_TYPE_OPERATION, &sekishov1.Operation{Name: "export"}
	return e
}

func TestOneSubjectsJourneyOnBothBrokers(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, brokers string) {
		h := newHouse(t, brokers)
		stop := h.start()
		now := time.Now()
		at := func(seconds int) time.Time { return now.Add(time.Duration(seconds-60) * time.Second) }
		act := func(seconds int, granted, withdrawn []string) *sekishov1.ConsentAct {
			return &sekishov1.ConsentAct{
				Subject: &sekishov1.Identity{CookieId: "c1"}, PolicyVersion: "default/2022-09-15", Granted: granted, Withdrawn: withdrawn,
				TimeUs: at(seconds).UnixMicro(), Surface: "banner", Language: "ja",
			}
		}
		usage := []string{"usage_based_development"}
		bot := operation(at(9))
		bot.Receipt.UserAgent = "crawlerbot"
		h.send(
			0,
			pageView("c1", at(1)), // before the grant: dropped
			operation(at(2)),      // needs no consent: stored, cookieless, without its page
			act(3, usage, nil),
			pageView("c1", at(4)), // stored
			pageView("c2", at(5)), // another visitor, no consent: dropped
			act(6, nil, usage),
			pageView("c1", at(7)), // after the withdrawal: dropped
			pageView("c1", at(4)), // late, from before the withdrawal: a denial known now blocks it
			bot,
		)
		garbage := []byte("this is no envelope")
		h.produce(kafka.Message{Partition: 1, Value: garbage})

		h.eventually("SELECT count() FROM events", 2)
		h.eventually("SELECT sum(count) FROM event_drops", 6)
		for reason, want := range map[string]uint64{"no_consent": 2, "refused": 2, "bot": 1, "unreadable": 1} {
			if got := h.count("SELECT sum(count) FROM event_drops WHERE reason = '" + reason + "'"); got != want {
				t.Errorf("%d dropped for %s, want %d", got, reason, want)
			}
		}
		for what, sql := range map[string]string{
			"the consented view":     `SELECT count() FROM events WHERE type = 'page_view' AND reason = 'consent' AND bitTest(purposes, 10) AND NOT bitTest(purposes, 4) AND linkage = 'visitor' AND path = '/item/1' AND host = 'shop.example' AND country = 'JP'`,
			"the cookieless one":     `SELECT count() FROM events WHERE type = 'operation' AND reason = 'opt_out' AND linkage = 'cookieless' AND operation = 'export' AND path = '' AND title = '' AND visitor_id != 0 AND bitTest(purposes, 3) AND bitTest(purposes, 1) AND NOT bitTest(purposes, 10)`,
			"the mask":               `SELECT count() FROM consent_masks WHERE purpose = 10 AND subject = (SELECT any(visitor_id) FROM events WHERE type = 'page_view')`,
			"the scrubbed title":     `SELECT count() FROM events WHERE title LIKE '%[email]%'`,
			"the granted act":        `SELECT count() FROM consent_acts WHERE state = 'granted' AND purpose = 'usage_based_development'`,
			"the withdrawn act":      `SELECT count() FROM consent_acts WHERE state = 'withdrawn'`,
			"the version on the row": `SELECT toUInt64(count() > 1) FROM events WHERE policy = 'default/2022-09-15'`,
		} {
			if got := h.count(sql); got != 1 {
				t.Errorf("%s: %d", what, got)
			}
		}
		if n := h.count(`SELECT count() FROM events WHERE title LIKE '%canary%' OR path LIKE '%secret%'`); n != 0 {
			t.Errorf("%d rows hold what was to be scrubbed", n)
		}

		// A new process knows what the old one knew: the withdrawal still holds.
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		stop = h.start()
		h.send(0, pageView("c1", at(8)))
		h.eventually("SELECT sum(count) FROM event_drops WHERE reason = 'refused'", 3)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

var errCrash = errors.New("crash")

// crashing fails for good at its nth insert, before or after that reached ClickHouse, and does nothing from then on: to
// the pipeline's next run it is as if the process had been killed there.
type crashing struct {
	*clickhouse.DB
	after bool // the insert reaches ClickHouse, and its answer is lost
	mu    sync.Mutex
	left  int // inserts until the crash
}

func (c *crashing) Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error {
	c.mu.Lock() // the partitions insert at the same time
	c.left--
	left := c.left
	c.mu.Unlock()
	if left < 0 || left == 0 && !c.after {
		return errCrash
	}
	if err := c.DB.Insert(ctx, table, token, columns); err != nil {
		return err
	}
	if left == 0 {
		return errCrash
	}
	return nil
}

func TestNothingIsLostOrDoubledOverCrashes(t *testing.T) {
	const (
		crashes = 20
		most    = 8   // inserts of one run
		ahead   = 600 // events a crash; the sender slows down when it is further ahead, however slow the machine
	)
	h := newHouse(t, uncleaned(t))
	h.deps.Logger = slog.New(slog.DiscardHandler)
	reliable := h.deps.Store

	// Where a run ends is drawn; that it ends there is sure, because events come until the last run has crashed.
	var crashed atomic.Int64
	runs := make(chan error, 1)
	go func() {
		random := mathrand.New(mathrand.NewPCG(1, 7))
		for crashed.Load() < crashes {
			deps := h.deps
			deps.Store = &crashing{DB: h.db, after: random.IntN(2) == 0, left: 1 + random.IntN(most)}
			p, err := New(h.cfg, deps)
			if err == nil {
				err = p.Run(t.Context())
			}
			if !errors.Is(err, errCrash) {
				runs <- fmt.Errorf("a run ended after %d crashes: %w", crashed.Load(), err)
				return
			}
			crashed.Add(1)
		}
		runs <- nil
	}()

	random := mathrand.New(mathrand.NewPCG(1, 2))
	var events, resent uint64
	for running := true; running; {
		batch := make([]proto.Message, 100)
		for i := range batch {
			batch[i] = operation(time.Now())
		}
		messages := h.sealed(random.IntN(partitions), batch...)
		h.produce(messages...)
		if events%1000 == 0 { // a client that did not hear our answer sends again
			h.produce(messages...)
			resent += uint64(len(batch))
		}
		events += uint64(len(batch))
		pause := time.Millisecond
		if events > ahead*(1+uint64(crashed.Load())) {
			pause = 50 * time.Millisecond
		}
		select {
		case err := <-runs:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		case <-time.After(pause):
		}
	}

	h.deps.Store = reliable
	stop := h.start()
	testkit.Eventually(t, 2*time.Minute, func() bool { return h.count("SELECT count() FROM events") >= events })
	time.Sleep(500 * time.Millisecond) // anything doubled would arrive by now
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if rows, ids := h.count("SELECT count() FROM events"), h.count("SELECT uniqExact(event_id) FROM events"); rows != events || ids != events {
		t.Errorf("%d rows with %d ids of %d events", rows, ids, events)
	}
	if n := h.count("SELECT sum(count) FROM event_drops WHERE reason = 'duplicate'"); n != resent {
		t.Errorf("%d counted as duplicates, %d were sent again", n, resent)
	}
	t.Logf("%d events, %d crashes: none lost, none doubled", events, crashes)
}

// crashingAt fails for good at the first insert into a table.
type crashingAt struct {
	crashing
	table string
}

func (c *crashingAt) Insert(ctx context.Context, table, token string, columns []clickhouse.Column) error {
	if table != c.table {
		return c.DB.Insert(ctx, table, token, columns)
	}
	return c.crashing.Insert(ctx, table, token, columns)
}

func TestACrashAtAnyStepOfALoadLeavesWhatNoCrashLeaves(t *testing.T) {
	h := newHouse(t, uncleaned(t))
	h.deps.Logger = slog.New(slog.DiscardHandler)
	want := map[string]uint64{
		"SELECT count() FROM events": 0, "SELECT count() FROM consent_acts": 0, "SELECT count() FROM consent_masks": 0,
		"SELECT sum(count) FROM event_drops": 0,
	}
	for _, table := range []string{"consent_masks", "event_drops", "consent_acts", "events"} {
		for _, after := range []bool{false, true} {
			for _, resent := range []bool{false, true} {
				if table == "event_drops" && !resent {
					continue // nothing is counted, so there is no such step
				}
				t.Run(fmt.Sprintf("%s, after %v, resent %v", table, after, resent), func(t *testing.T) {
					act := &sekishov1.ConsentAct{
						Subject: &sekishov1.Identity{CookieId: uuid.NewString()}, PolicyVersion: "default/2022-09-15",
						Withdrawn: []string{"usage_based_development"}, TimeUs: time.Now().UnixMicro(), Surface: "banner", Language: "ja",
					}
					messages := h.sealed(0, act, operation(time.Now()))
					if resent {
						messages = append(messages, messages...)
						want["SELECT sum(count) FROM event_drops"] += 2
					}
					h.produce(messages...) // in one request, so they are one batch
					want["SELECT count() FROM events"]++
					want["SELECT count() FROM consent_acts"]++
					want["SELECT count() FROM consent_masks"]++

					deps := h.deps
					deps.Store = &crashingAt{crashing{DB: h.db, after: after, left: 1}, table}
					p, err := New(h.cfg, deps)
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
					defer cancel()
					if err := p.Run(ctx); !errors.Is(err, errCrash) {
						t.Fatalf("the run ended with %v", err)
					}
					stop := h.start()
					h.send(0, operation(time.Now())) // comes after everything before it
					want["SELECT count() FROM events"]++
					h.eventually("SELECT count() FROM events", want["SELECT count() FROM events"])
					if err := stop(); err != nil {
						t.Fatal(err)
					}
					for sql, n := range want {
						if got := h.count(sql); got != n {
							t.Errorf("%s: %d, want %d", sql, got, n)
						}
					}
				})
			}
		}
	}
}

func TestTheColumnsAgreeWithTheTable(t *testing.T) {
	db := testkit.ClickHouse(t)
	inTable := map[string]string{}
	err := db.Select(t.Context(), "SELECT name, comment FROM system.columns WHERE database = currentDatabase() AND table = 'events'", nil, clickhouse.Limits{},
		func(rows clickhouse.Rows) error {
			for rows.Next() {
				var name, comment string
				if err := rows.Scan(&name, &comment); err != nil {
					return err
				}
				inTable[name] = comment
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	columns := eventColumns()
	for _, c := range columns {
		if inTable[c.Name()] != c.Category().String() {
			t.Errorf("column %s is %s here and %q in the table", c.Name(), c.Category(), inTable[c.Name()])
		}
	}
	if len(columns) != len(inTable) {
		t.Errorf("%d columns here, %d in the table", len(columns), len(inTable))
	}
}

func TestASessionRunsOverMidnight(t *testing.T) {
	s := newSessions()
	start := time.Date(2026, 11, 24, 23, 50, 0, 0, time.UTC).UnixMicro()
	minute := time.Minute.Microseconds()
	first := s.touch(1, start)
	if got := s.touch(1, start+20*minute); got != first {
		t.Error("midnight broke the session")
	}
	if !s.running(1, start+49*minute) || s.running(1, start+51*minute) {
		t.Error("the timeout is not counted from the last event")
	}
	if got := s.touch(1, start+51*minute); got == first {
		t.Error("a session outlived its timeout")
	}
}

func TestAPlanIsReadBack(t *testing.T) {
	for note, want := range map[string]plan{"": {}, "5-9": {span{5, 9}, false}, "0-1": {span{0, 1}, false}, "5-9/whole": {span{5, 9}, true}} {
		got, err := parsePlan(note)
		if err != nil || got != want {
			t.Errorf("%q: %v, %v", note, got, err)
		}
		if note != "" && got.String() != note {
			t.Errorf("%q is written as %q", note, got)
		}
	}
	for _, note := range []string{"x", "5", "9-5", "5-5", "-1", "/whole", "5-9/half"} {
		if _, err := parsePlan(note); err == nil {
			t.Errorf("%q is a plan", note)
		}
	}
}

func TestAConsentStateSurvivesTheTopic(t *testing.T) {
	s := newStates()
	s.merge(7, consent.Subject{10: consent.State{}.Grant(5).Grant(9), 3: consent.State{}.Deny(4)})
	value, err := encodeState(s.of(7)[0])
	if err != nil {
		t.Fatal(err)
	}
	subject, state, err := decodeState(subjectKey(7), value)
	if err != nil || subject != 7 || fmt.Sprint(state) != fmt.Sprint(s.of(7)[0]) {
		t.Errorf("subject %d, %v, %v", subject, state, err)
	}
	if _, _, err := decodeState([]byte("short"), value); err == nil {
		t.Error("a bad key is read")
	}
	if again, err := encodeState(state); err != nil || !bytes.Equal(again, value) {
		t.Error("the encoding is not stable")
	}
}

func FuzzDecodeState(f *testing.F) {
	f.Add([]byte("12345678"), []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if _, state, err := decodeState(key, value); err == nil {
			if _, err := encodeState(state); err != nil {
				t.Error(err)
			}
		}
	})
}

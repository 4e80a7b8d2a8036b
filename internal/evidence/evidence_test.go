package evidence_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/evidence"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/ledger"
	"github.com/sekisho/sekisho/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.EngineMain()
	os.Exit(m.Run())
}

// salts are what the pipeline's keys make.
type salts struct{}

func (salts) Salt(parts ...string) (s [32]byte) {
	copy(s[:], "salt "+strings.Join(parts, "/"))
	return s
}

// office is a ledger at work over real engines.
type office struct {
	t       *testing.T
	db      *clickhouse.DB
	cluster *kafka.Cluster
	topic   string
	entries *kafka.Producer
	dir     string
	key     ledger.Key
	stop    func()
	book    *evidence.Book
}

func newOffice(t *testing.T, addr string) *office {
	t.Helper()
	o := &office{t: t, db: testkit.ClickHouse(t), topic: uuid.NewString(), dir: filepath.Join(t.TempDir(), "ledger")}
	var err error
	if o.cluster, err = kafka.Open(kafka.Config{Brokers: []string{addr}, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.cluster.Close)
	err = kafka.NewAdmin(o.cluster).EnsureTopics(t.Context(), []kafka.Topic{{Name: o.topic, Partitions: 1, ReplicationFactor: 1, Config: map[string]string{"retention.ms": "-1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if o.entries, err = kafka.NewProducer(o.cluster, kafka.ProducerConfig{Topic: o.topic}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.entries.Close(context.Background()) })
	if o.key, err = evidence.LoadKey(filepath.Join(t.TempDir(), "ledger.key"), "test.example/ledger"); err != nil {
		t.Fatal(err)
	}
	o.open()
	return o
}

func (o *office) open() {
	o.t.Helper()
	var err error
	if o.book, err = evidence.OpenBook(o.t.Context(), o.dir, o.key, o.cluster, o.topic, o.db, testkit.Logger(o.t)); err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.book.Run(ctx) }()
	stopped := false
	o.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			o.t.Error(err)
		}
	}
	o.t.Cleanup(o.stop)
}

// record stores acts as the pipeline does: entries first, then rows.
func (o *office) record(acts ...evidence.Act) {
	o.t.Helper()
	records := make([]ledger.Record, len(acts))
	for i := range acts {
		records[i] = acts[i].Record()
	}
	if err := evidence.Publish(o.t.Context(), o.entries, records); err != nil {
		o.t.Fatal(err)
	}
	if err := o.db.Insert(o.t.Context(), "consent_acts", uuid.NewString(), evidence.Columns(acts)); err != nil {
		o.t.Fatal(err)
	}
}

func act(n int, purpose string) evidence.Act {
	id := uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, n))
	at := time.Date(2026, 11, 1, 9, 0, 0, n*1000, time.UTC)
	a := evidence.Act{
		Site: "shop", ID: id, Schema: evidence.SchemaVersion, Purpose: purpose, State: "granted", VisitorID: uint64(1000 + n), AccountID: uint64(n % 2 * 77),
		Policy: "default/2022-09-15", PolicyHash: "sha256:00", Jurisdiction: "jp", Basis: "consent", TextHash: "sha256:11", Language: "ja",
		Surface: "banner", Source: "banner", Method: "click", Actor: "subject", Time: at, ReceivedAt: at.Add(time.Second), Offset: int64(n),
	}
	a.Salt = salts{}.Salt(id.String(), purpose)
	return a
}

func (o *office) audit(known ...ledger.Checkpoint) (int, string) {
	o.t.Helper()
	v, err := ledger.NewVerifier(o.key.Public())
	if err != nil {
		o.t.Fatal(err)
	}
	store, err := ledger.ReadStore(o.dir)
	if err != nil {
		o.t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	var out strings.Builder
	faults, err := evidence.Audit(o.t.Context(), &out, store, o.db, v, time.Time{}, known...)
	if err != nil {
		o.t.Fatal(err)
	}
	return faults, out.String()
}

// exec runs a statement; a mutation is done when it returns.
func (o *office) exec(sql string) {
	o.t.Helper()
	if strings.HasPrefix(sql, "ALTER") {
		sql += " SETTINGS mutations_sync = 2"
	}
	if err := o.db.Exec(o.t.Context(), sql); err != nil {
		o.t.Fatal(err)
	}
}

// prove asks the handler as a collector does.
func (o *office) prove(query string) (int, []byte) {
	o.t.Helper()
	w := httptest.NewRecorder()
	o.book.Handler().ServeHTTP(w, httptest.NewRequestWithContext(o.t.Context(), http.MethodGet, "/internal/v1/ledger/proof?"+query, nil))
	return w.Code, w.Body.Bytes()
}

func (o *office) checkpoint(verifier ledger.Verifier) ledger.Checkpoint {
	o.t.Helper()
	note, err := o.book.Checkpoint()
	if err != nil {
		o.t.Fatal(err)
	}
	c, err := ledger.OpenCheckpoint([]byte(note), verifier)
	if err != nil {
		o.t.Fatal(err)
	}
	return c
}

func TestEveryActHasAReceiptThatIsVerifiedOffline(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		o := newOffice(t, addr)
		verifier, err := ledger.NewVerifier(o.book.Public())
		if err != nil {
			t.Fatal(err)
		}
		first, second := act(1, "usage_based_development"), act(1, "marketing_use")
		o.record(first, second)
		status, text := o.prove("wait=10&site=shop&act=" + first.ID.String())
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		receipts, err := evidence.ParseReceipts(text)
		if err != nil || len(receipts) != 2 {
			t.Fatalf("%d receipts, %v", len(receipts), err)
		}
		for _, r := range receipts {
			if _, err := ledger.VerifyReceipt(r, verifier); err != nil {
				t.Error(err)
			}
			told := fmt.Sprint(r.Fields)
			if !strings.Contains(told, first.ID.String()) || !strings.Contains(told, "granted") || strings.Contains(told, "1001") {
				t.Errorf("it tells %s", told)
			}
			r.Fields[0].Value += "x"
			if _, err := ledger.VerifyReceipt(r, verifier); err == nil {
				t.Error("a changed receipt verifies")
			}
		}
		before := o.checkpoint(verifier)

		// A retry of the batch publishes the same entries again, and a restart reads the topic from its beginning.
		if err := evidence.Publish(t.Context(), o.entries, []ledger.Record{first.Record(), second.Record()}); err != nil {
			t.Fatal(err)
		}
		o.stop()
		o.open()
		third := act(2, "usage_based_development")
		o.record(third)
		if status, text = o.prove("wait=10&site=shop&act=" + third.ID.String()); status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
		after := o.checkpoint(verifier)
		if before.Size() != 2 || after.Size() != 3 {
			t.Errorf("%d leaves, then %d", before.Size(), after.Size())
		}
		if status, text = o.prove("from=2&to=3"); status != http.StatusOK || !strings.Contains(string(text), "consistency") {
			t.Errorf("%d %s", status, text)
		}
		for query, want := range map[string]int{
			"": 400, "act=x": 400, "from=1": 400, "from=3&to=2": 400, "from=0&to=99": 400, "from=-1&to=1": 400,
			"site=shop&act=" + uuid.NewString(): 404, "site=other&act=" + first.ID.String(): 404,
		} {
			if status, text := o.prove(query); status != want {
				t.Errorf("%q: %d %s", query, status, text)
			}
		}
		o.stop()
		if n, out := o.audit(before); n != 0 {
			t.Error(out)
		}
	})
}

func TestAnAuditNamesWhatWasDoneToTheRecords(t *testing.T) {
	o := newOffice(t, testkit.EmbeddedKafka(t))
	const acts = 8
	for n := range acts {
		o.record(act(n, "usage_based_development"))
	}
	policy := evidence.PolicyPublication(salts{}, "default/2022-09-15", "sha256:00", time.Date(2022, 9, 15, 0, 0, 0, 0, time.UTC))
	for range 2 { // noting it again changes nothing
		if err := evidence.Note(t.Context(), o.db, o.entries, policy); err != nil {
			t.Fatal(err)
		}
	}
	hour := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	for n := range 3 {
		o.exec(fmt.Sprintf("INSERT INTO audit (id, time, actor, site, purpose, report, result) VALUES (generateUUIDv4(), '2026-11-02 10:0%d:00', '0a0a0a0a', 'shop', 'usage_based_development', 'pages', 'ok')", n))
	}
	checkpoints, err := evidence.AuditCheckpoints(t.Context(), o.db, salts{}, hour.Add(2*time.Hour))
	if err != nil || len(checkpoints) != 1 {
		t.Fatalf("%d audit checkpoints, %v", len(checkpoints), err)
	}
	if err := evidence.Note(t.Context(), o.db, o.entries, checkpoints[0]); err != nil {
		t.Fatal(err)
	}
	if more, err := evidence.AuditCheckpoints(t.Context(), o.db, salts{}, hour.Add(3*time.Hour)); err != nil || len(more) != 0 {
		t.Errorf("%d more audit checkpoints, %v", len(more), err)
	}
	verifier, err := ledger.NewVerifier(o.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, func() bool {
		note, err := o.book.Checkpoint()
		if err != nil {
			return false
		}
		c, err := ledger.OpenCheckpoint([]byte(note), verifier)
		return err == nil && c.Size() == acts+2
	})
	o.stop()
	if n, out := o.audit(); n != 0 {
		t.Fatalf("untouched: %s", out)
	}

	leaf := func(n int) string { return evidence.LeafID(act(n, "").ID, "usage_based_development").String() }
	id := func(n int) string { return "'" + act(n, "").ID.String() + "'" }
	for _, step := range []struct {
		name, sql string
		finds     []string
	}{
		{"a row is edited", "ALTER TABLE consent_acts UPDATE state = 'refused' WHERE act_id = " + id(1), []string{"tampered", leaf(1)}},
		{"a subject is moved to another", "ALTER TABLE consent_acts UPDATE device_key = 4711 WHERE act_id = " + id(2), []string{"tampered", leaf(2)}},
		{"a row is dropped", "ALTER TABLE consent_acts DELETE WHERE act_id = " + id(3), []string{"dropped", leaf(3)}},
		{
			"two rows are swapped", fmt.Sprintf("ALTER TABLE consent_acts UPDATE act_id = if(act_id = %s, toUUID(%s), toUUID(%s)) WHERE act_id IN (%s, %s)", id(4), id(5), id(4), id(4), id(5)),
			[]string{leaf(4), leaf(5)},
		},
		{"a row is slipped in", "INSERT INTO consent_acts (site, act_id, purpose, state, salt) VALUES ('shop', generateUUIDv4(), 'marketing_use', 'granted', 'x')", []string{"unknown"}},
		{"an audit record is dropped", "ALTER TABLE audit DELETE WHERE time = '2026-11-02 10:01:00'", []string{"the audit of 2026-11-02T10:00:00Z holds 2 reads"}},
		{"a policy's record is edited", "ALTER TABLE ledger_records UPDATE values = ['2022-09-15T00:00:00Z', 'default/2022-09-15', 'sha256:99'] WHERE kind = 'policy_publication'", []string{"tampered", policy.ID.String()}},
	} {
		before, _ := o.audit()
		o.exec(step.sql)
		faults, out := o.audit()
		if faults <= before {
			t.Errorf("%s: nothing is found", step.name)
		}
		for _, want := range step.finds {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not named:\n%s", step.name, want, out)
			}
		}
	}
}

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sekisho/sekisho/internal/config"
	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/evidence"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/ledger"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/internal/site"
	"github.com/sekisho/sekisho/internal/subject"
)

// consentCommand answers for what subjects said, and carries it out on what is stored.
type consentCommand struct {
	Explain consentExplain `cmd:"" help:"Say what would be decided for a subject and a purpose, from which acts and by which rule."`
	Import  consentImport  `cmd:"" help:"Hand in acts that were recorded elsewhere (CSV or JSON Lines), after checking every one."`
	Fold    consentFold    `cmd:"" help:"Fold withdrawals into the stored rows now, and delete what subjects want erased. The pipeline that keeps the ledger does it by itself."`
	Erase   consentErase   `cmd:"" help:"Erase one subject: rows, masks and consent acts. Denials stay remembered. Exits with 1 when something is left."`
}

// foldInterval is how often masks are looked for. Most turns find none that is due.
const foldInterval = 5 * time.Minute

// newFold wires the folding.
func newFold(e *engines, entries *kafka.Producer, salter evidence.Salter, policies *policy.Register, sites *site.Registry) *subject.Fold {
	return &subject.Fold{
		DB: e.db, Entries: entries, Salter: salter, Now: time.Now,
		Purpose: func(id string, bit core.Purpose) string {
			if s, ok := sites.Get(id); ok {
				for _, pack := range slices.Backward(policies.Versions(s.Policy)) {
					for i := range pack.Purposes {
						if pack.Purposes[i].Bit == bit {
							return pack.Purposes[i].ID
						}
					}
				}
			}
			return fmt.Sprintf("bit %d", bit) // of a site or a purpose that is registered no more
		},
	}
}

// foldWithdrawals folds what is due every few minutes until ctx ends.
func foldWithdrawals(ctx context.Context, cfg *config.Config, fold *subject.Fold, logger *slog.Logger) error {
	tick := time.NewTicker(foldInterval)
	defer tick.Stop()
	for {
		var done subject.Folded
		err := alone(ctx, cfg, func() (err error) {
			done, err = fold.Turn(ctx, subject.Age)
			return err
		})
		switch {
		case err != nil && ctx.Err() == nil: // the masks go on hiding, and the next turn tries again
			logger.LogAttrs(ctx, slog.LevelError, "folding withdrawals failed", slog.Any("error", err))
		case done.Masks > 0:
			logger.LogAttrs(ctx, slog.LevelInfo, "withdrawals folded", slog.Uint64("masks", done.Masks), slog.Uint64("rows", done.Rows),
				slog.Uint64("deleted", done.Deleted), slog.Int("erasures", len(done.Erasures)))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// alone keeps the processes that share a data directory from folding and erasing at the same time.
func alone(ctx context.Context, cfg *config.Config, f func() error) error {
	lock, err := os.OpenFile(cfg.Path("subject.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock subjects: %w", err)
	}
	defer lock.Close() //nolint:errcheck // closing releases it
	for {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f()
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("lock subjects: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lock subjects: %w", ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// office is what the commands below work with: both engines, the keys, and the ledger's topic.
type office struct {
	*engines
	cfg      *config.Config
	policies *policy.Register
	sites    *site.Registry
	keys     *open.Keys
	entries  *kafka.Producer
	running  bool // a pipeline may be at work: the engines are not this process's own
}

func openOffice(ctx context.Context, cfg *config.Config, logger *slog.Logger) (*office, error) {
	o := &office{cfg: cfg, running: len(cfg.Kafka.Brokers) > 0 || cfg.Store.ClickHouse.Reveal() != ""}
	var err error
	if o.policies, o.sites, err = registries(cfg); err != nil {
		return nil, err
	}
	if o.keys, err = readKeys(cfg); err != nil {
		return nil, err
	}
	if o.engines, err = startEngines(ctx, cfg, true, logger); err != nil {
		return nil, err
	}
	if o.entries, err = kafka.NewProducer(o.cluster, kafka.ProducerConfig{Topic: cfg.Topic("ledger")}); err != nil {
		return nil, errors.Join(err, o.stop())
	}
	o.stops = append(o.stops, func(ctx context.Context) error { return o.entries.Close(ctx) })
	return o, nil
}

// readKeys opens keys that are there. Without them nobody could be found, and new ones would say so of everybody.
func readKeys(cfg *config.Config) (*open.Keys, error) {
	if _, err := os.Stat(cfg.Path("keys")); err != nil {
		return nil, errors.New("read keys: the data directory has none; run this where the pipeline keeps them")
	}
	store, err := open.OpenStore(cfg.Path("keys"))
	if err != nil {
		return nil, err
	}
	return open.NewKeys(store, rand.Reader, time.Now)
}

type consentFold struct {
	Now bool `help:"Do not wait until a mask is an hour old. Only while no pipeline runs."`
}

// Run implements the command.
func (c consentFold) Run(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	o, err := openOffice(ctx, cfg, logger)
	if err != nil {
		return err
	}
	err = o.withBook(ctx, logger, func(ctx context.Context) error { return c.fold(ctx, o) })
	return errors.Join(err, o.stop())
}

func (c consentFold) fold(ctx context.Context, o *office) error {
	if c.Now && o.running {
		return errors.New("fold now: a pipeline may be at work on these engines, and rows may be under way; leave out --now")
	}
	fold := newFold(o.engines, o.entries, o.keys, o.policies, o.sites)
	turn := func() (subject.Folded, error) { return fold.Turn(ctx, subject.Age) }
	if c.Now {
		turn = func() (subject.Folded, error) { return fold.TurnAll(ctx) }
	}
	return alone(ctx, o.cfg, func() error {
		done, err := turn()
		if err == nil {
			_, err = o.leaves(ctx, done.Erasures)
		}
		if err != nil {
			return err
		}
		fmt.Printf("%d masks folded and retired: %d rows lost a purpose, %d rows deleted, %d erasures recorded\n", done.Masks, done.Rows, done.Deleted, len(done.Erasures))
		return nil
	})
}

// leaves finds the leaves of ids in the ledger.
func (o *office) leaves(ctx context.Context, ids []ledger.ID) (map[ledger.ID]int64, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return subject.Leaves(ctx, o.cfg.Path("ledger"), ids)
}

// who names one person.
type who struct {
	Site     string `help:"The site." required:""`
	CookieID string `name:"cookie-id" help:"Cookie id. Others on this machine can see it on a command line: --id-file does not show it." placeholder:"ID"`
	DeviceID string `name:"device-id" help:"Device id." placeholder:"ID"`
	UserID   string `name:"user-id" help:"User id." placeholder:"ID"`
	IDFile   string `name:"id-file" help:"File with lines such as cookie_id=…, device_id=… or user_id=…; - is standard input." placeholder:"FILE"`
}

// identifier is one of a person's, with the kind that it is.
type identifier struct {
	name string
	kind open.Kind
	id   string
}

// identifiers are those given. An error names the place and never the value.
func (w who) identifiers(in io.Reader) ([]identifier, error) {
	given := []identifier{{"cookie", open.Cookie, w.CookieID}, {"account", open.Account, w.UserID}, {"device", open.Device, w.DeviceID}}
	if w.IDFile != "" {
		if w.IDFile != "-" {
			f, err := os.Open(w.IDFile)
			if err != nil {
				return nil, fmt.Errorf("read identifiers: %w", err)
			}
			defer f.Close() //nolint:errcheck // only read
			in = f
		}
		at := map[string]int{"cookie_id": 0, "user_id": 1, "device_id": 2}
		n := 0
		for lines := bufio.NewScanner(in); lines.Scan(); {
			n++
			name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
			if name == "" && !ok {
				continue
			}
			i, known := at[name]
			if !ok || !known || value == "" {
				return nil, fmt.Errorf("read identifiers: line %d: want cookie_id=, device_id= or user_id= and the identifier", n)
			}
			if given[i].id != "" {
				return nil, fmt.Errorf("read identifiers: line %d: there is one of this kind already", n)
			}
			given[i].id = value
		}
	}
	given = slices.DeleteFunc(given, func(i identifier) bool { return i.id == "" })
	if len(given) == 0 {
		return nil, errors.New("name a subject: --cookie-id, --device-id, --user-id or --id-file")
	}
	return given, nil
}

type consentErase struct {
	who
}

// Run implements the command.
func (c consentErase) Run(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	ids, err := c.identifiers(os.Stdin)
	if err != nil {
		return err
	}
	o, err := openOffice(ctx, cfg, logger)
	if err != nil {
		return err
	}
	err = o.erase(ctx, os.Stdout, c.Site, ids, logger)
	return errors.Join(err, o.stop())
}

// erase erases a subject, and proves it on out.
func (o *office) erase(ctx context.Context, out io.Writer, siteID string, ids []identifier, logger *slog.Logger) error {
	s, err := o.subject(siteID, ids)
	if err != nil {
		return err
	}
	states, err := kafka.NewProducer(o.cluster, kafka.ProducerConfig{Topic: o.cfg.Topic("consent")})
	if err != nil {
		return err
	}
	defer states.Close(context.WithoutCancel(ctx)) //nolint:errcheck // what was produced is acknowledged
	var purposes core.PurposeSet
	for _, pack := range o.policies.All() {
		for i := range pack.Purposes {
			purposes = purposes.With(pack.Purposes[i].Bit)
		}
	}
	return o.withBook(ctx, logger, func(ctx context.Context) error {
		erase := &subject.Erase{
			DB: o.db, Entries: o.entries, States: states, Cluster: o.cluster, Topic: o.cfg.Topic("consent"), Salter: o.keys, Purposes: purposes,
			Leaves: func(ctx context.Context, ids []ledger.ID) (map[ledger.ID]int64, error) {
				return subject.Leaves(ctx, o.cfg.Path("ledger"), ids)
			},
			Running: o.running, Now: time.Now, Random: rand.Reader,
		}
		var done subject.Erased
		err := alone(ctx, o.cfg, func() (err error) {
			done, err = erase.Do(ctx, s)
			return err
		})
		if err != nil {
			return err
		}
		printErased(out, done)
		if !done.OK() {
			return errors.New("erase subject: something is left; run the command again")
		}
		return nil
	})
}

// subject is everything under which the identifiers are known.
func (o *office) subject(siteID string, ids []identifier) (subject.Subject, error) {
	if _, ok := o.sites.Get(siteID); !ok {
		return subject.Subject{}, errors.New("site: is not a registered site")
	}
	s := subject.Subject{Site: siteID}
	living, err := o.keys.Living()
	if err != nil {
		return s, err
	}
	now := time.Now().UTC()
	for _, one := range ids {
		s.Consent = append(s.Consent, o.keys.Subject(siteID, one.kind, one.id))
		for _, epoch := range living {
			id, err := o.keys.Pseudonym(epoch, siteID, one.kind, one.id)
			if errors.Is(err, open.ErrDestroyed) {
				continue // just now, because no row carries its pseudonyms any more
			}
			if err != nil {
				return s, err
			}
			until := now
			if epoch.Last().Before(now) {
				until = epoch.Last()
			}
			s.Pseudonyms = append(s.Pseudonyms, subject.Pseudonym{ID: id, Until: until})
		}
	}
	return s, nil
}

// withBook keeps the ledger while f runs, unless another process does.
func (o *office) withBook(ctx context.Context, logger *slog.Logger, f func(context.Context) error) error {
	if _, err := os.Stat(o.cfg.Path("ledger")); err != nil { // a second ledger, under a key of its own, would be none
		return errors.New("open ledger: the data directory has none; run this where the pipeline keeps it")
	}
	book, err := openBook(ctx, o.cfg, o.engines, logger)
	if errors.Is(err, ledger.ErrLocked) {
		return f(ctx)
	}
	if err != nil {
		return err
	}
	work, wctx := errgroup.WithContext(ctx)
	kept, stop := context.WithCancel(wctx)
	work.Go(func() error { return book.Run(kept) })
	work.Go(func() error {
		defer stop()
		return f(wctx)
	})
	return work.Wait()
}

func printErased(out io.Writer, done subject.Erased) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tdeleted\tleft\t")
	fmt.Fprintf(t, "rows of events\t%d\t%d\t\n", done.Rows, done.RowsLeft)
	fmt.Fprintf(t, "consent acts\t%d\t%d\t\n", done.Acts, done.ActsLeft)
	fmt.Fprintf(t, "masks\t%d\t%d\t\n", done.Masks, done.MasksLeft)
	_ = t.Flush() // whoever reads it is gone if it fails
	fmt.Fprintf(out, "remembered: denials of %d purposes, under a keyed number\n", done.Denials)
	if done.Staying > 0 {
		fmt.Fprintf(out, "%d masks hide what may be under way; the folding deletes it and them within two hours\n", done.Staying)
	}
	fmt.Fprintf(out, "recorded in the ledger: erasure %s\n", done.Record)
	fmt.Fprintln(out, "What is sealed in Kafka ends with its retention.")
}

type consentExplain struct {
	who
	Purpose string    `help:"The purpose." required:""`
	At      time.Time `help:"Time of the event (RFC 3339). None: now." placeholder:"TIME"`
	GPC     bool      `name:"gpc" help:"The event came with Sec-GPC: 1."`
	Type    string    `help:"Type of the event." default:"page_view" enum:"page_view,engagement,operation,purchase,ad_view,search,environment,custom"`
	Lang    string    `help:"Language of the answer." enum:"ja,en" default:"en"`
	JSON    bool      `name:"json" help:"Print JSON."`
}

// Run implements the command. The embedded engines must not be in use: stop `sekisho up` first.
func (c consentExplain) Run(ctx context.Context, cfg *config.Config, logger *slog.Logger) error {
	ids, err := c.identifiers(os.Stdin)
	if err != nil {
		return err
	}
	o, err := openOffice(ctx, cfg, logger)
	if err != nil {
		return err
	}
	answer, where, err := c.answer(ctx, o, ids)
	if err = errors.Join(err, o.stop()); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(os.Stdout, answer)
	}
	printAnswer(os.Stdout, answer, c.Lang, where.Location)
	return nil
}

func (c consentExplain) answer(ctx context.Context, o *office, ids []identifier) (subject.Answer, *site.Site, error) {
	where, ok := o.sites.Get(c.Site)
	if !ok {
		return subject.Answer{}, nil, errors.New("site: is not a registered site")
	}
	at := c.At
	if at.IsZero() {
		at = time.Now()
	}
	var identities []subject.Identity
	byKind := map[open.Kind]uint64{}
	for _, one := range ids {
		id := o.keys.Subject(where.ID, one.kind, one.id)
		remembered, err := subject.Remembered(ctx, o.cluster, o.cfg.Topic("consent"), id)
		if err != nil {
			return subject.Answer{}, nil, err
		}
		byKind[one.kind] = id
		identities = append(identities, subject.Identity{Kind: one.name, ID: id, Remembered: remembered})
	}
	acts, err := evidence.ActsBy(ctx, o.db, where.ID, c.Purpose, byKind[open.Cookie], byKind[open.Account], byKind[open.Device])
	if err != nil {
		return subject.Answer{}, nil, err
	}
	kind, _ := core.ParseEventType(c.Type)
	q := subject.Question{Jurisdiction: where.Jurisdiction, Purpose: c.Purpose, Type: kind, At: at, GPC: c.GPC}
	return subject.Explain(q, identities, acts, o.policies, where.Policy), where, nil
}

// explained are the words of an explanation by language.
var explained = map[string]struct {
	none, acts, state, policy, basis, rule, yes, no, never, denied, granted, conflict, ignored, noPolicy, unproven, aside string
	bases, states, identities                                                                                             map[string]string
	rules                                                                                                                 map[consent.Ruling]string
}{
	"en": {
		none: "No act of this subject speaks of the purpose.", acts: "Acts, in their order:", state: "What they come to:", policy: "Policy in force: %s",
		basis: "Basis in %s: %s", rule: "Rule: %s", yes: "Permitted: an event of type %s at %s may be used for %s.", no: "Denied: an event of type %s at %s may not be used for %s.",
		never: "nothing was said", denied: "denied until %s", granted: "granted since %s", conflict: "Sec-GPC was on, and the explicit grant overrides it; the row records the conflict.",
		ignored: "does not count: the purpose was another one under that version", noPolicy: "none", unproven: "remembered; an act expired or was erased", aside: "  (%s)",
		bases:      map[string]string{"": "none", "notified": "notified, without a choice", "opt_out": "permitted until the subject objects", "consent": "consent"},
		states:     map[string]string{"granted": "granted", "renewed": "renewed", "refused": "refused", "withdrawn": "withdrawn", "expired": "expired"},
		identities: map[string]string{"cookie": "cookie", "account": "account", "device": "device"},
		rules: map[consent.Ruling]string{
			consent.Uncovered:     "what the policy in force does not name is denied",
			consent.Refused:       "a denial that is known blocks everything before the next grant, however late it came; of several identities the strictest wins",
			consent.NotGranted:    "it needs consent, and no grant covers that time; a later one never legalises an earlier event",
			consent.DeviceRefused: "the page says that it was refused on this device",
			consent.GPCDenied:     "Sec-GPC denies it, and no explicit grant overrides that",
			consent.Notified:      "a notified purpose needs no consent",
			consent.NotObjected:   "it is permitted until the subject objects, and the subject has not objected",
			consent.Granted:       "a grant covers that time, and no denial followed it",
		},
	},
	"ja": {
		none: "この目的についての本人の意思表示はありません。", acts: "意思表示（時刻順）：", state: "意思表示から導かれる状態：", policy: "適用されるポリシー：%s",
		basis: "%s における根拠：%s", rule: "適用した規則：%s", yes: "判定：許可。%[2]s の %[1]s は %[3]s に利用できます。", no: "判定：不許可。%[2]s の %[1]s は %[3]s に利用できません。",
		never: "意思表示なし", denied: "%s まで拒否", granted: "%s から同意", conflict: "Sec-GPC が有効でしたが、明示の同意が優先されます。この矛盾は行に記録されます。",
		ignored: "対象外：その版では別の目的でした", noPolicy: "なし", unproven: "記録の期限切れまたは消去の後も保持している状態", aside: "（%s）",
		bases:      map[string]string{"": "なし", "notified": "通知・公表した利用目的（選択の余地なし）", "opt_out": "本人が停止を求めるまで許可", "consent": "本人の同意"},
		states:     map[string]string{"granted": "同意", "renewed": "再同意", "refused": "拒否", "withdrawn": "撤回", "expired": "期限切れ"},
		identities: map[string]string{"cookie": "Cookie", "account": "アカウント", "device": "端末"},
		rules: map[consent.Ruling]string{
			consent.Uncovered:     "適用されるポリシーに定めのない利用は認めない",
			consent.Refused:       "判明している拒否は、届いた時期にかかわらず、次の同意より前のすべてを止める。識別子が複数あれば最も厳しい意思表示による",
			consent.NotGranted:    "同意が必要であり、その時刻に有効な同意がない。後からの同意で過去の利用が認められることはない",
			consent.DeviceRefused: "この端末で拒否されたとページが伝えている",
			consent.GPCDenied:     "Sec-GPC により拒否され、これに優先する明示の同意がない",
			consent.Notified:      "通知・公表した利用目的であり、同意を要しない",
			consent.NotObjected:   "本人が停止を求めるまで認められ、停止の求めはない",
			consent.Granted:       "その時刻に有効な同意があり、その後に拒否がない",
		},
	},
}

func printAnswer(out io.Writer, a subject.Answer, lang string, location *time.Location) {
	say := explained[lang]
	clock := func(t time.Time) string { return t.In(location).Format("2006-01-02 15:04:05 MST") }
	if len(a.Acts) == 0 {
		fmt.Fprintln(out, say.none)
	} else {
		fmt.Fprintln(out, say.acts)
	}
	for _, act := range a.Acts {
		var kinds []string
		for _, kind := range act.Identities {
			kinds = append(kinds, say.identities[kind])
		}
		fmt.Fprintf(out, "  %s  %s  [%s]  %s  %s", clock(act.Time), say.states[act.State], strings.Join(kinds, ", "), act.Policy, act.ID)
		if !act.Counts {
			fmt.Fprintf(out, say.aside, say.ignored)
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out, say.state)
	for _, known := range a.Known {
		var parts []string
		if known.Denied != nil {
			parts = append(parts, fmt.Sprintf(say.denied, clock(*known.Denied)))
		}
		if len(known.Granted) > 0 {
			parts = append(parts, fmt.Sprintf(say.granted, clock(known.Granted[0])))
		}
		if len(parts) == 0 {
			parts = append(parts, say.never)
		}
		fmt.Fprintf(out, "  [%s]  %s", say.identities[known.Identity], strings.Join(parts, ", "))
		if known.Unproven {
			fmt.Fprintf(out, say.aside, say.unproven)
		}
		fmt.Fprintln(out)
	}
	version := a.Policy
	if version == "" {
		version = say.noPolicy
	}
	fmt.Fprintf(out, say.policy+"\n", version)
	fmt.Fprintf(out, say.basis+"\n", a.Jurisdiction, say.bases[a.Basis])
	fmt.Fprintf(out, say.rule+"\n", say.rules[a.Rule])
	if a.GPCConflict {
		fmt.Fprintln(out, say.conflict)
	}
	verdict := say.no
	if a.Permitted {
		verdict = say.yes
	}
	fmt.Fprintf(out, verdict+"\n", a.Type, clock(a.At), a.Purpose)
}

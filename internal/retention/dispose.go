package retention

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/clickhouse"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
)

// Disposal is what Dispose found and deleted.
type Disposal struct {
	Purposeless uint64 // rows whose every purpose was taken back
	Retired     uint64 // rows whose every purpose is in force no more
	// Unknown are rows of a policy that is not registered. They are left alone: a pack that is missing by mistake MUST NOT
	// delete data.
	Unknown uint64
}

// Due is what Dispose deletes.
func (d Disposal) Due() uint64 { return d.Purposeless + d.Retired }

// Dispose deletes the rows of events that no purpose is left for (Art. 7-5), and returns when they are gone.
func Dispose(ctx context.Context, db Store, policies *policy.Register, now time.Time) (Disposal, error) {
	d, err := disposable(ctx, db, policies, now)
	if err != nil || d.Due() == 0 {
		return d, err
	}
	c := conditions(policies, now)
	if err := db.Exec(ctx, "ALTER TABLE events DELETE WHERE "+c.purposeless+" OR "+c.retired); err != nil {
		return d, fmt.Errorf("dispose of rows without a purpose: %w", err)
	}
	return d, clickhouse.Settled(ctx, db, "events")
}

func disposable(ctx context.Context, db Store, policies *policy.Register, now time.Time) (Disposal, error) {
	c := conditions(policies, now)
	var d Disposal
	err := clickhouse.One(ctx, db, fmt.Sprintf("SELECT countIf(%s), countIf(NOT (%s) AND %s), countIf(%s) FROM events", c.purposeless, c.purposeless, c.retired, c.unknown),
		nil, &d.Purposeless, &d.Retired, &d.Unknown)
	if err != nil {
		return d, fmt.Errorf("count rows without a purpose: %w", err)
	}
	return d, nil
}

// where are the conditions by which rows are disposed of.
type where struct{ purposeless, retired, unknown string }

func conditions(policies *policy.Register, now time.Time) where {
	bits := map[string]core.PurposeSet{}
	for _, p := range policies.All() {
		if inForce, ok := policies.At(p.ID, now); ok && inForce == p {
			for _, purpose := range p.Purposes {
				bits[p.ID] = bits[p.ID].With(purpose.Bit)
			}
		}
	}
	w := where{purposeless: "purposes = 0"}
	var retired, known []string
	for id, inForce := range bits {
		its := "startsWith(policy, " + quote(id+"/") + ")"
		known = append(known, its)
		retired = append(retired, its+" AND bitAnd(purposes, "+strconv.FormatUint(uint64(inForce), 10)+") = 0")
	}
	slices.Sort(known)
	slices.Sort(retired)
	w.retired = "((" + strings.Join(retired, ") OR (") + "))"
	w.unknown = "NOT (" + strings.Join(known, " OR ") + ")"
	if len(bits) == 0 {
		w.retired, w.unknown = "false", "true"
	}
	return w
}

func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

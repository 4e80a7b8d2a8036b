package pipeline

import (
	"time"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// actRow is one purpose of one consent act, as the consent ledger stores it.
type actRow struct {
	site, purpose, state                string
	id                                  [16]byte
	visitorID, accountID, deviceKey     uint64
	policy, textHash, language, surface string
	gpc                                 bool
	time, receivedAt                    time.Time
	shard                               uint16
	offset                              int64
}

// mask makes earlier rows of a subject invisible for a purpose.
type mask struct {
	site     string
	purpose  uint8
	subject  uint64
	deniedAt time.Time
}

// act takes a consent act: into the state that decides from the next record on, and into the rows of the ledger.
// The changed subjects are returned by pseudonym.
func (s *shard) act(o open.Opened, offset int64) (rows []actRow, masks []mask, changed map[uint64]consent.Subject, reason core.Reason) {
	a := o.ConsentAct()
	where, ok := s.p.deps.Sites.Get(o.Site())
	if !ok {
		return nil, nil, nil, core.ReasonUnknownSite
	}
	pack, ok := s.p.deps.Policies.Version(a.PolicyVersion)
	if !ok {
		return nil, nil, nil, core.ReasonNoPolicy
	}
	received := o.ReceivedAt().UnixMicro()
	at := consent.Clamp(a.TimeUs, received)
	cookie, device, account := s.subjects(where.ID, a.Subject)

	said := consent.Subject{}
	note := func(ids []string, state string, apply func(consent.State) consent.State) bool {
		for _, id := range ids {
			purpose, ok := pack.Purpose(id)
			if !ok {
				return false
			}
			said[purpose.Bit] = said[purpose.Bit].Merge(apply(consent.State{}))
			rows = append(rows, actRow{
				site: where.ID, purpose: id, state: state, id: o.ID(),
				visitorID: cookie, accountID: account, deviceKey: device,
				policy: pack.Version, textHash: a.TextHash, language: s.p.deps.Scrubber.Text(a.Language), surface: a.Surface, gpc: a.Gpc,
				time: time.UnixMicro(at).UTC(), receivedAt: o.ReceivedAt().UTC(),
				shard: uint16(s.partition), offset: offset, //nolint:gosec // G115: topics have far fewer partitions
			})
		}
		return true
	}
	grant := func(state consent.State) consent.State { return state.Grant(at) }
	deny := func(state consent.State) consent.State { return state.Deny(at) }
	if !note(a.Granted, "granted", grant) || !note(a.Refused, "refused", deny) || !note(a.Withdrawn, "withdrawn", deny) {
		return nil, nil, nil, core.ReasonUndecidable
	}

	changed = map[uint64]consent.Subject{}
	for _, subject := range []uint64{cookie, device, account} {
		if subject == 0 {
			continue
		}
		changed[subject] = s.p.states.merge(subject, said)
		for bit, state := range said {
			if state.Denied != 0 {
				masks = append(masks, mask{site: where.ID, purpose: uint8(bit), subject: subject, deniedAt: time.UnixMicro(state.Denied).UTC()})
			}
		}
	}
	return rows, masks, changed, core.NoReason
}

// PurposeState is what is enforced for one purpose of a subject at this moment.
type PurposeState struct {
	ID        string     `json:"id"`
	Basis     string     `json:"basis"`
	State     string     `json:"state"`
	Since     *time.Time `json:"since,omitempty"`
	Permitted bool       `json:"permitted"`
}

// ConsentState is a subject's state under the policy in force (schemas/openapi/collector.v1.yaml).
type ConsentState struct {
	PolicyVersion string         `json:"policy_version"`
	Purposes      []PurposeState `json:"purposes"`
}

// state answers what the checkpoint would enforce for a subject now.
func (p *Pipeline) state(siteID string, who *sekishov1.Identity) (ConsentState, bool) {
	where, ok := p.deps.Sites.Get(siteID)
	if !ok {
		return ConsentState{}, false
	}
	now := p.deps.Now()
	pack, ok := p.deps.Policies.At(where.Policy, now)
	if !ok {
		return ConsentState{}, false
	}
	cookie, device, account := p.subjects(siteID, who)
	known := p.states.of(cookie, device, account)
	answer := ConsentState{PolicyVersion: pack.Version}
	for i := range pack.Purposes {
		answer.Purposes = append(answer.Purposes, purposeState(&pack.Purposes[i], where.Jurisdiction, known, now.UnixMicro()))
	}
	return answer, true
}

func purposeState(purpose *policy.Purpose, jurisdiction string, known []consent.Subject, now int64) PurposeState {
	basis := purpose.Basis[jurisdiction]
	one := PurposeState{ID: purpose.ID, Basis: basis.String(), State: "unknown"}
	var joined consent.State
	for _, subject := range known {
		joined = joined.Merge(subject[purpose.Bit])
	}
	switch granted, objected := consent.Standing(known, purpose.Bit, now); {
	case objected:
		one.State, one.Since = "refused", new(time.UnixMicro(joined.Denied).UTC())
	case granted:
		one.State, one.Since = "given", new(time.UnixMicro(joined.Grants[0]).UTC())
	}
	switch basis {
	case core.Notified:
		one.Permitted = true
	case core.OptOut:
		one.Permitted = one.State != "refused"
	case core.Consent:
		one.Permitted = one.State == "given"
	}
	return one
}

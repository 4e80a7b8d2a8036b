package pipeline

import (
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/evidence"
	"github.com/sekisho/sekisho/internal/ledger"
	"github.com/sekisho/sekisho/internal/policy"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
	"github.com/sekisho/sekisho/schemas/sekishov1"
)

// mask makes earlier rows of a subject invisible for a purpose. Its subject is a pseudonym as rows carry it. A mask
// that erases has the rows deleted as well. One without a subject hides nothing: it says which act wanted the erasure.
type mask struct {
	site     string
	purpose  uint8
	subject  uint64
	deniedAt time.Time
	erase    bool
	act      ledger.ID // the act's leaf in the ledger; only where there is no subject
}

// effects is what a consent act comes to.
type effects struct {
	acts    []evidence.Act             // a row of the ledger for each purpose
	masks   []mask                     // what it hides of what is stored
	changed map[uint64]consent.Subject // the new whole states, by the ids under which consent is kept
}

// act takes a consent act: into the state that decides from the next record on, and into the rows of the ledger. An
// error is of this house: the batch MUST NOT be loaded.
func (s *shard) act(o open.Opened, offset int64) (*effects, core.Reason, error) {
	a := o.ConsentAct()
	where, ok := s.p.deps.Sites.Get(o.Site())
	if !ok {
		return nil, core.ReasonUnknownSite, nil
	}
	pack, ok := s.p.deps.Policies.Version(a.PolicyVersion)
	if !ok {
		return nil, core.ReasonNoPolicy, nil
	}
	received := o.ReceivedAt().UnixMicro()
	at := consent.Clamp(a.TimeUs, received)
	cookie, device, account := s.p.subjects(where.ID, a.Subject)

	x := &effects{changed: map[uint64]consent.Subject{}}
	said, hides := consent.Subject{}, consent.Subject{}
	var erases core.PurposeSet
	note := func(ids []string, state string, hide, erase bool) bool {
		for _, id := range ids {
			purpose, ok := pack.Purpose(id)
			if !ok {
				return false
			}
			if said[purpose.Bit], ok = said[purpose.Bit].Act(state, at); !ok {
				return false
			}
			if hide {
				hides[purpose.Bit] = said[purpose.Bit]
			}
			if erase {
				erases = erases.With(purpose.Bit)
				x.masks = append(x.masks, mask{
					site: where.ID, purpose: uint8(purpose.Bit), deniedAt: time.UnixMicro(at).UTC(), erase: true, act: evidence.LeafID(o.ID(), id),
				})
			}
			x.acts = append(x.acts, evidence.Act{
				Site: where.ID, ID: o.ID(), Schema: evidence.SchemaVersion, Purpose: id, State: state,
				VisitorID: cookie, AccountID: account, DeviceKey: device,
				Policy: pack.Version, PolicyHash: pack.Hash, Jurisdiction: where.Jurisdiction, Basis: purpose.Basis[where.Jurisdiction].String(),
				TextHash: a.TextHash, Language: s.p.deps.Scrubber.Text(a.Language), Surface: a.Surface,
				Source: a.Source, Method: a.Method, Actor: a.Actor, TCString: a.TcString, GPC: a.Gpc,
				Time: time.UnixMicro(at).UTC(), ReceivedAt: o.ReceivedAt().UTC(), Salt: s.p.deps.Keys.Salt(uuid.UUID(o.ID()).String(), id),
				Shard: uint16(s.partition), Offset: offset, //nolint:gosec // G115: topics have far fewer partitions
			})
		}
		return true
	}
	if !note(a.Granted, "granted", false, false) || !note(a.Renewed, "renewed", false, false) ||
		!note(a.Refused, "refused", true, a.ErasePast) || !note(a.Withdrawn, "withdrawn", true, a.ErasePast) ||
		// What expires was permitted until then: it stops, and hides nothing.
		!note(a.Expired, "expired", false, false) {
		return nil, core.ReasonUndecidable, nil
	}
	// What is objected to elsewhere is hidden, and was not asked to be erased here.
	if a.Link && !note(s.objected(pack, said, at, cookie, device, account), "refused", true, false) {
		return nil, core.ReasonUndecidable, nil
	}
	masks, err := s.masks(where.ID, a.Subject, hides, erases)
	if err != nil {
		return nil, core.NoReason, err
	}
	x.masks = append(x.masks, masks...)
	for _, subject := range []uint64{cookie, device, account} {
		if subject != 0 {
			x.changed[subject] = s.p.states.merge(subject, said)
		}
	}
	return x, core.NoReason, nil
}

// objected are the purposes that some identity of a person denies, but for those the act itself speaks of. When
// identities are linked the strictest state wins until it is affirmed again: the denial binds all of them, and a grant
// is never carried over, because a device may be shared. No link is kept, so nothing is left to unlink.
func (s *shard) objected(pack *policy.Pack, said consent.Subject, at int64, subjects ...uint64) []string {
	known := s.p.states.of(subjects...)
	var ids []string
	for i := range pack.Purposes {
		purpose := &pack.Purposes[i]
		if _, spoken := said[purpose.Bit]; spoken {
			continue
		}
		if _, objected := consent.Standing(known, purpose.Bit, at); objected {
			ids = append(ids, purpose.ID)
		}
	}
	return ids
}

// masks hide the rows that a subject's denials reach, under the key of every epoch that rows may still carry
// pseudonyms of. In an epoch that was over by then the mask covers it whole, which is no other than the denial's own
// moment would: that moment, the same in every epoch, would tell which pseudonyms are one person's.
func (s *shard) masks(siteID string, who *sekishov1.Identity, said consent.Subject, erases core.PurposeSet) ([]mask, error) {
	living, err := s.p.deps.Keys.Living()
	if err != nil {
		return nil, err
	}
	var masks []mask
	for _, epoch := range living {
		cookie, device, account, err := s.p.pseudonyms(epoch, siteID, who)
		if errors.Is(err, open.ErrDestroyed) {
			continue // just now, because no row carries its pseudonyms any more
		}
		if err != nil {
			return nil, err
		}
		for bit, state := range said {
			denied := time.UnixMicro(state.Denied).UTC()
			if state.Denied == 0 || denied.Before(epoch.Start()) {
				continue
			}
			if epoch.Last().Before(denied) {
				denied = epoch.Last()
			}
			for _, subject := range []uint64{cookie, device, account} {
				if subject != 0 {
					masks = append(masks, mask{site: siteID, purpose: uint8(bit), subject: subject, deniedAt: denied, erase: erases.Has(bit)})
				}
			}
		}
	}
	return masks, nil
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

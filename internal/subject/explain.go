package subject

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/sekisho/sekisho/internal/consent"
	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/evidence"
	"github.com/sekisho/sekisho/internal/policy"
)

// Question is about an event that might have happened, or still may.
type Question struct {
	Jurisdiction string
	Purpose      string
	Type         core.EventType
	At           time.Time
	GPC          bool
}

// SaidAct is an act as far as it bears on a decision.
type SaidAct struct {
	ID         uuid.UUID `json:"act_id"`
	Time       time.Time `json:"time"`
	ReceivedAt time.Time `json:"received_at"`
	State      string    `json:"state"`
	Source     string    `json:"source,omitempty"`
	Method     string    `json:"method,omitempty"`
	Actor      string    `json:"actor,omitempty"`
	Policy     string    `json:"policy_version"`
	// Identities are the kinds of identifiers the act names, of those asked for.
	Identities []string `json:"identities"`
	// Counts is false for an act under a version in which the purpose was another one: it had another bit.
	Counts bool `json:"counts"`
}

// Known is the state that the acts of one identity come to.
type Known struct {
	Identity string      `json:"identity"`
	Denied   *time.Time  `json:"denied,omitempty"`
	Granted  []time.Time `json:"granted,omitempty"` // after the latest denial
	// Unproven says that it does not follow from the acts alone: some expired, or were erased, and are honoured all the same.
	Unproven bool `json:"unproven,omitempty"`
}

// Answer is a decision with everything it follows from.
type Answer struct {
	Purpose      string         `json:"purpose"`
	Type         string         `json:"type"`
	At           time.Time      `json:"at"`
	GPC          bool           `json:"gpc"`
	Jurisdiction string         `json:"jurisdiction"`
	Policy       string         `json:"policy_version,omitempty"`
	Basis        string         `json:"basis,omitempty"`
	GPCDenied    bool           `json:"gpc_denies"`
	Acts         []SaidAct      `json:"acts"`
	Known        []Known        `json:"known"`
	Rule         consent.Ruling `json:"rule"`
	GPCConflict  bool           `json:"gpc_conflict"`
	Permitted    bool           `json:"permitted"`
}

// Identity is one id under the consent key.
type Identity struct {
	Kind string // cookie, device or account
	ID   uint64
	// Remembered is what the checkpoint knows of it.
	Remembered consent.Subject
}

// Explain replays the acts of a subject for a purpose through the decision engine. The answer is what the checkpoint would
// decide for such an event if it came now: a denial that is known by now blocks earlier events, too, and one whose act is
// gone is remembered. acts are in their order; policyID names the site's policy.
func Explain(q Question, who []Identity, acts []evidence.Act, packs *policy.Register, policyID string) Answer {
	answer := Answer{Purpose: q.Purpose, Type: q.Type.String(), At: q.At.UTC(), GPC: q.GPC, Jurisdiction: q.Jurisdiction}
	inForce, ok := packs.At(policyID, q.At)
	var purpose *policy.Purpose
	if ok {
		answer.Policy = inForce.Version
		purpose, ok = inForce.Purpose(q.Purpose)
	}
	if ok {
		answer.Basis = purpose.Basis[q.Jurisdiction].String()
		answer.GPCDenied = purpose.GPCDenied
	}
	states := make([]consent.State, len(who))
	for i := range acts {
		a := &acts[i]
		said := SaidAct{
			ID: a.ID, Time: a.Time.UTC(), ReceivedAt: a.ReceivedAt.UTC(), State: a.State, Source: a.Source, Method: a.Method, Actor: a.Actor, Policy: a.Policy,
			Identities: []string{}, Counts: ok && sameBit(packs, a, purpose),
		}
		for j, one := range who {
			if !names(a, one) {
				continue
			}
			said.Identities = append(said.Identities, one.Kind)
			if said.Counts {
				states[j], said.Counts = states[j].Act(a.State, a.Time.UnixMicro())
			}
		}
		answer.Acts = append(answer.Acts, said)
	}
	var subjects []consent.Subject
	for j, one := range who {
		s := states[j]
		known := Known{Identity: one.Kind}
		if ok {
			s = s.Merge(one.Remembered[purpose.Bit])
			known.Unproven = s.Denied != states[j].Denied || !slices.Equal(s.Grants, states[j].Grants)
		}
		if s.Denied != 0 {
			known.Denied = new(time.UnixMicro(s.Denied).UTC())
		}
		for _, t := range s.Grants {
			known.Granted = append(known.Granted, time.UnixMicro(t).UTC())
		}
		answer.Known = append(answer.Known, known)
		if ok {
			subjects = append(subjects, consent.Subject{purpose.Bit: s})
		}
	}
	if !ok {
		return answer // no policy, or none that names the purpose: the zero rule denies
	}
	rules, _ := inForce.Rules(q.Jurisdiction)
	why := consent.Explain(rules, &consent.Inputs{Type: q.Type, Time: q.At.UnixMicro(), GPC: q.GPC, Subjects: subjects}, purpose.Bit)
	answer.Rule, answer.GPCConflict, answer.Permitted = why.Ruling, why.GPCConflict, why.Ruling.Permits()
	return answer
}

// sameBit reports whether the purpose that an act speaks of is the one in force: an unrelated change gives it another bit,
// and what was said of it before says nothing of it now.
func sameBit(packs *policy.Register, a *evidence.Act, purpose *policy.Purpose) bool {
	pack, ok := packs.Version(a.Policy)
	if !ok {
		return false
	}
	meant, ok := pack.Purpose(a.Purpose)
	return ok && meant.Bit == purpose.Bit
}

func names(a *evidence.Act, one Identity) bool {
	return one.ID != 0 && slices.Contains([]uint64{a.VisitorID, a.AccountID, a.DeviceKey}, one.ID)
}

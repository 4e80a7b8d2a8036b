package open

import "time"

// EpochMonths is how many civil months (UTC) of event time share a pseudonym key (docs/adr/0007-two-keys.md). It MUST
// divide 12. Changing it splits the epoch that is running: whoever is known in it becomes somebody new.
const EpochMonths = 6

// Epoch is a span of event time under one pseudonym key. It follows from an event's own time and nothing else, so a
// replay finds the same key.
type Epoch int

// EpochOf is the epoch that an event at t belongs to.
func EpochOf(t time.Time) Epoch {
	year, month, _ := t.UTC().Date()
	return Epoch((year*12 + int(month) - 1) / EpochMonths)
}

// Start is the first moment of the epoch.
func (e Epoch) Start() time.Time {
	return time.Date(0, time.January+time.Month(int(e)*EpochMonths), 1, 0, 0, 0, 0, time.UTC)
}

// End is the first moment after the epoch.
func (e Epoch) End() time.Time { return (e + 1).Start() }

// Last is the last moment of the epoch that a consent act can name.
func (e Epoch) Last() time.Time { return e.End().Add(-time.Microsecond) }

// String is the epoch's first month, as in 2026-07. Its key file is named after it.
func (e Epoch) String() string { return e.Start().Format(epochLayout) }

const epochLayout = "2006-01"

// parseEpoch reads what String writes; false for a month that no epoch begins with.
func parseEpoch(name string) (Epoch, bool) {
	start, err := time.Parse(epochLayout, name)
	if err != nil {
		return 0, false
	}
	e := EpochOf(start)
	return e, e.Start().Equal(start)
}

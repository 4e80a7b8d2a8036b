package gate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/gate"
	"github.com/sekisho/sekisho/internal/pseudonym/open"
)

func TestEpochsAreCountedAsKeysAreCut(t *testing.T) {
	if gate.EpochMonths != open.EpochMonths {
		t.Fatal("the gate cuts other epochs than the keys have")
	}
	at := func(s string) time.Time {
		parsed, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for _, tc := range []struct {
		from, to string
		epochs   int
	}{
		{"2026-07-01T00:00:00Z", "2027-01-01T00:00:00Z", 1},
		{"2026-06-30T23:59:59Z", "2026-07-01T00:00:01Z", 2},
		{"2026-07-01T08:59:00+09:00", "2026-07-01T09:01:00+09:00", 2}, // the border is UTC's
		{"2026-07-01T09:00:00+09:00", "2026-07-02T00:00:00+09:00", 1},
		{"2025-12-31T00:00:00Z", "2026-07-01T00:00:01Z", 3},
	} {
		if got := gate.Epochs(at(tc.from), at(tc.to)); got != tc.epochs {
			t.Errorf("%s to %s: %d epochs, want %d", tc.from, tc.to, got, tc.epochs)
		}
	}
}

func TestPermittedHandsOnWhatIsAskedForAndNoMore(t *testing.T) {
	sql := gate.Permitted([]string{"path", "type"}, []string{"path = {f0:String}", "country = 'JP' OR 1"})
	for _, want := range []string{
		"SELECT event_id, path, received_at, session_id, type, day, subject, daily", "AND (path = {f0:String})", "AND (country = 'JP' OR 1)",
	} {
		if !strings.Contains(sql, want) {
			t.Errorf("no %q in\n%s", want, sql)
		}
	}
	for _, column := range []string{"search_query", "/*columns*/"} {
		if strings.Contains(sql, column) {
			t.Errorf("%q is in\n%s", column, sql)
		}
	}
}

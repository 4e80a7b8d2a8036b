package retention

import (
	"strconv"
	"time"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/policy"
)

// sealedCategories are what a sealed event holds and no table does: of all that is sealed they may be kept the shortest.
var sealedCategories = []core.Category{core.IPAddress, core.CookieID, core.DeviceID}

// SealedPeriod is how long anything sealed may stay in Kafka at t; 0 when some policy does not say.
func SealedPeriod(policies *policy.Register, t time.Time) time.Duration {
	shortest := Period(policies, sealedCategories[0], t)
	for _, c := range sealedCategories[1:] {
		shortest = min(shortest, Period(policies, c, t))
	}
	return shortest
}

// Shares divide the time that something sealed may stay in Kafka: what could not be read until the last moment of its
// share in the events topic has the other share in the dead letters, and the two together are no longer than the whole.
func Shares(whole time.Duration) (events, deadLetters time.Duration) {
	deadLetters = whole / 7 * 3
	return whole - deadLetters, deadLetters
}

// Topic are the settings under which a topic holds no record for longer than keep. Kafka deletes whole segments, by
// their newest record, a while after its time: so a segment is short, and the time ends early. The embedded broker ends
// segments by size alone; there a record is gone to readers in time, and its bytes with the segment, unreadable once
// their sealing key is destroyed.
func Topic(keep time.Duration) map[string]string {
	segment := keep / 16
	return map[string]string{
		"cleanup.policy": "delete",
		"segment.ms":     strconv.FormatInt(segment.Milliseconds(), 10),
		"retention.ms":   strconv.FormatInt((keep - 2*segment).Milliseconds(), 10),
	}
}

// Held is how long a topic with these settings may hold a record: false when it may do so for ever.
func Held(settings map[string]string) (time.Duration, bool) {
	segment, err := strconv.ParseInt(settings["segment.ms"], 10, 64)
	if err != nil || segment <= 0 {
		return 0, false
	}
	retention, err := strconv.ParseInt(settings["retention.ms"], 10, 64)
	if err != nil || retention < 0 || settings["cleanup.policy"] != "delete" {
		return 0, false
	}
	return time.Duration(segment+retention) * time.Millisecond, true
}

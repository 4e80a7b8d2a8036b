package clickhouse

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Act names a stored consent act.
type Act struct {
	Site string
	ID   [16]byte
}

// Session is a session as far as it is stored. Times are microseconds.
type Session struct {
	Visitor, ID uint64
	First, Last int64
}

// Recent is what a partition stored lately.
type Recent struct {
	EventIDs []uint64
	Acts     []Act
	Sessions []Session
}

// Recent reads back what one Kafka partition stored since: event ids, consent acts, and the sessions of the last hour
// of event time. The pipeline restores its state from it.
func (db *DB) Recent(ctx context.Context, partition int, since time.Time) (Recent, error) {
	var recent Recent
	params := map[string]string{
		"shard": strconv.Itoa(partition), "since": strconv.FormatInt(since.Unix(), 10),
		"lately": strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10),
	}
	err := db.Select(ctx, `SELECT event_id FROM events
		WHERE shard = {shard:UInt16} AND received_at >= toDateTime({since:UInt32}, 'UTC') AND event_id != 0
		ORDER BY received_at`, params, Limits{}, func(rows Rows) error {
		for rows.Next() {
			var id uint64
			if err := rows.Scan(&id); err != nil {
				return err
			}
			recent.EventIDs = append(recent.EventIDs, id)
		}
		return nil
	})
	if err != nil {
		return Recent{}, err
	}
	err = db.Select(ctx, `SELECT DISTINCT site, act_id FROM consent_acts
		WHERE shard = {shard:UInt16} AND received_at >= toDateTime({since:UInt32}, 'UTC')`, params, Limits{}, func(rows Rows) error {
		for rows.Next() {
			var (
				site string
				id   uuid.UUID
			)
			if err := rows.Scan(&site, &id); err != nil {
				return err
			}
			recent.Acts = append(recent.Acts, Act{site, id})
		}
		return nil
	})
	if err != nil {
		return Recent{}, err
	}
	err = db.Select(ctx, `SELECT visitor_id, session_id, toInt64(toUnixTimestamp64Micro(toDateTime64(min(time), 6))), toInt64(toUnixTimestamp64Micro(toDateTime64(max(time), 6)))
		FROM events
		WHERE shard = {shard:UInt16} AND time >= toDateTime({lately:UInt32}, 'UTC') AND visitor_id != 0
		GROUP BY visitor_id, session_id`, params, Limits{}, func(rows Rows) error {
		for rows.Next() {
			var s Session
			if err := rows.Scan(&s.Visitor, &s.ID, &s.First, &s.Last); err != nil {
				return err
			}
			recent.Sessions = append(recent.Sessions, s)
		}
		return nil
	})
	return recent, err
}

// Place is where in the topic a stored record came from.
type Place struct {
	Shard  uint16
	Offset int64
}

// ActPlaces tells of consent acts where their stored rows came from; an act that is not stored is left out.
func (db *DB) ActPlaces(ctx context.Context, acts []uuid.UUID) (map[uuid.UUID][]Place, error) {
	ids := make([]string, len(acts))
	for i, id := range acts {
		ids[i] = "'" + id.String() + "'"
	}
	places := map[uuid.UUID][]Place{}
	err := db.Select(ctx, "SELECT DISTINCT act_id, shard, offset FROM consent_acts WHERE act_id IN {acts:Array(UUID)}",
		map[string]string{"acts": "[" + strings.Join(ids, ",") + "]"}, Limits{}, func(rows Rows) error {
			for rows.Next() {
				var (
					id uuid.UUID
					at Place
				)
				if err := rows.Scan(&id, &at.Shard, &at.Offset); err != nil {
					return err
				}
				places[id] = append(places[id], at)
			}
			return nil
		})
	return places, err
}

package open

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/sekisho/sekisho/internal/pseudonym"
)

// SealOverlap is how long after a new sealing key collectors may still seal to the one before: time to fetch the new
// public key, and to send what waits in their spools.
const SealOverlap = 7 * 24 * time.Hour

// lateness is how far back the time of an event may lie when it arrives; the collector takes nothing older.
const lateness = 31 * 24 * time.Hour

// Rotation makes keys before they are needed and destroys them when nothing they are kept for is left. Processes that
// share a key directory may each have one.
type Rotation struct {
	Store  *Store
	Keys   *Keys
	Opener *Opener
	KEM    pseudonym.KEM
	// Publish hands the public key that is to be sealed to from now on to the collectors. It is called at every turn.
	Publish func(pseudonym.PublicKey) error
	// Pseudonyms is how long a row may carry pseudonyms at the time given (Art. 7-5); 0 is unknown, and then no
	// pseudonym key is destroyed.
	Pseudonyms func(now time.Time) time.Duration
	// Clear reports whether no row before a time carries a pseudonym any more. While one does, its key is needed: a
	// withdrawal could not mask the row without.
	Clear func(ctx context.Context, before time.Time) (bool, error)
	// Sealed is how long a sealed message may stay in Kafka, dead letters included.
	Sealed time.Duration
	Logger *slog.Logger
	Now    func() time.Time
}

// Run takes a turn every minute until ctx ends. A store that cannot be asked is asked again; a key directory that
// cannot be worked in ends it.
func (r *Rotation) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := r.Turn(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// Turn does what is due. It is idempotent.
func (r *Rotation) Turn(ctx context.Context) error {
	now := r.Now()
	for _, step := range []func(context.Context, time.Time) error{
		func(_ context.Context, now time.Time) error { return r.Store.resume(now) },
		r.beginEpochs,
		r.publish,
		r.endEpochs,
		r.endSeals,
	} {
		if err := step(ctx, now); err != nil {
			return fmt.Errorf("rotate keys: %w", err)
		}
	}
	return nil
}

// beginEpochs makes the pseudonym keys of every epoch that an event may belong to, so that a withdrawal knows them
// before the first row does.
func (r *Rotation) beginEpochs(_ context.Context, now time.Time) error {
	if err := r.Keys.refresh(); err != nil {
		return err
	}
	for e := EpochOf(now.Add(-lateness)); e <= EpochOf(now.Add(ahead)); e++ {
		if err := r.Keys.begin(e); err != nil && !errors.Is(err, ErrDestroyed) {
			return err
		}
	}
	return nil
}

// endEpochs destroys the pseudonym keys under which no row can carry a pseudonym any more.
func (r *Rotation) endEpochs(ctx context.Context, now time.Time) error {
	keep := r.Pseudonyms(now)
	living, err := r.Keys.Living()
	if err != nil {
		return err
	}
	for _, e := range living {
		if keep <= 0 || now.Before(e.End().Add(keep)) {
			continue
		}
		clear, err := r.Clear(ctx, e.End())
		if err != nil || !clear {
			r.Logger.LogAttrs(ctx, slog.LevelWarn, "a pseudonym key past its date is kept: rows under it cannot be ruled out",
				slog.String("epoch", e.String()), slog.Any("error", err))
			continue
		}
		if err := r.destroy(ctx, PseudonymKey, e.String(), now); err != nil {
			return err
		}
		r.Keys.forget(e)
	}
	return nil
}

// SealEpoch is the sealing epoch at t, a civil month (UTC): 202611 in November 2026.
func SealEpoch(t time.Time) uint32 {
	year, month, _ := t.UTC().Date()
	return uint32(year*100 + int(month)) //nolint:gosec // G115: a year of four digits
}

// publish makes the month's sealing key, and publishes it. A key made ahead of this clock stays in use; one from a
// clock that was far ahead does not.
func (r *Rotation) publish(_ context.Context, now time.Time) error {
	seals, err := r.Store.seals()
	if err != nil {
		return err
	}
	epoch := SealEpoch(now)
	for _, s := range seals {
		if s.epoch > epoch && s.epoch <= SealEpoch(now.Add(ahead)) {
			epoch = s.epoch
		}
	}
	key, err := r.Store.sealKey(r.KEM, epoch, now)
	if err != nil {
		return err
	}
	return r.Publish(key.Public())
}

// endSeals destroys the sealing keys whose successor has been there for long enough that nothing sealed to them is
// left in Kafka.
func (r *Rotation) endSeals(ctx context.Context, now time.Time) error {
	seals, err := r.Store.seals()
	if err != nil {
		return err
	}
	for i, s := range seals {
		if end, ok := r.sealEnd(seals, i); ok && !now.Before(end) {
			if err := r.destroy(ctx, SealingKey, sealName(s.epoch), now); err != nil {
				return err
			}
		}
	}
	r.Opener.ForgetDestroyed()
	return nil
}

// sealEnd is when the i-th sealing key is to be destroyed; false while it has no successor, however old it is: then
// collectors seal to it.
func (r *Rotation) sealEnd(seals []seal, i int) (time.Time, bool) {
	if i == len(seals)-1 {
		return time.Time{}, false
	}
	return seals[i+1].made.Add(SealOverlap + r.Sealed), true
}

// destroy destroys a key that no other process has destroyed.
func (r *Rotation) destroy(ctx context.Context, kind KeyKind, epoch string, now time.Time) error {
	err := r.Store.destroy(kind, epoch, PeriodOver, now)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.Logger.LogAttrs(ctx, slog.LevelInfo, "destroyed key", slog.String("kind", string(kind)), slog.String("epoch", epoch))
	return nil
}

// seal is a sealing key's file.
type seal struct {
	epoch uint32
	made  time.Time
}

// seals lists the sealing keys, the oldest epoch first.
func (s *Store) seals() ([]seal, error) {
	names, err := s.epochs(SealingKey, keySuffix)
	if err != nil {
		return nil, err
	}
	var seals []seal
	for _, name := range names {
		epoch, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("list sealing keys: %s is no epoch", name)
		}
		key, err := s.existing(uint32(epoch))
		if errors.Is(err, fs.ErrNotExist) {
			continue // destroyed just now
		}
		if err != nil {
			return nil, err
		}
		if key.made.IsZero() {
			info, err := os.Stat(s.sealPath(uint32(epoch)))
			if err != nil {
				return nil, fmt.Errorf("list sealing keys: %w", err)
			}
			key.made = info.ModTime()
		}
		seals = append(seals, seal{uint32(epoch), key.made})
	}
	slices.SortFunc(seals, func(a, b seal) int { return int(a.epoch) - int(b.epoch) })
	return seals, nil
}

// KeyDate is a key with the time it is to be destroyed at.
type KeyDate struct {
	Kind  KeyKind
	Epoch string
	Until time.Time // zero while it is not known: the key is in use
}

// Dates lists every key that has an end.
func (r *Rotation) Dates(now time.Time) ([]KeyDate, error) {
	var dates []KeyDate
	seals, err := r.Store.seals()
	if err != nil {
		return nil, err
	}
	for i, s := range seals {
		end, _ := r.sealEnd(seals, i)
		dates = append(dates, KeyDate{SealingKey, sealName(s.epoch), end})
	}
	epochs, err := r.Store.epochs(PseudonymKey, keySuffix)
	if err != nil {
		return nil, err
	}
	keep := r.Pseudonyms(now)
	for _, name := range epochs {
		e, ok := parseEpoch(name)
		if !ok {
			return nil, fmt.Errorf("list pseudonym keys: %s is no epoch", name)
		}
		date := KeyDate{Kind: PseudonymKey, Epoch: name}
		if keep > 0 {
			date.Until = e.End().Add(keep)
		}
		dates = append(dates, date)
	}
	days, err := r.Store.epochs(CookielessKey, keySuffix)
	if err != nil {
		return nil, err
	}
	for _, name := range days {
		day, err := time.Parse(time.DateOnly, path.Base(name))
		if err != nil {
			return nil, fmt.Errorf("list cookieless keys: %s is no day", name)
		}
		dates = append(dates, KeyDate{CookielessKey, name, day.AddDate(0, 0, 2).Add(12 * time.Hour)})
	}
	for _, kind := range keyKinds { // out of use, and the bytes still there
		marked, err := r.Store.epochs(kind, goneSuffix)
		if err != nil {
			return nil, err
		}
		for _, epoch := range marked {
			dates = append(dates, KeyDate{kind, epoch, now})
		}
	}
	return dates, nil
}

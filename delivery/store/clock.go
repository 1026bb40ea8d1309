package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// The times that jobs and retention go by are those of Store.Now: while the
// process runs they go on evenly. What the machine's clock was when it last ran
// is kept, so that a start sees what became of it.
const (
	settingClock = "clock" // when the store last committed, in microseconds
	settingHold  = "hold"  // when retention may go on, in microseconds

	clockEvery = 30 * time.Second // the clock is kept, if there is a commit
	clockSlack = time.Minute      // less is no difference between the kept clock and the machine's

	// A clock that is further off than clockDoubt may be wrong: retention waits
	// until somebody had holdFor to set it right.
	clockDoubt = 24 * time.Hour
	holdFor    = 24 * time.Hour
)

// Now is the time of day by the store's clock, see delivery.Clock.
func (s *Store) Now() time.Time { return s.clock.Now() }

// keepClock writes down what the clock is, in the transaction that is open.
func (w *writer) keepClock() error {
	now := w.tx.clock.Now()
	if now.Sub(w.clockAt) < clockEvery {
		return nil
	}
	w.clockAt = now
	return w.tx.setTime(settingClock, now)
}

func (t *txn) setTime(name string, at time.Time) error {
	_, err := t.exec("INSERT INTO setting (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
		name, strconv.AppendInt(nil, micros(at), 10))
	return err
}

// scanTime reads a setting that setTime wrote; zero when there is none.
func scanTime(row *sql.Row) (time.Time, error) {
	var text []byte
	if err := row.Scan(&text); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		return time.Time{}, err
	}
	us, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("a time in the database is damaged: %w", err)
	}
	return instant(us), nil
}

const selectSetting = "SELECT value FROM setting WHERE name = ?"

// keptClock is what the clock was when the store last committed.
func keptClock(ctx context.Context, conn *sql.Conn) (time.Time, error) {
	return scanTime(conn.QueryRowContext(ctx, selectSetting, settingClock))
}

// settleClock compares the clock with the one that an earlier process kept, and
// brings what is unfinished into the time that holds now.
func (s *Store) settleClock(ctx context.Context, kept time.Time) error {
	ahead := s.Now().Sub(kept)
	if kept.IsZero() || ahead.Abs() <= clockSlack {
		return nil
	}
	if ahead < 0 {
		s.log.Warn("the clock was set back since the gateway last ran; notes keep their waits", "back_s", int64(-ahead.Seconds()))
	}
	doubtful := ahead > clockDoubt
	if doubtful {
		s.log.Warn("the clock is far ahead of when the gateway last ran: if it is right, retention goes on in a day", "ahead_s", int64(ahead.Seconds()))
	}
	_, err := write(ctx, s, func(tx *txn) (any, error) {
		if ahead < 0 {
			if err := tx.shiftMemory(ahead); err != nil {
				return nil, err
			}
		}
		if doubtful {
			return nil, errors.Join(tx.shift(ahead), tx.setTime(settingHold, s.Now().Add(holdFor)))
		}
		return nil, tx.shift(ahead)
	})
	return err
}

// shift moves what is unfinished: to an earlier clock with all its times, to a
// later one with when it began, since the time between was none of trying, and
// with the end of waiting for a report, since none could be heard.
func (t *txn) shift(by time.Duration) error {
	const unfinished = " WHERE state IN ('queued', 'sending') AND state <> 'delivered'" // as the index has it
	const first = "first_at = CASE first_at WHEN 0 THEN 0 ELSE first_at + ?1 END"
	query := "UPDATE job SET next_at = next_at + ?1 * (waits & 1), " + first + unfinished + " AND first_at > 0"
	if by < 0 {
		query = "UPDATE job SET next_at = next_at + ?1, " + first + unfinished
	}
	const waited = "UPDATE attempt SET next_at = next_at + ?1 WHERE outcome = 'waiting'" // as the others are told of it
	for _, query := range []string{query, waited} {
		if _, err := t.exec(query, by.Microseconds()); err != nil {
			return err
		}
	}
	hold, err := scanTime(t.row(selectSetting, settingHold))
	if err != nil || hold.IsZero() {
		return err
	}
	return t.setTime(settingHold, hold.Add(by)) // it is a time of running
}

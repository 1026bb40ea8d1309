package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// forgottenFor is how long it is kept that something was forgotten: as long as a
// machine may have been away that still remembers it.
const forgottenFor = keepLedger

// Memory is what a channel remembers on this machine.
func (s *Store) Memory(channel string) delivery.Memory { return memory{s, channel} }

// memory is a channel's share of the table of that name.
type memory struct {
	store   *Store
	channel string
}

// remembered is an entry as its row keeps it.
type remembered struct {
	key     string // vault.memoryKey
	mailbox string // vault.alias, "" for nobody's
	note    string // delivery.Entry.Note; in no row
	value   []byte // nil when it is gone
	until   time.Time
	at      int64 // when it was changed, in milliseconds; 0 for a row that is not there
	gone    bool
}

// lives says whether the entry is remembered.
func (r remembered) lives(now time.Time) bool {
	return r.at > 0 && !r.gone && (r.until.IsZero() || now.Before(r.until))
}

// remembered is an entry as it is to be kept.
func (m memory) remembered(e delivery.Entry) remembered {
	v := m.store.vault
	r := remembered{key: v.memoryKey(m.channel, e.Key), note: e.Note, value: e.Value}
	if e.Mailbox != "" {
		r.mailbox = v.alias(e.Mailbox)
	}
	if e.For > 0 {
		r.until = m.store.Now().Add(e.For)
	}
	return r
}

// Get implements delivery.Memory.
func (m memory) Get(ctx context.Context, key string) ([]byte, error) {
	r, err := m.store.recall(ctx, m.store.vault.memoryKey(m.channel, key))
	if err == nil && !r.lives(m.store.Now()) {
		err = delivery.ErrNotFound
	}
	if err != nil {
		return nil, m.failed(err)
	}
	return r.value, nil
}

// Put implements delivery.Memory.
func (m memory) Put(ctx context.Context, e delivery.Entry) error {
	_, err := m.store.revise(ctx, m.remembered(e), func(bool) bool { return true })
	return m.failed(err)
}

// Add implements delivery.Memory.
func (m memory) Add(ctx context.Context, e delivery.Entry) (added bool, err error) {
	_, err = m.store.revise(ctx, m.remembered(e), func(there bool) bool {
		added = !there
		return added
	})
	return added && err == nil, m.failed(err)
}

// Take implements delivery.Memory.
func (m memory) Take(ctx context.Context, key string) ([]byte, error) {
	value, err := m.store.forget(ctx, m.store.vault.memoryKey(m.channel, key))
	return value, m.failed(err)
}

// Delete implements delivery.Memory.
func (m memory) Delete(ctx context.Context, key string) error {
	if _, err := m.Take(ctx, key); !errors.Is(err, delivery.ErrNotFound) {
		return err
	}
	return nil
}

// failed says whose memory it was, unless that is the answer.
func (m memory) failed(err error) error {
	if err == nil || errors.Is(err, delivery.ErrNotFound) {
		return err
	}
	return fmt.Errorf("the memory of channel %s: %w", m.channel, err)
}

const selectMemory = "SELECT key, mailbox, value, until, at, gone FROM memory"

// recall reads an entry, which may be over or gone. delivery.ErrNotFound.
func (s *Store) recall(ctx context.Context, key string) (remembered, error) {
	return s.box.scanMemory(s.readers.QueryRowContext(ctx, selectMemory+" WHERE key = ?", key))
}

// scanMemory reads what selectMemory selects.
func (b *box) scanMemory(row scanner) (r remembered, err error) {
	var (
		until  int64
		sealed []byte
	)
	if err := row.Scan(&r.key, &r.mailbox, &sealed, &until, &r.at, &r.gone); err != nil {
		return r, found(err)
	}
	r.until = instant(until)
	if !r.gone {
		r.value, err = b.part("memory "+r.key).open("value", sealed)
	}
	return r, err
}

// orNone makes an entry that is not there of delivery.ErrNotFound.
func orNone(r remembered, err error) (remembered, error) {
	if errors.Is(err, delivery.ErrNotFound) {
		return remembered{}, nil
	}
	return r, err
}

// revise keeps an entry, if may says so of whether there is one, and returns
// the row that was there.
func (s *Store) revise(ctx context.Context, r remembered, may func(there bool) bool) (was remembered, err error) {
	return write(ctx, s, func(tx *txn) (remembered, error) {
		was, err := orNone(s.box.scanMemory(tx.row(selectMemory+" WHERE key = ?", r.key)))
		if err != nil {
			return was, err
		}
		if erased, err := tx.isErased(r); erased || err != nil {
			return was, err
		}
		now := tx.clock.Now()
		if !may(was.lives(now)) {
			return was, nil
		}
		r.at = max(now.UnixMilli(), was.at+1)
		return was, tx.remember(s.box, r, false)
	})
}

// isErased says that an entry comes from a note that has been erased with its
// mailbox. One that was being recorded then is there still.
func (t *txn) isErased(r remembered) (erased bool, err error) {
	if r.note == "" || r.mailbox == "" {
		return false, nil
	}
	err = t.row("SELECT EXISTS (SELECT 1 FROM erasure WHERE mailbox = ?1 AND upto >= ?2) AND NOT EXISTS (SELECT 1 FROM note WHERE id = ?2)",
		r.mailbox, r.note).Scan(&erased)
	return erased, err
}

// forget takes an entry, and keeps that it is gone. delivery.ErrNotFound.
func (s *Store) forget(ctx context.Context, key string) ([]byte, error) {
	var there bool
	was, err := s.revise(ctx, s.forgotten(key), func(lives bool) bool {
		there = lives
		return lives
	})
	if err == nil && !there {
		err = delivery.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return was.value, nil
}

// forgotten is what stays of an entry.
func (s *Store) forgotten(key string) remembered {
	return remembered{key: key, gone: true, until: s.Now().Add(forgottenFor)}
}

// remember keeps an entry, unless its row was changed later. told says whether
// the other machines know.
func (t *txn) remember(b *box, r remembered, told bool) error {
	sealed := []byte{}
	if !r.gone {
		sealed = b.part("memory "+r.key).seal("value", r.value)
	}
	if sealed == nil { // an empty value in clear
		sealed = []byte{}
	}
	_, err := t.exec(`INSERT INTO memory (key, mailbox, value, until, at, gone, told) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
		ON CONFLICT (key) DO UPDATE SET mailbox = ?2, value = ?3, until = ?4, at = ?5, gone = ?6, told = ?7 WHERE at < ?5`,
		r.key, r.mailbox, sealed, micros(r.until), r.at, r.gone, told)
	return err
}

// sweepMemory drops what need not be remembered any more.
func (s *Store) sweepMemory(ctx context.Context, now time.Time) error {
	for {
		var over bool
		err := s.readers.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM memory WHERE until > 0 AND until <= ?)", micros(now)).Scan(&over)
		if err != nil || !over {
			return err
		}
		_, err = write(ctx, s, func(tx *txn) (int64, error) {
			return tx.exec("DELETE FROM memory WHERE key IN (SELECT key FROM memory WHERE until > 0 AND until <= ? LIMIT ?)", micros(now), removeBatch)
		})
		if err != nil {
			return err
		}
	}
}

// shiftMemory moves the ends of what is remembered with a clock that was set
// back. With one that was set forth they stay: what was over stays over.
func (t *txn) shiftMemory(by time.Duration) error {
	_, err := t.exec("UPDATE memory SET until = until + ? WHERE until > 0 AND gone = 0", by.Microseconds())
	return err
}

// sealMemory seals what channels remember in a store in clear.
func (t *txn) sealMemory(b *box) error {
	rows, err := t.query(selectMemory)
	all, err := collect(rows, err, func(r scanner) (remembered, error) { return (&box{}).scanMemory(r) })
	if err != nil {
		return err
	}
	if _, err := t.exec("DELETE FROM memory"); err != nil {
		return err
	}
	for _, r := range all {
		if r.key, err = t.vault.keyedAlias(r.key); err != nil {
			return fmt.Errorf("what channels remember is damaged: %w", err)
		}
		if r.mailbox != "" {
			if r.mailbox, err = t.vault.keyedAlias(r.mailbox); err != nil {
				return fmt.Errorf("what channels remember is damaged: %w", err)
			}
		}
		if err := t.remember(b, r, false); err != nil {
			return err
		}
	}
	return nil
}

package store

import (
	"context"
	"errors"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// What channels remember is kept on every machine and, sealed for all of them,
// in Redis. Redis decides what counts: a change there gets a time after that of
// any change it follows, and each machine takes over what the others changed.
// While Redis is away a machine goes on with what it has, and what it changes
// is told later: of two changes to one key the later one stands.

// Memory is what a channel remembers on all machines. While Redis is away, Add
// and Take decide by what this machine knows: what two machines get at once is
// then done twice. A Take whose answer is lost fails.
func (f *Fleet) Memory(channel string) delivery.Memory {
	return fleetMemory{memory{f.Store, channel}, f}
}

type fleetMemory struct {
	memory
	fleet *Fleet
}

// own is what this machine knows of a key, which may be nothing.
func (m fleetMemory) own(ctx context.Context, key string) (remembered, error) {
	key = m.store.vault.memoryKey(m.channel, key)
	r, err := orNone(m.store.recall(ctx, key))
	r.key = key
	return r, m.failed(err)
}

// Get implements delivery.Memory.
func (m fleetMemory) Get(ctx context.Context, key string) ([]byte, error) {
	own, err := m.own(ctx, key)
	if err != nil {
		return nil, err
	}
	common, err := m.fleet.shared.Recall(ctx, own.key)
	if err == nil && common.At > own.at { // else it cannot be asked, or knows nothing better
		if own, err = m.fleet.takenOver(common); err != nil {
			return nil, m.failed(err)
		}
	}
	if !own.lives(m.store.Now()) {
		return nil, delivery.ErrNotFound
	}
	return own.value, nil
}

// Put implements delivery.Memory.
func (m fleetMemory) Put(ctx context.Context, e delivery.Entry) error {
	own, err := m.own(ctx, e.Key)
	if err != nil {
		return err
	}
	r := m.remembered(e)
	r.at = own.at
	at, err := m.fleet.shared.Remember(ctx, m.fleet.forAll(r))
	if err != nil {
		return m.memory.Put(ctx, e) // told later
	}
	if at == 0 { // the note has been erased
		return nil
	}
	r.at = at
	return m.failed(m.fleet.adoptMemories(ctx, r))
}

// Add implements delivery.Memory.
func (m fleetMemory) Add(ctx context.Context, e delivery.Entry) (bool, error) {
	own, err := m.own(ctx, e.Key)
	if err != nil {
		return false, err
	}
	r := m.remembered(e)
	r.at = own.at
	at, added, err := m.fleet.tellFirst(ctx, own, func() (int64, bool, error) { return m.fleet.shared.RememberFirst(ctx, m.fleet.forAll(r)) })
	if err != nil {
		return m.memory.Add(ctx, e) // rather twice than never
	}
	if !added {
		return false, nil
	}
	r.at = at
	err = m.fleet.adoptMemories(ctx, r)
	return err == nil, m.failed(err)
}

// tellFirst makes sure that Redis knows of an entry that lives, which it may
// have forgotten, before something is decided there.
func (f *Fleet) tellFirst(ctx context.Context, own remembered, decide func() (int64, bool, error)) (int64, bool, error) {
	if own.lives(f.Now()) {
		if err := f.shared.TellMemories(ctx, []shared.Memory{f.forAll(own)}); err != nil {
			return 0, false, err
		}
	}
	return decide()
}

// Take implements delivery.Memory.
func (m fleetMemory) Take(ctx context.Context, key string) ([]byte, error) {
	own, err := m.own(ctx, key)
	if err != nil {
		return nil, err
	}
	var value []byte
	at, there, err := m.fleet.tellFirst(ctx, own, func() (at int64, there bool, err error) {
		value, at, err = m.fleet.shared.Forget(ctx, own.key, own.at)
		if errors.Is(err, shared.ErrNotFound) {
			return 0, false, nil
		}
		return at, err == nil, err
	})
	switch {
	case errors.Is(err, shared.ErrAway):
		return m.memory.Take(ctx, key)
	case err != nil:
		return nil, m.failed(err)
	case !there:
		return nil, delivery.ErrNotFound
	}
	gone := m.store.forgotten(own.key)
	gone.at = at
	if err := m.fleet.adoptMemories(ctx, gone); err != nil {
		return nil, m.failed(err)
	}
	value, err = m.fleet.common.part("memory "+own.key).open("value", value)
	return value, m.failed(err)
}

// Delete implements delivery.Memory.
func (m fleetMemory) Delete(ctx context.Context, key string) error {
	if _, err := m.Take(ctx, key); !errors.Is(err, delivery.ErrNotFound) {
		return err
	}
	return nil
}

// forAll is an entry as all machines have it.
func (f *Fleet) forAll(r remembered) shared.Memory {
	m := shared.Memory{Key: r.key, Mailbox: r.mailbox, Note: r.note, At: r.at, Gone: r.gone}
	if !r.gone {
		m.Value = f.common.part("memory "+r.key).seal("value", r.value)
	}
	if !r.until.IsZero() {
		m.For = max(time.Millisecond, r.until.Sub(f.Now())) // 0 would be for good
	}
	return m
}

// takenOver is an entry that all machines have as a row keeps it.
func (f *Fleet) takenOver(m shared.Memory) (r remembered, err error) {
	r = remembered{key: m.Key, mailbox: m.Mailbox, at: m.At, gone: m.Gone}
	if m.For > 0 {
		r.until = f.Now().Add(m.For)
	}
	if !m.Gone {
		r.value, err = f.common.part("memory "+m.Key).open("value", m.Value)
	}
	return r, err
}

// adoptMemories keeps entries here as the other machines know them.
func (f *Fleet) adoptMemories(ctx context.Context, all ...remembered) error {
	_, err := write(ctx, f.Store, func(tx *txn) (any, error) {
		for _, r := range all {
			if erased, err := tx.isErased(r); erased {
				continue
			} else if err != nil {
				return nil, err
			}
			if err := tx.remember(f.box, r, true); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	return err
}

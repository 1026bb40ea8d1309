package store

import (
	"context"

	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// memoryPage is how many entries are told or taken over at once.
const memoryPage = 256

// recollected is how far this machine and the others know the same of what
// channels remember.
type recollected struct {
	changes [shared.Count]int64  // the last one that was taken over, by shard
	counted [shared.Count]string // the era in which they are counted
	told    [shared.Count]string // the era in which all that is known here was told
}

// recollect tells the other machines what channels remember here, and takes
// over what they changed.
func (f *Fleet) recollect(ctx context.Context, done *recollected) error {
	var eras [shared.Count]string
	for shard := range eras {
		eras[shard] = f.shared.Era(shard)
	}
	changes, err := f.shared.Changes(ctx)
	if err != nil {
		return err
	}
	for shard, last := range changes {
		from := done.changes[shard]
		if eras[shard] != done.counted[shard] || last < from {
			from = 0
		}
		if err := f.takeOver(ctx, shard, from, last); err != nil {
			return err
		}
		done.changes[shard], done.counted[shard] = last, eras[shard]
	}
	which := "told = 0 AND "
	if eras != done.told { // Redis, or this process, is new
		which = ""
	}
	if err = f.tellMemories(ctx, which); err == nil {
		done.told = eras
	}
	return err
}

// tellMemories tells the entries that a condition chooses.
func (f *Fleet) tellMemories(ctx context.Context, which string) error {
	for last := ""; ; {
		rows, err := f.readers.QueryContext(ctx, selectMemory+" WHERE "+which+"key > ? ORDER BY key LIMIT ?", last, memoryPage)
		page, err := collect(rows, err, func(r scanner) (remembered, error) { return f.box.scanMemory(r) })
		if err != nil || len(page) == 0 {
			return err
		}
		last = page[len(page)-1].key
		told := make([]shared.Memory, len(page))
		for i, r := range page {
			told[i] = f.forAll(r)
		}
		if err := f.shared.TellMemories(ctx, told); err != nil {
			return err
		}
		if err := f.keepTold(ctx, page); err != nil {
			return err
		}
	}
}

// keepTold keeps that the other machines know of entries.
func (f *Fleet) keepTold(ctx context.Context, page []remembered) error {
	_, err := write(ctx, f.Store, func(tx *txn) (any, error) {
		for _, r := range page {
			if _, err := tx.exec("UPDATE memory SET told = 1 WHERE key = ? AND at = ? AND told = 0", r.key, r.at); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	return err
}

// takeOver takes over the changes in a shard from one to another.
func (f *Fleet) takeOver(ctx context.Context, shard int, from, to int64) error {
	for from < to {
		last, err := f.takeOverPage(ctx, shard, from)
		if err != nil || last == from {
			return err
		}
		from = last
	}
	return nil
}

// takeOverPage takes over the next changes in a shard, as far as they are newer
// than what this machine has, and returns the last of them.
func (f *Fleet) takeOverPage(ctx context.Context, shard int, from int64) (last int64, err error) {
	f.erasing.Lock() // what is erased meanwhile would come back
	defer f.erasing.Unlock()
	changed, last, err := f.shared.Recollect(ctx, shard, from, memoryPage)
	if err != nil {
		return from, err
	}
	var (
		fresh  []remembered
		erased bool
	)
	for _, m := range changed {
		own, err := orNone(f.recall(ctx, m.Key))
		if err != nil {
			return from, err
		}
		if own.at >= m.At {
			continue
		}
		r, err := f.takenOver(m)
		if err != nil {
			f.strange.Do(func() {
				f.log.Warn("what other machines remember cannot be opened here; give all machines the same store.key_file", "error", err)
			})
			continue
		}
		fresh, erased = append(fresh, r), erased || (m.Erased && own.lives(f.Now()))
	}
	if len(fresh) > 0 {
		err = f.adoptMemories(ctx, fresh...)
	}
	if err == nil && erased {
		err = f.checkpoint(ctx)
	}
	return last, err
}

// withdrawMemory takes out what channels remember, as far as this machine knows
// it, which is all but what the others are just about to tell.
func (f *Fleet) withdrawMemory(ctx context.Context) error {
	for last := ""; ; {
		rows, err := f.readers.QueryContext(ctx, "SELECT key FROM memory WHERE key > ? ORDER BY key LIMIT ?", last, memoryPage)
		page, err := collect(rows, err, func(r scanner) (key string, err error) { return key, r.Scan(&key) })
		if err != nil {
			return err
		}
		if err := f.shared.Unrecord(ctx, page); err != nil || len(page) == 0 {
			return err
		}
		last = page[len(page)-1]
	}
}

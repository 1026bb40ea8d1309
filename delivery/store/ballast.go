package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// ballastBytes are given up when the disk is full: without them the database
// cannot even record a delivery.
const ballastBytes = 4 << 20

// restoreAgain is how long it is not tried to put the ballast back after that
// failed, or after it made room below a quota, which free bytes do not show: each
// try takes for a moment what is left for the database.
const restoreAgain = 10 * time.Second

// ballast is a file of real blocks in the store's folder. The writer drops it
// when a commit finds no space, so that what has happened is still recorded.
// While it is away no call is taken.
type ballast struct {
	path   string
	remove func(path string) error
	log    *slog.Logger

	aboard atomic.Bool
	mu     sync.Mutex // guards the file while it is dropped or put back
	waits  time.Time  // since when it is not put back
	why    error
}

// find looks whether an earlier process left the ballast whole.
func (b *ballast) find() {
	info, err := os.Stat(b.path)
	b.aboard.Store(err == nil && info.Size() == ballastBytes)
}

// drop gives the room up, below a quota or on a full disk. It says whether there
// was any to give.
func (b *ballast) drop(quota bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.aboard.Swap(false) {
		return false
	}
	if quota {
		b.waits, b.why = time.Now(), fmt.Errorf("%w: %w", delivery.ErrFull, errQuota)
	}
	b.log.Error("the disk is full, or a quota of it is used up: no call is taken until there is room; notes go on", "file", b.path)
	err := b.remove(b.path)
	if err != nil {
		b.log.Error("the ballast could not be dropped", "error", err)
	}
	return err == nil
}

// restore puts the ballast back once spare bytes are enough for it;
// delivery.ErrFull until then.
func (b *ballast) restore(spare int64) error {
	if b.aboard.Load() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.aboard.Load(): // somebody was faster
		return nil
	case spare < ballastBytes:
		return fmt.Errorf("%w: the disk was full, %s MB more are needed beside %s: make room there",
			delivery.ErrFull, megabytes(ballastBytes-spare+1<<20), b.path)
	}
	if time.Since(b.waits) < restoreAgain {
		return b.why
	}
	if err := writeBallast(b.path); err != nil {
		b.waits, b.why = time.Now(), fmt.Errorf("%w: the ballast cannot be put back: %w", delivery.ErrFull, err)
		return b.why
	}
	b.aboard.Store(true)
	return nil
}

// writeBallast fills the file with what no file system can leave out. It is not
// synced: its room is taken as of the write, and nothing in it is worth more.
func writeBallast(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, ballastBytes)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// disk is what the store asks of the file system beyond package os. Tests put
// a disk that is full or failing in its place.
type disk struct {
	// reserve keeps room for bytes at the start of an empty file without
	// changing its length. errors.ErrUnsupported where the file system cannot.
	reserve func(f *os.File, bytes int64) error
	// sync makes what was written to a file durable, or the names in a folder.
	sync func(f *os.File) error
	// syncAll does so for all of the file system that f lies on.
	syncAll func(f *os.File) error
	// free is how many bytes this user may still write below path.
	free func(path string) (int64, error)
	// overQuota says whether what is written below a folder is refused since a
	// quota is used up.
	overQuota func(folder string) bool
	// remove deletes a file.
	remove func(path string) error
}

// realDisk is the disk of the machine.
func realDisk() disk {
	return disk{reserve: reserve, sync: (*os.File).Sync, syncAll: syncFS, free: freeSpace, overQuota: overQuota, remove: os.Remove}
}

// failure is the disk's first refusal to keep what was written. From then on
// the store takes and changes nothing: the kernel drops the pages of a failed
// sync and reports the next one as a success, so only reading them back after
// a restart tells what is there.
type failure struct {
	first atomic.Pointer[error]
}

// set keeps err if it is the first and reports whether it was.
func (f *failure) set(err error) bool {
	err = fmt.Errorf("the disk failed, nothing more is kept until a restart: %w", err)
	return f.first.CompareAndSwap(nil, &err)
}

// get returns the failure, or nil.
func (f *failure) get() error {
	if p := f.first.Load(); p != nil {
		return *p
	}
	return nil
}

// probeBytes is far more than sqlite writes at once: what it was refused, this is
// too.
const probeBytes = 1 << 20

func overQuota(folder string) bool {
	f, err := os.OpenFile(filepath.Join(folder, "probe"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(randomBytes(probeBytes)) // no file system can leave it out
		_ = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	return errors.Is(err, unix.EDQUOT)
}

// isDiskFailure tells an error of the database that comes from a failing disk
// from one that comes from a full disk or a wrong statement.
func isDiskFailure(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	primary := e.Code() & 0xff // the rest is the extended code
	return (primary == sqlite3.SQLITE_IOERR && !isFull(err)) || primary == sqlite3.SQLITE_CORRUPT
}

// isFull tells an error of the database that comes from a full disk; it may
// also be the index of the write-ahead log that has no room to grow.
func isFull(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_FULL || e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE)
}

// isRefused tells an error of the database that comes from a write that was
// refused. sqlite keeps no errno of it: a quota that is used up looks like a
// failing disk.
func isRefused(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code() == sqlite3.SQLITE_IOERR_WRITE
}

package store

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

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
	// remove deletes a file.
	remove func(path string) error
}

// realDisk is the disk of the machine.
func realDisk() disk {
	return disk{reserve: reserve, sync: (*os.File).Sync, syncAll: syncFS, free: freeSpace, remove: os.Remove}
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

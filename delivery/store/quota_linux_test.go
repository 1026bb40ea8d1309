package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/afterbeep/afterbeep/delivery"
)

// refuseWrites has the database's log take no more writes, which sqlite reports
// as it does a quota that is used up, until allow is called.
func refuseWrites(t *testing.T, s *Store) (allow func()) {
	t.Helper()
	wal := filepath.Join(s.path, databaseName+"-wal")
	readOnly, err := os.Open(wal)
	check(t, err)
	defer func() { check(t, readOnly.Close()) }()
	open, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	held := map[int]int{} // what the log's descriptors were, by descriptor
	for _, entry := range open {
		fd, err := strconv.Atoi(entry.Name())
		check(t, err)
		if to, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && to == wal && fd != int(readOnly.Fd()) {
			held[fd] = -1
		}
	}
	for fd := range held {
		held[fd], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		check(t, errors.Join(err, unix.Dup3(int(readOnly.Fd()), fd, unix.O_CLOEXEC)))
	}
	if len(held) == 0 {
		t.Fatal("the log is not open")
	}
	return func() {
		for fd, was := range held {
			if err := errors.Join(unix.Dup3(was, fd, unix.O_CLOEXEC), unix.Close(was)); err != nil {
				t.Error(err)
			}
		}
		clear(held)
	}
}

// quotaDisk is a disk whose quota is asked for by used, and given room by
// dropping the ballast.
func quotaDisk(used func() bool, drop func()) disk {
	d := realDisk()
	d.overQuota = func(string) bool { return used() }
	d.remove = func(path string) error {
		drop()
		return os.Remove(path)
	}
	return d
}

// A quota that is used up counts as a full disk: what has happened is recorded
// in the ballast's room, no call is taken until there is more, and then all goes
// on.
func TestQuota(t *testing.T) { everywhere(t, testQuota) }

func testQuota(t *testing.T, c composition) {
	used, allow := false, func() {}
	s, err := open(c.options(t, t.TempDir()), quiet(), quotaDisk(func() bool { return used }, func() { allow() }))
	check(t, err)
	defer closeStore(t, s)
	first := keep(t, s, newNote("101", "201"), chainTo("crm"))[0]
	second := keep(t, s, newNote("101", "202"), chainTo("crm"))[0]

	used, allow = true, refuseWrites(t, s)
	finish(t, s, first, delivery.Result{Outcome: delivery.Done})
	if j := life(t, s, first.Note.ID).Jobs[0]; j.State != delivery.JobDelivered || s.ballast.aboard.Load() {
		t.Errorf("the job is %s, the ballast aboard: %t", j.State, s.ballast.aboard.Load())
	}

	refused := func(why string) {
		t.Helper()
		if _, err := s.Begin(t.Context(), newNote("101", "203"), 0); !errors.Is(err, delivery.ErrFull) || !strings.Contains(err.Error(), why) {
			t.Errorf("Begin: %v, want %q", err, why)
		}
	}
	refused("quota") // its room is for the database
	allow = refuseWrites(t, s)
	check(t, os.Mkdir(s.ballast.path, 0o700)) // nor can the ballast be written
	s.ballast.waits = time.Time{}
	refused("put back")
	err = s.Finish(t.Context(), second, delivery.Result{Outcome: delivery.Done})
	if !errors.Is(err, errQuota) || s.Failed() {
		t.Errorf("without ballast: %v, the disk failed: %t", err, s.Failed())
	}

	used = false
	allow()
	check(t, os.Remove(s.ballast.path))
	refused("put back") // it is not tried again at once
	s.ballast.waits = s.ballast.waits.Add(-restoreAgain)
	check(t, s.Ready(t.Context()))
	finish(t, s, second, delivery.Result{Outcome: delivery.Done})
	begin(t, s, newNote("101", "203"))
	if !s.ballast.aboard.Load() {
		t.Error("the ballast was not put back")
	}
}

// Room that comes just after a write was refused ends nothing; a disk that goes
// on refusing has failed.
func TestRefusedWrite(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("again ", again), func(t *testing.T) {
			allow := func() {}
			s, err := open(Options{Path: t.TempDir()}, quiet(), quotaDisk(func() bool {
				if !again {
					allow()
				}
				return false
			}, func() { t.Error("the ballast was dropped") }))
			check(t, err)
			defer closeStore(t, s)
			l := keep(t, s, newNote("101", "201"), chainTo("crm"))[0]
			allow = refuseWrites(t, s)
			err = s.Finish(t.Context(), l, delivery.Result{Outcome: delivery.Done})
			if (err != nil) != again || s.Failed() != again {
				t.Errorf("Finish: %v, the disk failed: %t", err, s.Failed())
			}
			allow()
		})
	}
}

// Room that comes while the disk is asked is used, though no ballast is there to
// be dropped: to try to put it back takes for a moment what there is.
func TestRoomBelowAQuota(t *testing.T) {
	allow := func() {}
	s, err := open(Options{Path: t.TempDir()}, quiet(), quotaDisk(func() bool { allow(); return true }, func() {}))
	check(t, err)
	defer closeStore(t, s)
	l := keep(t, s, newNote("101", "201"), chainTo("crm"))[0]
	s.ballast.aboard.Store(false)
	allow = refuseWrites(t, s)
	finish(t, s, l, delivery.Result{Outcome: delivery.Done})
}

// A folder that takes writes is below every quota, and nothing is left of the
// asking.
func TestBelowQuota(t *testing.T) {
	folder := t.TempDir()
	if overQuota(folder) {
		t.Error("over a quota")
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

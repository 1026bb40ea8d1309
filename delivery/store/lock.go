package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/afterbeep/afterbeep/delivery"
)

// lockPoll is how often a lock is asked for while Open waits.
const lockPoll = 50 * time.Millisecond

// acquireLock takes the lock file at path for this process and writes its pid
// there. The kernel releases it when the process ends, however it ends. After
// wait it gives up with delivery.ErrLocked.
func acquireLock(path string, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(wait); ; time.Sleep(lockPoll) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) || !time.Now().Before(deadline) {
			break
		}
	}
	if err == nil {
		err = writePID(f)
	} else if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w: %s holds %s; stop it, or name another folder in store.path", delivery.ErrLocked, lockHolder(f), path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

// lockHolder names the process that wrote its pid into a lock file.
func lockHolder(f *os.File) string {
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if pid := strings.TrimSpace(string(b)); pid != "" {
		return "process " + pid
	}
	return "another process"
}

//go:build unix && !linux

package store

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func reserve(*os.File, int64) error { return errors.ErrUnsupported }

// syncFS is sync(2), which may return before the disk is done: a power cut can
// cost more of a tape than on Linux.
func syncFS(*os.File) error { return unix.Sync() }

func freeSpace(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("statfs: %w", err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

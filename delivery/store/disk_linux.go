package store

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func reserve(f *os.File, bytes int64) error {
	if bytes <= 0 {
		return nil
	}
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, bytes); err != nil {
		return fmt.Errorf("fallocate: %w", err)
	}
	return nil
}

// syncFS reports write errors since Linux 5.8 (syncfs(2)).
func syncFS(f *os.File) error {
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("syncfs: %w", err)
	}
	return nil
}

func freeSpace(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, fmt.Errorf("statfs: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

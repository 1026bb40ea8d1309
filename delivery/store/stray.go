package store

import (
	"context"

	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// dropStrays gives leases back that nobody uses: an attempt that ended just
// while Redis was told that it is under way leaves one. A lease that is just
// being written down is no stray, hence the second look.
func (f *Fleet) dropStrays(ctx context.Context) error {
	strays := map[string]int{} // epochs by job
	for _, j := range f.shared.Leases() {
		used, err := f.inUse(ctx, j)
		switch {
		case err != nil:
			return err
		case used:
		case f.strays[j.ID] == j.Epoch:
			if err := f.dropStray(ctx, j); err != nil {
				return err
			}
		default:
			strays[j.ID] = j.Epoch
		}
	}
	f.strays = strays
	return nil
}

// dropStray gives a lease back, unless it is written down after all. It cannot
// be begun from the first step on: without a row then, it never will be, and
// with one it may have been before, so that it runs out.
func (f *Fleet) dropStray(ctx context.Context, j shared.Job) error {
	f.shared.Abandon(j)
	used, err := f.inUse(ctx, j)
	if err == nil && !used {
		_ = f.shared.Release(ctx, j) // it runs out otherwise
	}
	return err
}

// inUse says whether a lease has a row, by which it may be begun.
func (f *Fleet) inUse(ctx context.Context, j shared.Job) (used bool, err error) {
	err = f.readers.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM attempt WHERE job = ? AND epoch = ? AND settled = 0)", j.ID, j.Epoch).Scan(&used)
	return used, err
}

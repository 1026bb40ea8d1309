package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// sweep removes files that a crash left: those of notes whose rows say that
// they have none, and those without a note once they are old. It counts these.
func (s *Store) sweep(ctx context.Context, now time.Time) (orphans int, err error) {
	var stuck []error
	err = s.strays(ctx, []string{"tapes", "notes"}, func(path string, modified time.Time, known bool) error {
		if !known && (now.Sub(modified) < orphanAge || !modified.Before(s.left.opened)) {
			return nil
		}
		if err := os.Remove(path); err != nil {
			stuck = append(stuck, err) // the others go
		} else if !known {
			orphans++
		}
		return nil
	})
	return orphans, errors.Join(err, errors.Join(stuck...))
}

// strays calls do with each file of the trees that no row claims. known: its
// note has a row, which says that it has no files.
func (s *Store) strays(ctx context.Context, trees []string, do func(path string, modified time.Time, known bool) error) error {
	for _, tree := range trees {
		folders, err := os.ReadDir(filepath.Join(s.path, tree))
		if err != nil {
			return err
		}
		for _, folder := range folders {
			if err := s.straysIn(ctx, filepath.Join(s.path, tree, folder.Name()), do); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) straysIn(ctx context.Context, folder string, do func(string, time.Time, bool) error) error {
	files, err := os.ReadDir(folder) // before the rows: one that is new has its row soon
	if err != nil {
		return err
	}
	type row struct {
		id    string
		files bool
	}
	rows, err := s.readers.QueryContext(ctx, "SELECT id, files FROM note WHERE id >= ?1 AND id < ?1 || '~'", filepath.Base(folder))
	all, err := collect(rows, err, func(r scanner) (n row, err error) { return n, r.Scan(&n.id, &n.files) })
	if err != nil {
		return err
	}
	claimed := make(map[string]bool, len(all))
	for _, n := range all {
		claimed[n.id] = n.files
	}
	for _, file := range files {
		has, known := claimed[file.Name()]
		if has {
			continue
		}
		info, err := file.Info()
		if err != nil {
			continue // gone meanwhile
		}
		if err := do(filepath.Join(folder, file.Name()), info.ModTime(), known); err != nil {
			return err
		}
	}
	return nil
}

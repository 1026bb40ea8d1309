package store

import (
	"bytes"
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/afterbeep/afterbeep/delivery"
)

// Settings of a store that is sealed.
const (
	settingKey     = "key"     // of the store's own box, wrapped
	settingIndex   = "index"   // a keyed hash: tells another index of the key file
	settingSealing = "sealing" // there while a store that was in clear is being sealed

	storeOwner = "store"

	// sealBatch is how many notes or files are sealed with one sync.
	sealBatch = 256
)

var (
	errNeedsKeys = errors.New("this store is sealed: set store.key_file to the file that it was sealed with")
	errInUse     = errors.New("another program has the database open: end it")
	errIndex     = errors.New("store.key_file is not the file that this store was sealed with, its index line is another: put that file back")
	errUntold    = errors.New("what this machine did for others was not told them yet: start it once with store.redis and without store.key_file")
	errHalf      = errors.New("this store is being sealed and that was interrupted: start the gateway, which goes on with it")
)

// admit checks that the key file is the one that the store was sealed with,
// before anything is changed. A store in clear gets no box of its own here when
// it is to be sealed: see sealAll.
func (s *Store) admit(ctx context.Context, version int, asIs bool) error {
	var key, index []byte
	if version >= 2 {
		err := s.conn.QueryRowContext(ctx, "SELECT coalesce((SELECT value FROM setting WHERE name = ?), x''), coalesce((SELECT value FROM setting WHERE name = ?), x'')",
			settingKey, settingIndex).Scan(&key, &index)
		if err != nil {
			return err
		}
	}
	switch sealed := len(key) > 0; {
	case !sealed && (asIs || !s.vault.seals()):
		s.vault, s.box = &vault{}, &box{owner: storeOwner}
		return nil
	case !sealed:
		return nil
	case !s.vault.seals():
		return errNeedsKeys
	case !hmac.Equal(index, s.vault.hash(settingIndex)):
		return errIndex
	}
	var err error
	s.box, err = s.vault.open(storeOwner, key)
	return err
}

// Sealed says whether the store seals what it keeps.
func (s *Store) Sealed() bool { return s.vault.seals() }

// sealAll seals a store that was in clear, at the first start with a key file,
// and goes on with it after a crash: each note has its key on disk before any
// of its files is sealed with it.
func (s *Store) sealAll(ctx context.Context, asIs bool) error {
	if s.box == nil {
		s.box = s.vault.mint(storeOwner)
		if _, err := write(ctx, s, func(tx *txn) (any, error) { return nil, tx.beginSealing(s.box) }); err != nil {
			return fmt.Errorf("seal the store: %w", err)
		}
	}
	var sealing int
	err := s.readers.QueryRowContext(ctx, "SELECT count(*) FROM setting WHERE name = ?", settingSealing).Scan(&sealing)
	if err != nil || sealing == 0 {
		return err
	}
	if asIs {
		return errHalf
	}
	for _, step := range []func(context.Context) error{s.sealNotes, s.sealTapes, s.sealFiles, s.compact} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("seal the store: %w", err)
		}
	}
	_, err = write(ctx, s, func(tx *txn) (any, error) { return tx.exec("DELETE FROM setting WHERE name = ?", settingSealing) })
	if err == nil {
		s.log.Info("the store is sealed")
	}
	return err
}

// beginSealing keeps the key of the store's box and seals what belongs to no note.
func (t *txn) beginSealing(b *box) error {
	for name, value := range map[string][]byte{settingKey: t.vault.wrap(b), settingIndex: t.vault.hash(settingIndex), settingSealing: {}} {
		if _, err := t.exec("INSERT INTO setting (name, value) VALUES (?, ?)", name, value); err != nil {
			return err
		}
	}
	if err := t.sealFleet(); err != nil {
		return err
	}
	var key []byte
	err := found(t.row("SELECT value FROM setting WHERE name = 'signing_key'").Scan(&key))
	if err == nil {
		_, err = t.exec("UPDATE setting SET value = ? WHERE name = 'signing_key'", b.seal("signing_key", key))
	}
	if err != nil && !errors.Is(err, delivery.ErrNotFound) {
		return err
	}
	rows, err := t.query("SELECT body FROM link")
	links, err := collect(rows, err, func(r scanner) (l linkBody, err error) {
		var body []byte
		if err := r.Scan(&body); err != nil {
			return l, err
		}
		return l, (&box{owner: storeOwner}).openJSON("link", body, &l)
	})
	if err != nil {
		return err
	}
	if _, err := t.exec("DELETE FROM link"); err != nil {
		return err
	}
	for _, l := range links {
		if _, err := t.addLink(b, l); err != nil {
			return err
		}
	}
	return t.sealMemory(b)
}

// sealNotes seals the rows of every note in clear.
func (s *Store) sealNotes(ctx context.Context) error {
	done := 0
	for last := ""; ; {
		ids, err := write(ctx, s, func(tx *txn) ([]string, error) { return tx.sealNotes(last) })
		if err != nil || len(ids) == 0 {
			return err
		}
		last = ids[len(ids)-1]
		done += len(ids)
		s.log.Info("sealing the store", "notes", done)
	}
}

// sealNotes seals the next notes after an id, and says which those were.
func (t *txn) sealNotes(after string) (ids []string, err error) {
	rows, err := t.query("SELECT "+noteColumns+" FROM note WHERE key = x'' AND id > ? ORDER BY id LIMIT ?", after, sealBatch)
	notes, err := collect(rows, err, func(r scanner) (kept, error) { return (&vault{}).scanNote(r) })
	if err != nil {
		return nil, err
	}
	for _, n := range notes {
		if err := t.sealNote(n, t.vault.mint(n.ID)); err != nil {
			return nil, err
		}
		ids = append(ids, n.ID)
	}
	return ids, nil
}

// sealNote seals with b the rows of a note in clear.
func (t *txn) sealNote(n kept, b *box) error {
	body, err := b.sealJSON("body", n.Note)
	if err != nil {
		return err
	}
	_, err = t.exec("UPDATE note SET key = ?, mailbox = ?, body = ? WHERE id = ?", t.vault.wrap(b), t.vault.mailbox(n.Recipient.Number), body, n.ID)
	if err != nil {
		return err
	}
	if err := t.sealJobs(b); err != nil {
		return err
	}
	type event struct {
		seq  int64
		body []byte
	}
	rows, err := t.query("SELECT seq, body FROM event WHERE note = ?", n.ID)
	events, err := collect(rows, err, func(r scanner) (e event, err error) { return e, r.Scan(&e.seq, &e.body) })
	if err != nil {
		return err
	}
	for _, e := range events {
		if _, err := t.exec("UPDATE event SET body = ? WHERE seq = ?", b.seal("event", e.body), e.seq); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) sealJobs(b *box) error {
	type job struct {
		id, receipt   string
		thread, chain []byte
	}
	rows, err := t.query("SELECT id, receipt, thread, chain FROM job WHERE note = ?", b.owner)
	jobs, err := collect(rows, err, func(r scanner) (j job, err error) { return j, r.Scan(&j.id, &j.receipt, &j.thread, &j.chain) })
	if err != nil {
		return err
	}
	for _, j := range jobs {
		_, err := t.exec("UPDATE job SET chain = ?, thread = ?, receipt = ? WHERE id = ?",
			b.seal("chain", j.chain), t.vault.sealThread(j.thread), t.vault.index("receipt", j.receipt), j.id)
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) sealTapes(ctx context.Context) error {
	return s.rewrite(ctx, "tapes", func(n kept, tape []byte) []byte { return sealTape(n.box, tape) })
}

func (s *Store) sealFiles(ctx context.Context) error { return s.rewrite(ctx, "notes", sealFile) }

// rewrite replaces each file of a note below a folder by what change makes of
// it, nil for no change. A file without a note is sealed with the store's box.
func (s *Store) rewrite(ctx context.Context, what string, change func(kept, []byte) []byte) error {
	folder := filepath.Join(s.path, what)
	files, err := fs.Glob(os.DirFS(folder), "?????/*")
	if err != nil {
		return err
	}
	done := 0
	for batch := range slices.Chunk(files, sealBatch) {
		var changed []string
		for _, name := range batch {
			path := filepath.Join(folder, name)
			ok, err := s.rewriteOne(ctx, path, change)
			if err != nil {
				return err
			}
			if ok {
				changed = append(changed, path)
			}
		}
		if len(changed) == 0 {
			continue
		}
		if err := s.syncTapes(); err != nil { // the new files are on disk before they take a name
			return err
		}
		for _, path := range changed {
			if err := os.Rename(path+".new", path); err != nil {
				return err
			}
		}
		done += len(changed)
		s.log.Info("sealing the store", "files", done, "folder", folder)
	}
	if len(files) == 0 {
		return nil
	}
	return s.syncTapes()
}

// rewriteOne writes what a file becomes beside it, and says whether it changes.
func (s *Store) rewriteOne(ctx context.Context, path string, change func(kept, []byte) []byte) (bool, error) {
	id := filepath.Base(path)
	if !delivery.ValidID(id) {
		return false, nil
	}
	n, err := s.note(ctx, id)
	if errors.Is(err, delivery.ErrNotFound) {
		n, err = kept{box: s.box}, nil
	}
	if err != nil {
		return false, err
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	if file = change(n, file); file == nil {
		return false, nil
	}
	return true, os.WriteFile(path+".new", file, 0o600)
}

// sealFile seals a note's file, unless that is done.
func sealFile(n kept, file []byte) []byte {
	if hexSum(file) != n.Media.SHA256 {
		if _, err := n.box.open("file", bytes.Clone(file)); err == nil {
			return nil
		}
	}
	return n.box.seal("file", file)
}

// sealTape seals a tape frame by frame, unless that is done. What follows its
// last whole frame is kept as it is.
func sealTape(b *box, tape []byte) []byte {
	if len(tape) == 0 || tape[0] == frameSealed || tape[0] == frameRest {
		return nil
	}
	in := frames{box: &box{}, r: bytes.NewReader(tape)}
	var sealed []byte
	for {
		record, err := in.next(int64(len(tape)))
		if err != nil {
			break // the end, or damage
		}
		sealed = appendKind(sealed, b, frameSealed, in.sequence-1, record)
	}
	for rest := range slices.Chunk(tape[in.offset:], maxRecord) {
		sealed = appendKind(sealed, b, frameRest, in.sequence, rest)
	}
	return sealed
}

// compact rewrites the database, so that no page holds what was there in clear.
func (s *Store) compact(ctx context.Context) error {
	file := filepath.Join(s.path, databaseName)
	fresh := file + ".new"
	if err := s.copyDatabase(ctx, fresh); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	err := s.closeDatabase() // its log goes too
	s.db, s.conn, s.readers, s.writer = nil, nil, nil, nil
	if err != nil {
		return err
	}
	// sqlite would take a log that is left for that of the new database.
	if _, err := os.Stat(file + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(errInUse, err, os.Remove(fresh))
	}
	if err := s.fsync(s.path); err != nil { // that it is gone comes before the new name
		return err
	}
	if err := os.Rename(fresh, file); err != nil {
		return err
	}
	if err := s.fsync(s.path); err != nil {
		return err
	}
	if err := s.openDatabase(ctx); err != nil {
		return err
	}
	s.startWriter(ctx)
	return nil
}

// copyDatabase writes what the database holds, and nothing of what it held, to
// a new file.
func (s *Store) copyDatabase(ctx context.Context, fresh string) error {
	if err := os.WriteFile(fresh, nil, 0o600); err != nil {
		return err
	}
	if _, err := s.conn.ExecContext(ctx, "VACUUM INTO ?", fresh); err != nil {
		return fmt.Errorf("rewrite the database, which needs room for a second one beside it: %w", err)
	}
	return s.fsync(fresh)
}

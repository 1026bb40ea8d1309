package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/afterbeep/afterbeep/delivery"
)

var (
	_ delivery.Drafts = (*Store)(nil)
	_ delivery.Queue  = (*Store)(nil)
	_ delivery.Notes  = (*Store)(nil)
	_ delivery.Inbox  = (*Store)(nil)
	_ delivery.Links  = (*Store)(nil)
)

// databaseName is the name of the database in the store's folder.
const databaseName = "store.db"

// errClosed is what every change gets after Close.
var errClosed = errors.New("the store is closed")

// Store is the embedded store. Its methods may be called by many goroutines.
type Store struct {
	path string
	log  *slog.Logger
	disk disk

	operator []string // the events that he is told of
	alone    bool     // as txn.alone

	clock   delivery.Clock
	vault   *vault
	box     *box // of what belongs to no note: links, secrets, what channels remember
	lock    *os.File
	dir     *os.File // path, for syncfs
	db      *sql.DB
	conn    *sql.Conn // the writer's, of db
	readers *sql.DB
	writer  *writer
	flusher *flusher
	syncing chan struct{} // one value for each fsync under way
	failure failure
	ballast *ballast

	owed       atomic.Int64 // promised to open drafts where the disk cannot reserve
	drafts     openDrafts
	left       unfinished
	unread     unread
	retirement retirement
	wake       chan struct{}
	watches    watches
	changed    func(mailbox string) // Options.Changed, never nil
}

// Open opens or creates the store and takes up what an earlier process left:
// jobs that were being sent are queued again, their outcome unknown; drafts
// wait for Unfinished. delivery.ErrLocked when another process has it open.
func Open(o Options, log *slog.Logger) (*Store, error) {
	return open(o, log, realDisk())
}

func open(o Options, log *slog.Logger, d disk) (*Store, error) {
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.Changed == nil {
		o.Changed = func(string) {}
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", o.Path, err)
	}
	s := &Store{
		path: path, log: log, disk: d, operator: o.Operator, alone: o.Redis == "" && !o.Fleet,
		clock: delivery.ClockOn(o.Wall), changed: o.Changed, wake: make(chan struct{}, 1), syncing: make(chan struct{}, maxSyncs),
		ballast: &ballast{path: filepath.Join(path, "ballast"), remove: d.remove, log: log},
	}
	if err := s.start(context.Background(), o); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", path, err), s.Close())
	}
	return s, nil
}

func (s *Store) start(ctx context.Context, o Options) (err error) {
	if s.vault, err = openVault(o.KeyFile); err != nil {
		return err
	}
	for _, dir := range []string{s.path, filepath.Join(s.path, "tapes"), filepath.Join(s.path, "notes")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("set store.path to a folder this user may write: %w", err)
		}
	}
	if s.lock, err = acquireLock(filepath.Join(s.path, "lock"), o.Wait); err != nil {
		return err
	}
	if s.dir, err = os.Open(s.path); err != nil {
		return err
	}
	if err := s.openDatabase(ctx); err != nil {
		return err
	}
	version, err := schemaVersion(ctx, s.conn)
	if err != nil {
		return err
	}
	if err := s.admit(ctx, version, o.AsIs); err != nil {
		return err
	}
	if err := upgrade(ctx, s.conn, version); err != nil {
		return err
	}
	kept, err := keptClock(ctx, s.conn) // before a commit keeps a new one
	if err != nil {
		return err
	}
	s.ballast.find()
	s.startWriter(ctx)
	s.flusher = newFlusher(s.syncTapes)
	if err := s.settleClock(ctx, kept); err != nil {
		return err
	}
	if err := s.sealAll(ctx, o.AsIs); err != nil {
		return err
	}
	if err := s.takeUp(ctx); err != nil {
		return err
	}
	if s.alone && !o.AsIs {
		if err := s.takeHome(ctx); err != nil {
			return err
		}
	}
	if err := s.checkSpace(0); err != nil { // as the first call will hear
		s.log.Warn("no call can be taken now", "error", err)
	}
	return nil
}

// openDatabase opens the writer's connection and the readers' pool.
func (s *Store) openDatabase(ctx context.Context) error {
	file := filepath.Join(s.path, databaseName)
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600) // sqlite gives its other files the same mode
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	// Without temp_store sqlite writes parts of big changes and sorts, in clear
	// if need be, to a temporary folder, and fails where a container has none.
	dsn := "file:" + (&url.URL{Path: file}).EscapedPath() + fmt.Sprintf("?_busy_timeout=%d&_pragma=temp_store(memory)", busyTimeout.Milliseconds())
	if s.db, err = sql.Open("sqlite", dsn+"&_journal_mode=WAL&_synchronous=FULL&_pragma=secure_delete(1)"); err != nil {
		return err
	}
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	if s.readers, err = sql.Open("sqlite", dsn+"&_query_only=1"); err != nil {
		return err
	}
	s.readers.SetMaxOpenConns(maxReaders)
	s.readers.SetMaxIdleConns(maxReaders)
	return nil
}

func (s *Store) startWriter(ctx context.Context) {
	s.writer = newWriter(&txn{
		clock: s.clock, vault: s.vault, operator: s.operator, alone: s.alone, unreadable: s.unreadable, ctx: ctx, conn: s.conn,
	}, s.ballast, s.fail, func() bool { return s.disk.overQuota(s.path) })
}

// Close writes out what is left and gives the store free for another process.
// Drafts that are still open are taken up by the next Open.
func (s *Store) Close() error {
	s.watches.close()
	if s.flusher != nil {
		s.flusher.close()
	}
	errs := []error{s.closeDatabase()}
	for _, f := range []*os.File{s.dir, s.lock} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *Store) closeDatabase() error {
	var errs []error
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(errs...)
}

// Ready says whether the store can keep another recording: it writes to the
// database and looks for free space.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.checkSpace(0); err != nil {
		return err
	}
	_, err := write(ctx, s, func(tx *txn) (int64, error) {
		return tx.exec("INSERT INTO setting (name, value) VALUES ('ready', x'') ON CONFLICT (name) DO UPDATE SET value = x''")
	})
	return cmp.Or(s.failure.get(), err) // in the words of what it means, where this write has found it
}

// checkSpace returns delivery.ErrFull unless bytes more fit above the floor.
func (s *Store) checkSpace(bytes int64) error {
	if err := s.failure.get(); err != nil {
		return fmt.Errorf("%w: %w", delivery.ErrFull, err)
	}
	free, err := s.disk.free(s.path)
	if err != nil {
		return fmt.Errorf("%w: %w", delivery.ErrFull, err)
	}
	need := bytes + s.owed.Load() + spaceFloor
	if free < need {
		return fmt.Errorf("%w: %s MB are free below %s, %s are needed: make room there",
			delivery.ErrFull, megabytes(free), s.path, megabytes(need))
	}
	return s.ballast.restore(free - need)
}

// Free is how many bytes this user may still write in the store's folder.
func (s *Store) Free() (int64, error) { return s.disk.free(s.path) }

// Failed says that the disk failed and the store keeps nothing until a restart.
func (s *Store) Failed() bool { return s.failure.get() != nil }

func megabytes(n int64) string { return strconv.FormatInt(n>>20, 10) }

// fail ends the store's work after the disk failed.
func (s *Store) fail(err error) {
	if s.failure.set(err) {
		s.log.Error("the disk failed: no call is taken until a restart", "error", err)
	}
}

// tapePath and notePath are the files of a note whose id is valid.
func (s *Store) tapePath(id string) string { return filepath.Join(s.path, "tapes", id[:5], id) }
func (s *Store) notePath(id string) string { return filepath.Join(s.path, "notes", id[:5], id) }

// create opens a file for writing and makes it when it is missing. The folder
// it lies in is made durable when it is new.
func (s *Store) create(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|flag, 0o600)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	folder := filepath.Dir(path)
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := s.fsync(filepath.Dir(folder)); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|flag, 0o600)
}

package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// ErrNoMailbox says that a number has no mailbox. Any other error of a look-up
// says that this cannot be told now.
var ErrNoMailbox = errors.New("the number has no mailbox")

// Directory finds the mailbox of a number: among those of the configuration
// file, those of its CSV file, or by asking its service. A look-up that asks
// nobody costs the same for one mailbox as for a hundred thousand.
type Directory struct {
	log    *slog.Logger
	memory delivery.Memory

	sources  atomic.Pointer[sources]
	changing sync.Mutex // held by who puts others in place
	sheet    sheetState

	sheetDown atomic.Bool
	asked     asked
}

// sources are where mailboxes come from. They do not change: others take their
// place.
type sources struct {
	config  *Config
	local   []*index // of the configuration file, and of the CSV file
	service *service // nil for none
}

// sheetState is what is known of the CSV file.
type sheetState struct {
	seen fs.FileInfo // at the last look; nil where it could not be seen
	read fs.FileInfo // when it was read
	said string      // of its last failure
}

// OpenDirectory reads what c names. The service, if there is one, is asked only
// when a number is looked up; memory keeps what it said over a restart, nil
// where that is of no use.
func OpenDirectory(c *Config, memory delivery.Memory, log *slog.Logger) (*Directory, error) {
	d := &Directory{log: log, memory: memory}
	return d, d.Reload(c)
}

// Reload puts what c names in the place of what there is; if that cannot be
// read, all stays as it is. Look-ups go on meanwhile.
func (d *Directory) Reload(c *Config) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	next := &sources{config: c, local: []*index{newIndex(c.Mailboxes, nil)}}
	state := sheetState{}
	if c.Directory.File != "" {
		is, err := os.Stat(c.Directory.File)
		if err != nil {
			return fmt.Errorf("directory.file: %w", err)
		}
		sheet, err := readSheet(c, c.Directory.File)
		if err != nil {
			return fmt.Errorf("directory.file: %w", err)
		}
		next.local = append(next.local, sheet)
		state = sheetState{seen: is, read: is}
	}
	if c.Directory.URL != "" {
		next.service = newService(c, d.memory, &d.asked, d.log)
	}
	d.sheet = state
	d.sheetDown.Store(false)
	if before := d.sources.Swap(next); before != nil {
		before.close()
	}
	return nil
}

// Close waits for what is being asked.
func (d *Directory) Close() error {
	if s := d.sources.Load(); s != nil {
		s.close()
	}
	return nil
}

func (s *sources) close() {
	if s.service != nil {
		s.service.close()
	}
}

// Run reads the CSV file again when it has changed, until ctx ends.
func (d *Directory) Run(ctx context.Context) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.look()
		}
	}
}

// look reads the CSV file if it has changed and was left alone since the last
// look: half a file is not to be taken for all of it. One that cannot be read
// leaves the mailboxes as they are.
func (d *Directory) look() {
	d.changing.Lock()
	defer d.changing.Unlock()
	s := d.sources.Load()
	path := s.config.Directory.File
	if path == "" {
		return
	}
	is, err := os.Stat(path)
	if err != nil {
		d.sheet.seen = nil
		d.sheetFailed(unnamed(err))
		return
	}
	still := same(d.sheet.seen, is)
	d.sheet.seen = is
	if !still || same(d.sheet.read, is) {
		return
	}
	sheet, err := readSheet(s.config, path)
	if mistakes := (FileErrors{}); err == nil || errors.As(err, &mistakes) { // else it is tried again
		d.sheet.read = is
	}
	if err != nil {
		d.sheetFailed(err)
		return
	}
	d.sheet.said = ""
	d.sheetDown.Store(false)
	d.sources.Store(&sources{config: s.config, local: []*index{s.local[0], sheet}, service: s.service})
	d.log.Info("mailboxes read", "key", "directory.file", "mailboxes", len(sheet.mailboxes))
}

// sheetFailed says once why the CSV file cannot be read.
func (d *Directory) sheetFailed(err error) {
	if err.Error() != d.sheet.said {
		d.log.Error("mailboxes cannot be read; those read before stay", "key", "directory.file", "error", err)
	}
	d.sheet.said = err.Error()
	d.sheetDown.Store(true)
}

// Lookup returns the mailbox of a SIP user part as it came, or else of the same
// number in E.164 ("" for none): one of its own, else that of a range or a
// wildcard, which look at E.164 first, else what the service says. It waits for
// the service for a few seconds at most. ErrNoMailbox, or why that cannot be
// told now.
func (d *Directory) Lookup(ctx context.Context, user, number string) (*Mailbox, error) {
	for {
		s := d.sources.Load()
		if m := s.find(user, number); m != nil {
			return m, nil
		}
		if s.service == nil || user == "" {
			return nil, ErrNoMailbox
		}
		m, err := s.service.find(ctx, user, number)
		if errors.Is(err, errClosed) && d.sources.Load().service != s.service { // another has taken its place
			continue
		}
		return m, err
	}
}

// find looks among the mailboxes that are known without asking; nil for none.
func (s *sources) find(user, number string) *Mailbox {
	for _, name := range []string{user, number} {
		for _, x := range s.local {
			if m := x.byNumber(name); m != nil {
				return m
			}
		}
	}
	for _, name := range []string{number, user} { // so that a number has one mailbox, however it was dialled
		for _, x := range s.local {
			if m := x.byPattern(name); m != nil {
				return m
			}
		}
	}
	return nil
}

// Retention is how long a mailbox's notes are kept: as for all where the
// mailbox is gone, for good while that cannot be told.
func (d *Directory) Retention(ctx context.Context, mailbox string) delivery.Retention {
	s := d.sources.Load()
	if s.service != nil && s.find(mailbox, "") == nil { // mailboxes by the thousand: none is asked for without need
		if m := s.service.known(ctx, question{user: mailbox}).mailbox; m != nil {
			return m.Keep
		}
		if s.service.resting() {
			return delivery.Retention{}
		}
	}
	switch m, err := d.Lookup(ctx, mailbox, ""); {
	case err == nil:
		return m.Keep
	case errors.Is(err, ErrNoMailbox):
		return s.config.Retention
	default:
		return delivery.Retention{}
	}
}

// Recipient is the mailbox of a number, as a note names it; false where there
// is none, or none can be told now.
func (d *Directory) Recipient(ctx context.Context, number string) (delivery.Recipient, bool) {
	m, err := d.Lookup(ctx, number, "")
	if err != nil {
		return delivery.Recipient{}, false
	}
	return m.Recipient(), true
}

// Search lists mailboxes whose name or number contains the query, "" for all,
// in the order of the files, and says whether there are more than most. A
// mailbox that is one of a range, of a wildcard or the service's is found by
// its whole number.
func (d *Directory) Search(ctx context.Context, query string, most int) (found []delivery.Recipient, more bool) {
	search := delivery.NewSearch(query)
	for m := range d.All() {
		if p, _ := parsePattern(m.Number); !search.Finds(m.Name, m.Number) || !p.exact() {
			continue
		}
		if len(found) == most {
			return found, true
		}
		found = append(found, m.Recipient())
	}
	number := search.Number()
	listed := slices.ContainsFunc(found, func(r delivery.Recipient) bool { return strings.EqualFold(r.Number, number) })
	if listed || !isDigits(number) && (number == "" || len(found) > 0) { // a word is a name, unless nobody has it
		return found, false
	}
	if r, ok := d.Recipient(ctx, number); ok {
		found = append(found, r)
	}
	return found, false
}

// All are the mailboxes of the files in their order, among them those that
// stand for many.
func (d *Directory) All() iter.Seq[*Mailbox] {
	return func(yield func(*Mailbox) bool) {
		for _, x := range d.sources.Load().local {
			for i := range x.mailboxes {
				if !yield(&x.mailboxes[i]) {
					return
				}
			}
		}
	}
}

// Check asks the service, if there is one, for a mailbox that cannot be.
func (d *Directory) Check(ctx context.Context) error {
	s := d.sources.Load().service
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	_, err := s.request(ctx, question{user: "afterbeep-check"})
	return err
}

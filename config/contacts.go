package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Contacts give callers the names that recipients know them by: those of a
// mailbox's own file first, then those of the file for all.
type Contacts struct {
	log   *slog.Logger
	files atomic.Pointer[contactFiles]
}

// contactFiles are the files that are named. They do not change: others take
// their place.
type contactFiles struct {
	all    *contactFile            // nil for none
	byPath map[string]*contactFile // those of mailboxes among them
}

// ContactFile is one file of contacts, and the key that names it.
type ContactFile struct{ Key, Path string }

// ContactFiles are the files of contacts that the configuration names, each
// once.
func (c *Config) ContactFiles() []ContactFile {
	named := []ContactFile{{"contacts", c.Contacts}}
	for i := range c.Mailboxes {
		named = append(named, ContactFile{fmt.Sprintf("mailboxes[%d].contacts", i), c.Mailboxes[i].Contacts})
	}
	var files []ContactFile
	seen := map[string]bool{"": true}
	for _, f := range named {
		if !seen[f.Path] {
			seen[f.Path] = true
			files = append(files, f)
		}
	}
	return files
}

// NewContacts reads the files of contacts. One that cannot be read is logged
// and looked at again: a gateway answers without names too.
func NewContacts(c *Config, log *slog.Logger) *Contacts {
	contacts := &Contacts{log: log}
	contacts.Reload(c)
	return contacts
}

// Reload goes by the files that c names from now on. Those that it goes by
// already are read again when they have changed, as ever.
func (c *Contacts) Reload(cfg *Config) {
	before := c.files.Load()
	next := &contactFiles{byPath: map[string]*contactFile{}}
	for _, f := range cfg.ContactFiles() {
		file := &contactFile{key: f.Key, path: f.Path, log: c.log}
		if before != nil && before.byPath[f.Path] != nil {
			file = before.byPath[f.Path]
		}
		file.current()
		next.byPath[f.Path] = file
	}
	next.all = next.byPath[cfg.Contacts]
	c.files.Store(next)
}

// Name is what a mailbox's contacts call a number, see [Book.Name].
func (c *Contacts) Name(m *Mailbox, number, country string) string {
	if c == nil || number == "" {
		return ""
	}
	files := c.files.Load()
	for _, file := range []*contactFile{files.byPath[m.Contacts], files.all} {
		if file == nil {
			continue
		}
		if name := file.current().Name(number, country); name != "" {
			return name
		}
	}
	return ""
}

// lookAgain is how long a file is taken to be as it was.
const lookAgain = time.Second

// contactFile is a file that is read again when it has changed.
type contactFile struct {
	key, path string
	log       *slog.Logger
	book      atomic.Pointer[Book]

	mu     sync.Mutex // held by the one call that looks at the file; the others go on with what was read
	looked time.Time
	was    fs.FileInfo // nil before it was seen
	failed bool        // and said so
}

// current is the file's content. When the new one cannot be read, the old one
// stays.
func (f *contactFile) current() *Book {
	if f.mu.TryLock() {
		f.look()
		f.mu.Unlock()
	}
	if book := f.book.Load(); book != nil {
		return book
	}
	return &Book{}
}

// look reads the file if it has changed.
func (f *contactFile) look() {
	now := time.Now()
	if !f.looked.IsZero() && now.Sub(f.looked) < lookAgain {
		return
	}
	f.looked = now
	is, err := os.Stat(f.path)
	if err == nil && same(f.was, is) {
		return
	}
	var book *Book
	if err == nil {
		book, err = ReadBook(f.path)
	}
	f.was = nil
	if (err == nil || isContent(err)) && now.Sub(is.ModTime()).Abs() > 2*lookAgain { // else it may still be being written
		f.was = is
	}
	if err != nil {
		if !f.failed {
			f.log.Warn("contacts cannot be read; the names read before stay", "key", f.key, "error", unnamed(err))
		}
		f.failed = true
		return
	}
	f.failed = false
	f.book.Store(book)
	f.log.Info("contacts read", "key", f.key, "cards", book.Cards, "numbers", book.Numbers, "skipped", book.Broken)
}

// same says that a file is as it was; was is nil when that is not known.
func same(was, is fs.FileInfo) bool {
	return was != nil && os.SameFile(was, is) && was.ModTime().Equal(is.ModTime()) && was.Size() == is.Size()
}

// isContent says that reading again would give the same error.
func isContent(err error) bool { return errors.Is(err, errNoCards) || errors.Is(err, errTooBig) }

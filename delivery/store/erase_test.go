package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// traces are what must not be found of the erased mailbox.
func traces() []string {
	return []string{"+4930987654321", "Zacharias Quellwasser", "+4917055501234", "Wilhelmine Oberbach", "THE SOUND OF A VOICE", "crm-4711", "gone away: +49"}
}

// ofMailbox is a note with all of the traces.
func ofMailbox() delivery.Note {
	n := newNote(traces()[0], traces()[2])
	n.Recipient.Name, n.Caller.Name = traces()[1], traces()[3]
	return n
}

// recorded takes a note to the end of its call.
func recorded(tb testing.TB, s *Store, n delivery.Note) delivery.Draft {
	tb.Helper()
	d := begin(tb, s, n)
	for range 20 {
		check(tb, d.Append([]byte(strings.Repeat(traces()[4], 50))))
	}
	check(tb, d.Recorded(tb.Context(), false))
	return d
}

// rendered takes a note to its delivery.
func rendered(tb testing.TB, s *Store, n delivery.Note) []delivery.Lease {
	tb.Helper()
	d := recorded(tb, s, n)
	n = d.Note()
	n.Media.Type = "audio/ogg"
	leases, err := d.Rendered(tb.Context(), n, []byte(strings.Repeat(traces()[4], 200)), []delivery.Chain{chainTo("crm:" + traces()[5])})
	check(tb, err)
	return leases
}

// search looks for the traces in every file below path, and in names of files.
func search(tb testing.TB, path string) (found []string) {
	tb.Helper()
	err := filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(p)
		for _, trace := range traces() {
			if bytes.Contains(content, []byte(trace)) || strings.Contains(p, trace) {
				found = append(found, trace+" in "+filepath.Base(p))
			}
		}
		return err
	})
	check(tb, err)
	return found
}

// Of a mailbox that was erased, no byte of a number, a name, an address or a
// voice is found in any file of the store, nor in the log.
func TestErase(t *testing.T) { everywhere(t, testErase) }

func testErase(t *testing.T, c composition) {
	path, ctx := t.TempDir(), t.Context()
	s := c.openAt(t, path)
	recorded(t, s, ofMailbox()) // and the process ends
	check(t, s.Close())
	var said bytes.Buffer
	s, err := Open(c.options(t, path), slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug})))
	check(t, err)
	defer closeStore(t, s)

	var leases []delivery.Lease
	var sums []string
	for i := range 60 { // among others
		other := newNote("101", fmt.Sprint(200+i))
		keep(t, s, other, chainTo("crm"))
		n := ofMailbox()
		n.Caller.Number += fmt.Sprint(i)
		l := rendered(t, s, n)[0]
		r := delivery.Result{Outcome: []delivery.Outcome{delivery.Done, delivery.Dead, delivery.Retry}[i%3], Detail: traces()[6], Receipt: delivery.Receipt{ID: traces()[5]}}
		if i < 50 {
			finish(t, s, l, r)
		} else {
			leases = append(leases, l)
		}
		sums = append(sums, life(t, s, n.ID).Note.Media.SHA256)
	}
	held := recorded(t, s, ofMailbox())
	token, err := s.LinkFor(ctx, traces()[0])
	check(t, err)
	check(t, s.Mark(ctx, traces()[0], leases[0].Note.ID, delivery.MarkPlayed))
	remembers := s.Memory("crm")
	for _, key := range []string{"kept", traces()[5], "forgotten"} {
		check(t, remembers.Put(ctx, delivery.Entry{Key: key, Value: []byte(traces()[2] + traces()[5]), Mailbox: traces()[0]}))
	}
	check(t, remembers.Delete(ctx, "forgotten"))
	check(t, remembers.Put(ctx, delivery.Entry{Key: "another's", Value: []byte("102"), Mailbox: "102"}))
	chats := delivery.NewChats(remembers)
	code, _, err := chats.Code(ctx, traces()[0])
	check(t, err)
	_, err = chats.Link(ctx, code, traces()[5])
	check(t, err)
	if found := search(t, path); len(found) > 0 && c.name == "sealed" {
		t.Errorf("before: %s", strings.Join(found, ", "))
	}

	erased, err := s.Erase(ctx, traces()[0])
	check(t, err)
	if erased.Notes != 62 || erased.Files != 62+60 || erased.Bytes < 62*20*1000 || erased.InProgress != 0 || len(erased.Proof) != 62 {
		t.Errorf("erased %d notes, %d files, %d bytes, %d in progress, a proof of %d", erased.Notes, erased.Files, erased.Bytes, erased.InProgress, len(erased.Proof))
	}
	for i, n := range erased.Proof[1:61] {
		if n.SHA256 != sums[i] || n.SHA256 == "" {
			t.Errorf("the proof of note %d is %+v", i, n)
		}
	}
	if found := search(t, path); len(found) > 0 {
		t.Errorf("left: %s", strings.Join(found, ", "))
	}
	for _, key := range []string{"kept", traces()[5], "forgotten"} {
		_, err := remembers.Get(ctx, key)
		expect(t, err, delivery.ErrNotFound)
	}
	if value, err := remembers.Get(ctx, "another's"); string(value) != "102" || err != nil {
		t.Errorf("another mailbox's memory is %q, %v", value, err)
	}
	for _, l := range leases {
		if err := s.Finish(ctx, l, delivery.Result{Outcome: delivery.Done}); !errors.Is(err, delivery.ErrFenced) {
			t.Fatalf("a lease ended with %v", err)
		}
	}
	if _, err := held.Rendered(ctx, held.Note(), []byte(traces()[4]), nil); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("rendering ended with %v", err)
	}
	if _, err := s.LinkOwner(ctx, token); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("its link: %v", err)
	}
	if drafts, err := s.Unfinished(ctx); err != nil || len(drafts) != 0 {
		t.Errorf("%d drafts are left, %v", len(drafts), err)
	}
	if err := s.Export(ctx, traces()[0], io.Discard); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("Export: %v", err)
	}
	if list, err := s.List(ctx, delivery.Filter{Limit: 100}); err != nil || len(list) != 60 {
		t.Errorf("%d notes of others are left, %v", len(list), err)
	}
	check(t, s.Close())
	if found := search(t, path); len(found) > 0 {
		t.Errorf("left after the end: %s", strings.Join(found, ", "))
	}
	for _, trace := range traces() {
		if strings.Contains(said.String(), trace) {
			t.Errorf("the log says %q", trace)
		}
	}
	var name, upto string
	s = c.openAt(t, path)
	check(t, s.readers.QueryRowContext(ctx, "SELECT mailbox, upto FROM erasure").Scan(&name, &upto))
	if name != s.vault.alias(traces()[0]) || upto != held.Note().ID {
		t.Errorf("kept of it: %s up to %s", name, upto)
	}
}

// A call that is in progress is said, and its note comes; it waits for nothing
// that was erased.
// Two chains of a note may head and follow in one thread: when the note goes,
// the next note has its turn.
func TestErasedChainsFreeTheirThread(t *testing.T) {
	s := openStore(t, Options{Path: t.TempDir()})
	defer closeStore(t, s)
	first := keep(t, s, newNote("101", "201"), chainTo("crm", "inbox"), chainTo("crm", "wa:1"))
	if len(first) != 1 {
		t.Fatalf("%d leases", len(first))
	}
	finish(t, s, first[0], delivery.Result{Outcome: delivery.Retry, Wait: time.Hour})
	next := newNote("101", "201")
	keep(t, s, next, chainTo("crm"))
	_, err := write(t.Context(), s, func(tx *txn) (any, error) { return nil, tx.forget(first[0].Note.ID) })
	check(t, err)
	if got := claim(t, s, 10); len(got) != 1 || got[0].Note.ID != next.ID {
		t.Errorf("claimed %+v", got)
	}
}

func TestEraseDuringACall(t *testing.T) { everywhere(t, testEraseDuringACall) }

func testEraseDuringACall(t *testing.T, c composition) {
	s := c.openAt(t, t.TempDir())
	ctx := t.Context()
	waiting := rendered(t, s, ofMailbox())[0]
	finish(t, s, waiting, delivery.Result{Outcome: delivery.Retry, Wait: 1 << 40})
	d := begin(t, s, ofMailbox())
	check(t, d.Append([]byte("hello")))
	erased, err := s.Erase(ctx, traces()[0])
	if err != nil || erased.Notes != 1 || erased.InProgress != 1 {
		t.Fatalf("erased %+v, %v", erased, err)
	}
	check(t, d.Append([]byte("and goodbye")))
	check(t, d.Recorded(ctx, false))
	leases, err := d.Rendered(ctx, d.Note(), []byte("OggS"), []delivery.Chain{chainTo("crm:" + traces()[5])})
	if err != nil || len(leases) != 1 {
		t.Fatal("its note:", leases, err)
	}
	erased, err = s.Erase(ctx, traces()[0])
	if err != nil || erased.Notes != 1 || erased.InProgress != 0 {
		t.Fatalf("erased %+v, %v", erased, err)
	}
	if erased, err = s.Erase(ctx, traces()[0]); err != nil || erased.Notes != 0 || erased.Proof == nil {
		t.Errorf("again: %+v, %v", erased, err)
	}
}

// While a program beside the gateway reads the database, erasing holds no call
// up, and says what it waits for.
func TestEraseBesideAReader(t *testing.T) {
	s := openStore(t, Options{Path: t.TempDir()})
	rendered(t, s, ofMailbox())
	reader, err := s.readers.Conn(t.Context())
	check(t, err)
	defer func() { check(t, reader.Close()) }()
	_, err = reader.ExecContext(t.Context(), "BEGIN; SELECT count(*) FROM note")
	check(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := s.Erase(t.Context(), traces()[0])
		done <- err
	}()
	var longest time.Duration
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		began := time.Now()
		check(t, s.Ready(t.Context()))
		longest = max(longest, time.Since(began))
	}
	if longest > busyTimeout*9/10 { // without short turns: all of it
		t.Errorf("a change waited for %v", longest)
	}
	_, err = reader.ExecContext(t.Context(), "ROLLBACK")
	check(t, err)
	check(t, <-done)
}

// The files that the proof names are gone for good: a power cut brings none back.
func TestErasedFilesAreSynced(t *testing.T) {
	d := realDisk()
	var s *Store
	var n delivery.Note
	synced := "never"
	d.syncAll = func(*os.File) error {
		if n.ID != "" {
			synced = has(t, s, n.ID)
		}
		return nil
	}
	s, err := open(Options{Path: t.TempDir()}, quiet(), d)
	check(t, err)
	defer closeStore(t, s)
	l := keep(t, s, newNote("101", "201"), chainTo("crm"))[0]
	s.flusher.close() // no other sync
	s.flusher = nil
	n = l.Note
	_, err = s.Erase(t.Context(), "101")
	check(t, err)
	if synced != "" {
		t.Errorf("as of the last sync: %q", synced)
	}
}

// A channel that is sending a note while that is erased keeps nothing of it
// afterwards. Of a note that came in since, and of one that was being recorded,
// it does.
func TestEraseBesideASend(t *testing.T) { everywhere(t, testEraseBesideASend) }

func testEraseBesideASend(t *testing.T, c composition) {
	ctx, s := t.Context(), c.open(t)
	m, mailbox := s.Memory("wa"), traces()[0]
	entry := func(n delivery.Note) delivery.Entry {
		return delivery.Entry{Key: "job of " + n.ID, Value: []byte("sent to " + mailbox), Mailbox: mailbox, Note: n.ID}
	}
	held := newNote(mailbox, "200")
	begin(t, s, held)
	l := keep(t, s, newNote(mailbox, "201"), chainTo("wa"))[0]
	check(t, m.Put(ctx, entry(l.Note)))
	_, err := s.(interface {
		Erase(ctx context.Context, mailbox string) (delivery.Erasure, error)
	}).Erase(ctx, mailbox)
	check(t, err)

	check(t, m.Put(ctx, entry(l.Note)))
	if added, err := m.Add(ctx, entry(l.Note)); added || err != nil {
		t.Errorf("added %v, %v", added, err)
	}
	_, err = m.Get(ctx, entry(l.Note).Key)
	expect(t, err, delivery.ErrNotFound)
	if n := count(t, s, "memory WHERE gone = 0"); n != 0 {
		t.Errorf("%d entries are left", n)
	}
	notes := []delivery.Note{keep(t, s, newNote(mailbox, "201"), chainTo("wa"))[0].Note}
	if !c.fleet { // there it goes too
		notes = append(notes, held)
	}
	for _, n := range notes {
		check(t, m.Put(ctx, entry(n)))
		recalls(t, m, entry(n).Key, "sent to "+mailbox)
	}
}

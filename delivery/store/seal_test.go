package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
)

// What testdata/version1 holds: a store that a program of schema 1 wrote.
const (
	oldMailbox = "+4930123456"
	oldToken   = "gTvh1Q1OkIMnIfznoV0BJ3v8BjA"
	oldSigning = "28f55e4eb5368784bae80caa18f57c8f9e130be0d70755d899cb27512d50e12d"
)

// oldNotes are its notes, the oldest first, with their events after the first three.
func oldNotes() []struct{ id, caller, state, events string } {
	return []struct{ id, caller, state, events string }{
		{"06h00zrwayxa070bxg3yb5s6a4", "Rita Recording", "recording", ""},
		{"06h00zrwbdh0nqn7xwg1k4w9mg", "Rudi Recorded", "recorded", ""},
		{"06h00zrwc26cy6zc924bntsw1r", "Dora Delivered", "delivered", "sending team-bot:777123, done team-bot:777123"},
		{"06h00zrwd2f5rqqc8tp4bdsdy8", "Dieter Dead", "dead", "sending team-bot:777123, dead team-bot:777123"},
		{"06h00zrwdzay4btp84ye78ky54", "Quirin Queued", "queued", "sending team-bot:777123, retry team-bot:777123"},
		{"06h00zrwerazq817ygdntn5w2m", "Quirin Queued again", "queued", ""},
		{
			"06h00zrwfgm7780khy48q881y8", "Susi Sending", "queued",
			"sending team-bot:777123, sending inbox, unknown team-bot:777123, unknown inbox",
		},
		{"06h00zrwgkpp43zdh22m0p79cw", "Nora Nochain", "", ""},
	}
}

// personal is what the folder of a sealed store must not hold.
func personal() []string {
	words := []string{oldMailbox, "4989000", "777123", "Reception", "not found", "audio", "OggS", oldToken, "~~~~"}
	for _, n := range oldNotes() {
		words = append(words, n.caller)
	}
	signing, _ := hex.DecodeString(oldSigning)
	return append(words, string(signing))
}

// oldStore copies testdata/version1.
func oldStore(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "store")
	check(tb, os.CopyFS(path, os.DirFS("testdata/version1")))
	return path
}

// inClear lists which words the files below path hold, each with its file. The
// ballast is left out: four letters are found now and then in what is random.
func inClear(tb testing.TB, path string, words []string) (found []string) {
	tb.Helper()
	err := filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "ballast" {
			return err
		}
		b, err := os.ReadFile(p)
		for _, w := range words {
			if bytes.Contains(b, []byte(w)) || strings.Contains(p, w) {
				found = append(found, w+" in "+strings.TrimPrefix(p, path))
			}
		}
		return err
	})
	check(tb, err)
	return found
}

// A store of schema 1 is all there after the upgrade, in clear and sealed, and
// what is pending is delivered.
func TestUpgrade(t *testing.T) { everywhere(t, testUpgrade) }

func testUpgrade(t *testing.T, c composition) {
	path := oldStore(t)
	if len(inClear(t, path, personal())) == 0 {
		t.Fatal("the search finds nothing in a store in clear")
	}
	s := c.openAt(t, path)
	checkOldStore(t, s)
	deliverAll(t, s)
	check(t, s.Close())
	if sealed, left := c.name != "clear", inClear(t, path, personal()); sealed && len(left) > 0 {
		t.Errorf("still in clear: %q", left)
	}
}

// checkOldStore compares what a store holds with what was in testdata/version1.
func checkOldStore(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	for _, want := range oldNotes() {
		l := life(t, s, want.id)
		if l.Note.Caller.Name != want.caller || l.Note.Recipient.Number != oldMailbox {
			t.Errorf("%s came back as %+v", want.caller, l.Note)
		}
		events := names(l)
		for _, first := range []string{"recording", "recorded", "rendered"} {
			events = strings.TrimPrefix(strings.TrimPrefix(events, first), ", ")
		}
		if events != want.events {
			t.Errorf("%s: events %s\nwant %s", want.caller, events, want.events)
		}
		list, err := s.List(ctx, delivery.Filter{Mailbox: oldMailbox, State: want.state})
		if check(t, err); !slices.Contains(idsOf(list), want.id) {
			t.Errorf("%s is not in the list of %s", want.caller, want.state)
		}
		if l.Note.State == delivery.Rendered {
			if got := fileOf(t, s, want.id); got != "OggS audio of "+want.caller {
				t.Errorf("%s: the file is %q", want.caller, got)
			}
		}
		var ended int64
		check(t, s.readers.QueryRowContext(ctx, "SELECT ended_at FROM note WHERE id = ?", want.id).Scan(&ended))
		if over := want.state == "delivered" || want.state == "dead" || want.state == ""; (ended > 0) != over {
			t.Errorf("%s ended at %d", want.caller, ended)
		}
	}
	if owner, err := s.LinkOwner(ctx, oldToken); err != nil || owner != oldMailbox {
		t.Errorf("the link's owner is %q, %v", owner, err)
	}
	if token, err := s.LinkFor(ctx, oldMailbox); err != nil || token != oldToken {
		t.Errorf("the link is %q, %v", token, err)
	}
	if key, err := s.SigningKey(ctx); err != nil || hex.EncodeToString(key) != oldSigning {
		t.Errorf("another signing key, %v", err)
	}
	if notes, err := s.Thread(ctx, oldMailbox, "", 10); err != nil || len(notes) != 6 {
		t.Errorf("%d notes in the thread, %v", len(notes), err)
	}
}

func fileOf(tb testing.TB, s *Store, id string) string {
	tb.Helper()
	f, _, err := s.Open(tb.Context(), id)
	check(tb, err)
	b, err := io.ReadAll(f)
	check(tb, errors.Join(err, f.Close()))
	return string(b)
}

// deliverAll takes up what is left, redrives what is dead, and delivers all.
func deliverAll(t *testing.T, s *Store) {
	t.Helper()
	ctx := t.Context()
	drafts, err := s.Unfinished(ctx)
	if err != nil || len(drafts) != 2 {
		t.Fatalf("%d drafts, %v", len(drafts), err)
	}
	for _, d := range drafts {
		n := d.Note()
		records, err := read(t, d.Records())
		want := "audio 2 of " + n.Caller.Name + " " + strings.Repeat("~", 40)
		if err != nil || len(records) != 3 || records[2] != want {
			t.Errorf("%s: the tape holds %q, %v", n.Caller.Name, records, err)
		}
		leases, err := d.Rendered(ctx, n, []byte("OggS"), []delivery.Chain{chainTo("team-bot:777123")})
		check(t, err)
		for _, l := range leases {
			finish(t, s, l, delivery.Result{Outcome: delivery.Done})
		}
	}
	if n, err := s.Redrive(ctx, oldNotes()[3].id, ""); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	var sent []string
	for leases := claim(t, s, 10); len(leases) > 0; leases = claim(t, s, 10) {
		for _, l := range leases {
			sent = append(sent, l.Note.Caller.Name+" by "+l.Target().Channel)
			finish(t, s, l, delivery.Result{Outcome: delivery.Done})
		}
	}
	slices.Sort(sent)
	want := []string{
		"Dieter Dead by team-bot", "Quirin Queued again by team-bot", "Quirin Queued by team-bot",
		"Susi Sending by inbox", "Susi Sending by team-bot",
	}
	if !slices.Equal(sent, want) {
		t.Errorf("delivered %q\nwant      %q", sent, want)
	}
	var open int
	check(t, s.readers.QueryRowContext(ctx, "SELECT count(*) FROM note WHERE ended_at = 0").Scan(&open))
	if open != 0 {
		t.Errorf("%d notes have not ended", open)
	}
}

// Wherever sealing ends, the next start goes on with it.
func TestSealingIsInterrupted(t *testing.T) {
	keys := writeKeys(t, testIndex+testKey)
	for at := 1; ; at++ {
		path := oldStore(t)
		d := realDisk()
		syncs := 0
		ending := func(sync func(*os.File) error) func(*os.File) error {
			return func(f *os.File) error {
				if syncs++; syncs == at {
					return errors.New("the power is gone")
				}
				return sync(f)
			}
		}
		d.sync, d.syncAll = ending(d.sync), ending(d.syncAll)
		s, err := open(Options{Path: path, KeyFile: keys}, quiet(), d)
		if err == nil {
			check(t, s.Close())
			if at < 6 {
				t.Fatalf("sealing took %d syncs", at)
			}
			return
		}
		if _, err := Open(Options{Path: path, KeyFile: keys, AsIs: true}, quiet()); !errors.Is(err, errHalf) {
			t.Fatalf("a command on a store that is half sealed: %v", err)
		}
		s = openStore(t, Options{Path: path, KeyFile: keys})
		checkOldStore(t, s)
		deliverAll(t, s)
		check(t, s.Close())
		if left := inClear(t, path, personal()); len(left) > 0 {
			t.Fatalf("interrupted at sync %d, still in clear: %q", at, left)
		}
	}
}

// A tape that is damaged keeps what is behind the damage when it is sealed, and
// is damaged still; files without a note are sealed too.
func TestSealingDamage(t *testing.T) {
	path := oldStore(t)
	torn := oldNotes()[1].id
	tape := filepath.Join(path, "tapes", torn[:5], torn)
	b, err := os.ReadFile(tape)
	check(t, err)
	b[len(b)/2] ^= 1
	check(t, os.WriteFile(tape, b, 0o600))
	orphan := filepath.Join(path, "tapes", torn[:5], delivery.NewID())
	check(t, os.WriteFile(orphan, b, 0o600))

	s := openStore(t, Options{Path: path, KeyFile: writeKeys(t, testIndex+testKey)})
	drafts, err := s.Unfinished(t.Context())
	check(t, err)
	if len(drafts) != 2 || !drafts[1].Note().Partial {
		t.Fatalf("%d drafts", len(drafts))
	}
	if records, err := read(t, drafts[1].Records()); err != nil || len(records) != 1 {
		t.Errorf("read %d records, %v", len(records), err)
	}
	if left := inClear(t, path, []string{"audio", "~~~~"}); len(left) > 0 {
		t.Errorf("still in clear: %q", left)
	}
	sealed, err := os.ReadFile(tape)
	check(t, err)
	in := frames{box: drafts[1].(*draft).box, r: bytes.NewReader(sealed)}
	_, err = in.next(int64(len(sealed)))
	check(t, err)
	header := sealed[in.offset : in.offset+frameHeader]
	rest, err := in.box.openRecord(header[:frameLabel], sealed[in.offset+frameHeader:])
	if header[0] != frameRest || err != nil || !bytes.HasSuffix(b, rest) || len(rest) < len(b)/2 {
		t.Errorf("%d bytes are left of the damaged end, %v", len(rest), err)
	}
}

// Without its keys a sealed store is refused, and nothing is changed.
func TestKeysAreNeeded(t *testing.T) {
	path := t.TempDir()
	s := openStore(t, Options{Path: path, KeyFile: writeKeys(t, testIndex+testKey)})
	n := newNote("101", "201")
	keep(t, s, n, chainTo("crm"))
	check(t, s.Close())
	before, err := os.ReadFile(filepath.Join(path, "store.db"))
	check(t, err)
	tests := map[string]struct {
		keys string
		want error
	}{
		"no key file":   {"", errNeedsKeys},
		"another key":   {testIndex + otherKey, errForeign},
		"another index": {otherIndex + testKey, errIndex},
	}
	for name, tt := range tests {
		o := Options{Path: path}
		if tt.keys != "" {
			o.KeyFile = writeKeys(t, tt.keys)
		}
		if _, err := Open(o, quiet()); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(filepath.Join(path, "store.db")); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the database was changed, %v", name, err)
		}
	}
	s = openStore(t, Options{Path: path, KeyFile: writeKeys(t, testIndex+otherKey+testKey)})
	if got := life(t, s, n.ID).Note.Caller; got != n.Caller {
		t.Errorf("with the key in second place: %+v", got)
	}
}

// What is deleted is overwritten, in clear too.
func TestDeletedRowsAreOverwritten(t *testing.T) {
	path := t.TempDir()
	s := openStore(t, Options{Path: path})
	keep(t, s, newNote("101", "201"))
	d := begin(t, s, newNote("+4930999999", "Quentin"))
	check(t, d.Append([]byte("Quentin's words")))
	check(t, d.Discard(t.Context()))
	check(t, s.Close())
	if left := inClear(t, path, []string{"Quentin", "+4930999999"}); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// An operator's command leaves a store in clear as it is.
func TestAsIs(t *testing.T) {
	path := t.TempDir()
	n := newNote("101", "201")
	s := openStore(t, Options{Path: path})
	keep(t, s, n, chainTo("crm"))
	check(t, s.Close())
	s = openStore(t, Options{Path: path, KeyFile: writeKeys(t, testIndex+testKey), AsIs: true})
	life(t, s, n.ID)
	check(t, s.Close())
	if len(inClear(t, path, []string{"Reception"})) == 0 {
		t.Error("the store was sealed")
	}
	s = openStore(t, Options{Path: path})
	life(t, s, n.ID)
}

func TestDamagedFile(t *testing.T) { everywhere(t, testDamagedFile) }

func testDamagedFile(t *testing.T, c composition) {
	s := c.openAt(t, t.TempDir())
	n := newNote("101", "201")
	keep(t, s, n)
	whole, err := os.ReadFile(s.notePath(n.ID))
	check(t, err)
	for name, damaged := range map[string][]byte{"flipped": whole, "cut": whole[:len(whole)-1], "empty": nil} {
		damaged = bytes.Clone(damaged)
		if name == "flipped" {
			damaged[len(damaged)/2] ^= 1
		}
		check(t, os.WriteFile(s.notePath(n.ID), damaged, 0o600))
		if _, _, err := s.Open(t.Context(), n.ID); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is sealed opens only as what it is, for the note it is of.
func TestBox(t *testing.T) {
	key := bytes.Repeat([]byte{7}, keySize)
	b := newBox("one", key)
	sealed := b.seal("body", []byte("text"))
	if bytes.Equal(sealed, b.seal("body", []byte("text"))) {
		t.Error("sealed twice, it is the same")
	}
	for name, open := range map[string]func([]byte) ([]byte, error){
		"another kind": func(s []byte) ([]byte, error) { return b.open("chain", s) },
		"another note": func(s []byte) ([]byte, error) { return newBox("two", key).open("body", s) },
		"another key":  func(s []byte) ([]byte, error) { return newBox("one", make([]byte, keySize)).open("body", s) },
		"cut":          func(s []byte) ([]byte, error) { return b.open("body", s[:len(s)-1]) },
		"short":        func(s []byte) ([]byte, error) { return b.open("body", s[:overhead-1]) },
		"flipped":      func(s []byte) ([]byte, error) { s[len(s)-1] ^= 1; return b.open("body", s) },
	} {
		if _, err := open(bytes.Clone(sealed)); !errors.Is(err, errSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text, err := b.open("body", sealed); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
}

// Sealing names a thread as its next job will.
func TestSealThread(t *testing.T) {
	v, err := openVault(writeKeys(t, testIndex+testKey))
	check(t, err)
	n := newNote("101", "201")
	for _, first := range []delivery.Target{{Channel: "crm"}, {Channel: delivery.Operator}} {
		inClear, sealed := (&vault{}).threadOf(n, first, "job"), v.threadOf(n, first, "job")
		if !bytes.Equal(v.sealThread(inClear), sealed) {
			t.Errorf("%s: %q, want %q", first, v.sealThread(inClear), sealed)
		}
	}
}

// A vault opens again what it opened before, and holds a bounded number of boxes.
func TestBoxesAreBounded(t *testing.T) {
	v, err := openVault(writeKeys(t, testIndex+testKey))
	check(t, err)
	for range maxBoxes + 10 {
		b := v.mint("note")
		wrapped := v.wrap(b)
		for range 2 {
			again, err := v.open("note", wrapped)
			if err != nil || !bytes.Equal(again.key, b.key) {
				t.Fatalf("%v", err)
			}
		}
	}
	if len(v.boxes) > maxBoxes {
		t.Errorf("%d boxes", len(v.boxes))
	}
}

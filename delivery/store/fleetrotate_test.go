package store

import (
	"io"
	"os"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// turn wraps every key of a machine with the first one of its key file.
func (m *machine) turn(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	check(t, err)
	last, err := m.RotateKeys(t.Context(), text, "")
	for ; err == nil && last != ""; last, err = m.RotateKeys(t.Context(), text, last) {
	}
	check(t, err)
}

// The key of two machines is turned: meanwhile each opens what the other has,
// and afterwards machines that have the new key alone open all there is.
func TestFleetRotate(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	files := []string{writeKeys(t, testIndex+testKey), writeKeys(t, testIndex+testKey)}
	paths := []string{t.TempDir(), t.TempDir()}
	join := func(i int) *machine {
		return joinFleet(t, Options{Path: paths[i], Redis: setup.URL, KeyFile: files[i]})
	}
	a, b := join(0), join(1)
	pending, seen := a.put(t, "101", chainTo("hook")), b.put(t, "101")
	eventually(t, "a sees b's note", func() bool {
		thread, err := a.Thread(t.Context(), "101", "", 10)
		return err == nil && len(thread) == 2
	})
	token, err := b.LinkFor(t.Context(), "101")
	check(t, err)
	signing, err := a.SigningKey(t.Context())
	check(t, err)

	for _, file := range files {
		check(t, os.WriteFile(file, []byte(testIndex+otherKey+testKey), 0o600))
	}
	a.turn(t, files[0])
	if thread, err := b.Thread(t.Context(), "101", "", 10); err != nil || len(thread) != 2 {
		t.Errorf("before its own turn b sees %d notes, %v", len(thread), err)
	}
	b.turn(t, files[1])
	check(t, a.Close())
	check(t, b.Close())
	for _, file := range files {
		check(t, os.WriteFile(file, []byte(testIndex+otherKey), 0o600))
	}

	a, b = join(0), join(1)
	for _, m := range []*machine{a, b} {
		thread, err := m.Thread(t.Context(), "101", "", 10)
		if err != nil || len(thread) != 2 {
			t.Errorf("afterwards %d notes, %v", len(thread), err)
		}
		for _, n := range []delivery.Note{pending, seen} {
			file, _, err := m.Open(t.Context(), n.ID)
			check(t, err)
			if content, err := io.ReadAll(file); err != nil || hexSum(content) != n.Media.SHA256 {
				t.Errorf("the file of %s: %v", n.ID, err)
			}
		}
		if owner, err := m.LinkOwner(t.Context(), token); owner != "101" || err != nil {
			t.Errorf("the link's owner is %q, %v", owner, err)
		}
		if key, err := m.SigningKey(t.Context()); string(key) != string(signing) || err != nil {
			t.Errorf("another signing key, %v", err)
		}
	}
	l := claimOne(t, b)
	if l.Note.ID != pending.ID {
		t.Errorf("b got a job of note %s", l.Note.ID)
	}
	finish(t, b, l, done())
	a.hears(t, pending.ID, "recording, recorded, rendered, sending hook, done hook")

	setup.Servers[0].Kill()
	eventually(t, "a notices", func() bool { return !a.shared.Up() })
	_, err = a.RotateKeys(t.Context(), []byte(testIndex+otherKey), delivery.NewID()) // the last turn
	expect(t, err, shared.ErrAway)
}

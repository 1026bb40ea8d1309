package store

import (
	"errors"
	"strings"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// What a fleet in clear holds of its people.
const (
	fleetMailbox = "+4930555777"
	fleetCaller  = "+491705550888"
	fleetName    = "Wilhelmina Quast"
	fleetAddress = "quast-7788"
	fleetAudio   = "OggS the voice of Wilhelmina"
)

func fleetWords() []string {
	return []string{fleetMailbox, fleetCaller, fleetName, fleetAddress, fleetAudio}
}

// speak keeps a note with all of it, and gives its leases back.
func (m *machine) speak(t *testing.T) delivery.Note {
	t.Helper()
	n := newNote(fleetMailbox, fleetCaller)
	n.Caller.Name = fleetName
	d := begin(t, m, n)
	check(t, d.Append([]byte(fleetAudio)))
	check(t, d.Recorded(t.Context(), false))
	leases, err := d.Rendered(t.Context(), n, []byte(fleetAudio), []delivery.Chain{chainTo("hook:" + fleetAddress)})
	check(t, err)
	for _, l := range leases {
		check(t, m.Release(t.Context(), l))
	}
	return n
}

// leftOver lists which words the folders and Redis hold.
func leftOver(t *testing.T, setup *redistest.Setup, words []string, folders ...string) (found []string) {
	t.Helper()
	for _, server := range setup.Servers {
		folders = append(folders, server.Dump())
	}
	for _, folder := range folders {
		found = append(found, inClear(t, folder, words)...)
	}
	return found
}

// Two machines in clear are sealed, wherever the first start ends: nothing is
// lost, and nothing is left in clear on their disks or in Redis.
func TestFleetSeal(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]func(t *testing.T, f *Fleet) error{
		"at once": nil,
		"notes withdrawn": func(t *testing.T, f *Fleet) error {
			t.Helper()
			return f.withdrawNotes(t.Context())
		},
		"all withdrawn": func(t *testing.T, f *Fleet) error {
			t.Helper()
			return f.withdraw(t.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := redistest.Single(t, "appendonly yes")
			sealFleet(t, setup, first)
		})
	}
}

func sealFleet(t *testing.T, setup *redistest.Setup, first func(*testing.T, *Fleet) error) {
	t.Helper()
	paths := []string{t.TempDir(), t.TempDir()}
	options := func(i int, keys string) Options {
		o := Options{Path: paths[i], Redis: setup.URL}
		if keys != "" {
			o.KeyFile = writeKeys(t, keys)
		}
		return o
	}
	a, b := joinFleet(t, options(0, "")), joinFleet(t, options(1, ""))
	delivered := a.speak(t)
	l := claimOne(t, b)
	finish(t, b, l, done())
	a.hears(t, delivered.ID, "recording, recorded, rendered, sending hook:"+fleetAddress+", done hook:"+fleetAddress)
	pending := []delivery.Note{a.speak(t), b.speak(t)}
	token, err := a.LinkFor(t.Context(), fleetMailbox)
	check(t, err)
	_, err = a.SigningKey(t.Context())
	check(t, err)
	erased := a.put(t, "+4930555000", chainTo("inbox"))
	_, err = a.Erase(t.Context(), "+4930555000")
	check(t, err)
	if found := leftOver(t, setup, fleetWords(), paths...); len(found) < len(fleetWords()) {
		t.Fatalf("the search finds only %q in clear", found)
	}

	check(t, a.Close())
	if _, err := OpenFleet(options(0, testIndex+testKey), quiet()); err == nil || !strings.Contains(err.Error(), "1 of the other machines run in clear") {
		t.Fatalf("beside a machine in clear: %v", err)
	}
	check(t, b.Close())
	if first != nil {
		f, err := openAsIs(options(0, ""), shared.Options{URL: setup.URL}, quiet())
		check(t, err)
		check(t, errors.Join(f.shared.Reach(t.Context()), first(t, f), f.Close()))
	}
	a, b = joinFleet(t, options(0, testIndex+testKey)), joinFleet(t, options(1, testIndex+testKey))
	for _, m := range []*machine{a, b} {
		eventually(t, "all notes are seen", func() bool {
			thread, err := m.Thread(t.Context(), fleetMailbox, "", 10)
			return err == nil && len(thread) == 3
		})
		eventually(t, "the link is found", func() bool {
			owner, err := m.LinkOwner(t.Context(), token)
			return err == nil && owner == fleetMailbox
		})
		m.gone(t, erased)
	}
	for range pending {
		l := claimOne(t, b)
		if l.Note.ID == delivered.ID {
			t.Error("a note is delivered twice")
		}
		finish(t, b, l, done())
	}
	a.hears(t, pending[0].ID, "recording, recorded, rendered, sending hook:"+fleetAddress+", done hook:"+fleetAddress)
	check(t, a.Close())
	check(t, b.Close())
	if found := leftOver(t, setup, fleetWords(), paths...); len(found) > 0 {
		t.Errorf("still in clear: %q", found)
	}
}

// While Redis is away, a store in clear is not sealed: its part there would
// stay in clear.
func TestFleetSealWithoutRedis(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	o := Options{Path: t.TempDir(), Redis: setup.URL}
	check(t, joinFleet(t, o).Close())
	setup.Servers[0].Kill()
	o.KeyFile = writeKeys(t, testIndex+testKey)
	_, err := OpenFleet(o, quiet())
	expect(t, err, shared.ErrAway)
	setup.Servers[0].Start()
	joinFleet(t, o)
}

package lamp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/sip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inbox is a delivery.Inbox with the notes of some mailboxes, newest first.
type inbox struct {
	delivery.Inbox
	mu    sync.Mutex
	notes map[string][]delivery.Note
}

func (i *inbox) Thread(_ context.Context, mailbox, before string, limit int) ([]delivery.Note, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.notes[mailbox]
	if before != "" {
		all = all[slices.IndexFunc(all, func(n delivery.Note) bool { return n.ID == before })+1:]
	}
	return all[:min(limit, len(all))], nil
}

func (i *inbox) put(mailbox string, notes ...delivery.Note) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.notes[mailbox] = notes
}

func voice(id string, change ...func(*delivery.Note)) delivery.Note {
	n := delivery.Note{ID: id, Kind: delivery.Voice, Media: delivery.Media{Bytes: 1}}
	for _, do := range change {
		do(&n)
	}
	return n
}

func read(n *delivery.Note)   { n.ReadAt = time.Unix(1, 0) }
func played(n *delivery.Note) { n.PlayedAt = time.Unix(1, 0) }
func missed(n *delivery.Note) { n.Kind = delivery.Missed }
func gone(n *delivery.Note)   { n.Media.Gone = true }

func TestCount(t *testing.T) {
	many := make([]delivery.Note, 3*page)
	for i := range many {
		many[i] = voice(fmt.Sprint(i))
	}
	for name, tt := range map[string]struct {
		notes []delivery.Note
		want  sip.Messages
	}{
		"nothing":            {nil, sip.Messages{}},
		"new ones":           {[]delivery.Note{voice("3"), voice("2")}, sip.Messages{New: 2}},
		"read, played, both": {[]delivery.Note{voice("4"), voice("3", read), voice("2", played), voice("1", read, played)}, sip.Messages{New: 1, Old: 3}},
		"nothing to hear":    {[]delivery.Note{voice("3", missed), voice("2", gone), voice("1", missed, read)}, sip.Messages{}},
		"more than a page":   {many, sip.Messages{New: 3 * page}},
	} {
		got, err := Count(t.Context(), &inbox{notes: map[string][]delivery.Note{"101": tt.notes}}, "101")
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, tt.want)
		}
	}
}

// pbx takes NOTIFYs, and shows a lamp for each mailbox.
type pbx struct {
	mu     sync.Mutex
	lamps  map[string]sip.Messages
	heard  int
	answer func(mailbox string) error // nil takes all
}

func (p *pbx) notify(ctx context.Context, address, mailbox string, m sip.Messages) error {
	p.mu.Lock()
	answer := p.answer
	p.mu.Unlock()
	if answer != nil {
		if err := answer(mailbox); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lamps == nil {
		p.lamps = map[string]sip.Messages{}
	}
	p.lamps[address+" "+mailbox] = m
	p.heard++
	return ctx.Err()
}

func (p *pbx) shows(mailbox string) (m sip.Messages, heard int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lamps["pbx "+mailbox], p.heard
}

// house is everything around the Lamps of one machine.
type house struct {
	*Lamps
	inbox  *inbox
	pbx    *pbx
	memory *delivery.Scratch
	logged *bytes.Buffer
}

// start runs the lamps of a machine within a synctest bubble, until stop.
func start(t *testing.T, h house, known ...string) house {
	t.Helper()
	h.logged = &bytes.Buffer{}
	h.Lamps = New([]sip.Trunk{{Name: "a", MWI: "pbx"}, {Name: "b"}}, slog.New(slog.NewTextHandler(h.logged, nil)))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Run(ctx, Rooms{
			Inbox: h.inbox, Memory: h.memory, Notify: h.pbx.notify,
			Recipients: func(context.Context) ([]string, error) { return known, nil },
		})
	}()
	t.Cleanup(func() { stop(); <-done })
	return h
}

func newHouse() house {
	return house{inbox: &inbox{notes: map[string][]delivery.Note{}}, pbx: &pbx{}, memory: &delivery.Scratch{}}
}

// shows checks a lamp once everything has come to rest.
func (h house) shows(t *testing.T, mailbox string, want sip.Messages) {
	t.Helper()
	synctest.Wait()
	if got, _ := h.pbx.shows(mailbox); got != want {
		t.Errorf("the lamp of %s shows %+v, want %+v", mailbox, got, want)
	}
}

// The lamp goes on with a note and off when it is played; a trunk without an
// address hears nothing.
func TestLampFollowsTheMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newHouse())
		h.inbox.put("101", voice("1"))
		h.Changed("101")
		h.shows(t, "101", sip.Messages{New: 1})
		h.inbox.put("101", voice("2"), voice("1"))
		h.Changed("101")
		h.shows(t, "101", sip.Messages{New: 2})
		h.inbox.put("101", voice("2", read), voice("1", played))
		h.Changed("101")
		h.shows(t, "101", sip.Messages{Old: 2})
		if _, heard := h.pbx.shows("101"); heard != 3 {
			t.Errorf("%d NOTIFYs", heard)
		}
	})
}

// What changes while a NOTIFY is under way is told after it, even when nobody
// says that it has changed: another machine may have told it first.
func TestWhatIsToldLastIsRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.pbx.answer = func(string) error { time.Sleep(time.Second); return nil }
		h = start(t, h)
		h.inbox.put("101", voice("1"))
		h.Changed("101")
		time.Sleep(100 * time.Millisecond)
		h.inbox.put("101", voice("1", played))
		time.Sleep(3 * time.Second)
		h.shows(t, "101", sip.Messages{Old: 1})
	})
}

// A gateway that starts tells every mailbox it has notes of, lit or not.
func TestLampsAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.inbox.put("101", voice("1"))
		h.inbox.put("102", voice("2", read))
		h = start(t, h, "101", "102")
		time.Sleep(time.Second)
		h.shows(t, "101", sip.Messages{New: 1})
		h.shows(t, "102", sip.Messages{Old: 1})
	})
}

// A PBX that is away hears what it missed when it is back: how it stands then.
func TestLampsOfAPBXThatWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, newHouse())
		h.pbx.answer = func(string) error { return context.DeadlineExceeded }
		h.inbox.put("101", voice("1"))
		h.Changed("101")
		h.Changed("102")
		time.Sleep(time.Hour)
		h.inbox.put("101", voice("2"), voice("1"))
		synctest.Wait()
		if got, heard := h.pbx.shows("101"); heard != 0 {
			t.Errorf("it shows %+v", got)
		}
		h.pbx.mu.Lock()
		h.pbx.answer = nil
		h.pbx.mu.Unlock()
		time.Sleep(lastPause)
		h.shows(t, "101", sip.Messages{New: 2})
		if got := strings.Count(h.logged.String(), "not switched"); got < 2 || got > 8 {
			t.Errorf("%d lines in an hour:\n%s", got, h.logged)
		}
		if strings.Contains(h.logged.String(), "101") {
			t.Errorf("the log names a mailbox:\n%s", h.logged)
		}
	})
}

// One phone that is off holds no other up, and one that there is not is let be
// after a while.
func TestOneDeadPhoneHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		asked := 0
		h.pbx.answer = func(mailbox string) error {
			switch mailbox {
			case "off":
				time.Sleep(patience)
				return context.DeadlineExceeded
			case "none":
				asked++
				return &sip.StatusError{Code: 404, Reason: "Not Found"}
			}
			return nil
		}
		h = start(t, h)
		h.Changed("off")
		h.Changed("none")
		h.inbox.put("101", voice("1"))
		h.Changed("101")
		h.shows(t, "101", sip.Messages{New: 1})
		time.Sleep(time.Hour)
		synctest.Wait()
		if asked != mostRefusals {
			t.Errorf("asked %d times", asked)
		}
	})
}

// A PBX that was started anew has forgotten its lamps: those that are lit are
// told again, by one machine of many.
func TestLitLampsAreToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newHouse()
		shared.inbox.put("101", voice("1"))
		shared.inbox.put("102", voice("1", read))
		one := start(t, shared, "101", "102")
		start(t, shared, "101", "102")
		time.Sleep(time.Minute)
		synctest.Wait()
		_, before := one.pbx.shows("101")
		one.pbx.mu.Lock()
		one.pbx.lamps = nil
		one.pbx.mu.Unlock()
		time.Sleep(refreshEvery)
		one.shows(t, "101", sip.Messages{New: 1})
		if _, heard := one.pbx.shows("101"); heard != before+1 {
			t.Errorf("%d NOTIFYs for one lit lamp of two", heard-before)
		}
	})
}

// A reload changes nothing under those who go through the trunks of before: lamps
// are told again over minutes.
func TestReloadWhileLampsAreTold(t *testing.T) {
	trunks := []sip.Trunk{{Name: "a", MWI: "pbx"}, {Name: "b", MWI: "sbc"}, {Name: "c", MWI: "other"}}
	l := New(trunks, slog.New(slog.DiscardHandler))
	before := l.all()
	told := slices.Clone(before)
	l.Reload(trunks[1:])
	if !slices.Equal(before, told) {
		t.Errorf("%v were %v", before, told)
	}
}

// Trunks get, change and lose their address while the gateway runs: a new one is
// told of all mailboxes, one that stays is not told twice, and one that is gone
// no more.
func TestLampsReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.inbox.put("101", voice("1"))
		h = start(t, h, "101")
		shows := func(what string, want map[string]sip.Messages, heard int) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			h.pbx.mu.Lock()
			defer h.pbx.mu.Unlock()
			if !maps.Equal(h.pbx.lamps, want) || h.pbx.heard != heard {
				t.Errorf("%s: after %d NOTIFYs %v, want %v after %d", what, h.pbx.heard, h.pbx.lamps, want, heard)
			}
			clear(h.pbx.lamps)
		}
		lit, two := sip.Messages{New: 1}, sip.Messages{New: 2}
		shows("at the start", map[string]sip.Messages{"pbx 101": lit}, 1)
		h.Reload([]sip.Trunk{{Name: "a", MWI: "pbx"}, {Name: "b", MWI: "sbc"}})
		shows("another", map[string]sip.Messages{"sbc 101": lit}, 2)
		h.inbox.put("101", voice("2"), voice("1"))
		h.Changed("101")
		shows("both", map[string]sip.Messages{"pbx 101": two, "sbc 101": two}, 4)
		h.Reload([]sip.Trunk{{Name: "a"}, {Name: "b", MWI: "elsewhere"}})
		shows("elsewhere", map[string]sip.Messages{"elsewhere 101": two}, 5)
		h.inbox.put("101", voice("1"))
		h.Changed("101")
		shows("the one that is left", map[string]sip.Messages{"elsewhere 101": lit}, 6)
		h.Reload(nil)
		h.Changed("101")
		shows("none", map[string]sip.Messages{}, 6)
		time.Sleep(refreshEvery)
		shows("none later", map[string]sip.Messages{}, 6)
	})
}

func TestMailboxes(t *testing.T) {
	directory, err := config.OpenDirectory(&config.Config{Mailboxes: []config.Mailbox{
		{Number: "+4930123456"}, {Number: "101"}, {Number: "102", Disabled: true},
	}}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	limit := false
	m := Mailboxes{Directory: directory, May: func(sip.Watcher, sip.Callee, bool) bool { return !limit }}
	for _, tt := range []struct {
		want    string
		callees []sip.Callee
	}{
		{"101", []sip.Callee{{User: "vm"}, {User: "101"}}},
		{"+4930123456", []sip.Callee{{User: "030123456", Number: "+4930123456"}}},
		{"", []sip.Callee{{User: "404"}}},
		{"", []sip.Callee{{User: "102"}, {User: "101"}}},
	} {
		if got, err := m.Mailbox(sip.Watcher{Callees: tt.callees}); got != tt.want || err != nil {
			t.Errorf("%+v: %q, %v", tt.callees, got, err)
		}
	}
	limit = true
	if got, err := m.Mailbox(sip.Watcher{Callees: []sip.Callee{{User: "101"}}}); got != "" || err != nil {
		t.Errorf("who has asked for enough is told of %q, %v", got, err)
	}
}

// away is a directory that cannot tell of one number, and has a mailbox for all
// others.
type away string

func (a away) Lookup(_ context.Context, user, _ string) (*config.Mailbox, error) {
	if user == string(a) {
		return nil, context.DeadlineExceeded
	}
	return &config.Mailbox{Number: user}, nil
}

// While the directory is away nobody learns of another's mailbox, nor that there
// is none.
func TestMailboxesWhileTheDirectoryIsAway(t *testing.T) {
	m := Mailboxes{Directory: away("101"), May: func(sip.Watcher, sip.Callee, bool) bool { return true }}
	if got, err := m.Mailbox(sip.Watcher{Callees: []sip.Callee{{User: "101"}, {User: "102"}}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRefused(t *testing.T) {
	for code, want := range map[int]bool{0: false, 302: true, 401: true, 404: true, 408: false, 429: false, 480: true, 481: true, 489: true, 500: false, 503: false, 603: false} {
		if refused(code) != want {
			t.Errorf("%d", code)
		}
	}
}

var errCount = errors.New("the store is closed")

type broken struct{ delivery.Inbox }

func (broken) Thread(context.Context, string, string, int) ([]delivery.Note, error) {
	return nil, errCount
}

func TestCountFails(t *testing.T) {
	if _, err := (Mailboxes{Inbox: broken{}}).Messages(t.Context(), "101"); !errors.Is(err, errCount) {
		t.Errorf("%v", err)
	}
}

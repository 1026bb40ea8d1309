package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store"
	"github.com/afterbeep/afterbeep/gateway/control"
)

// deadStore makes a store below dir with notes that could not be delivered:
// notes a channel, over five mailboxes, one thread each.
func deadStore(t *testing.T, dir string, notes int, channels ...string) {
	t.Helper()
	withStore(t, dir, func(s *store.Store) {
		for i := range notes {
			time.Sleep(time.Millisecond) // ids of one millisecond have no order
			for _, channel := range channels {
				deadNote(t, s, fmt.Sprint(100+i%5), channel)
			}
		}
	})
}

func deadNote(t *testing.T, s *store.Store, mailbox, channel string) {
	t.Helper()
	n := delivery.Note{ID: delivery.NewID(), Kind: delivery.Missed, Recipient: delivery.Recipient{Number: mailbox}, Caller: delivery.Caller{Number: "201"}, CalledAt: time.Now()}
	d, err := s.Begin(t.Context(), n, 0)
	if err == nil {
		err = d.Recorded(t.Context(), false)
	}
	var leases []delivery.Lease
	if err == nil {
		leases, err = d.Rendered(t.Context(), d.Note(), nil, []delivery.Chain{{{Channel: channel}}})
	}
	if err == nil {
		err = s.Finish(t.Context(), leases[0], delivery.Result{Outcome: delivery.Dead})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func withStore(t *testing.T, dir string, do func(*store.Store)) {
	t.Helper()
	s, err := store.Open(store.Options{Path: filepath.Join(dir, "data")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	do(s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestRedriveByFilter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := configFile(t, dir, "http://127.0.0.1:9", "")
	const notes = 300 // more than a page
	deadStore(t, dir, notes, "hook", "bot")
	redrive := func(args ...string) string {
		t.Helper()
		return run(t, append([]string{"note", "redrive", "--config", path}, args...)...)
	}
	for _, step := range []struct{ args, said string }{
		{"--channel hook --until 1h", "nothing to send again: no delivery that was asked for is dead\n"},
		{"--channel hook --since 1h --mailbox 101", "queued again: 60 deliveries of 60 notes\n"},
		{"--channel hook", "queued again: 240 deliveries of 240 notes\n"},
		{"--channel hook", "nothing to send again: no delivery that was asked for is dead\n"},
		{"--since 2026-01-01 --mailbox 102", "queued again: 60 deliveries of 60 notes\n"},
		{"--all", "queued again: 240 deliveries of 240 notes\n"},
		{"--all", "nothing to send again: no delivery that was asked for is dead\n"},
	} {
		if said := redrive(strings.Fields(step.args)...); said != step.said {
			t.Errorf("redrive %s: %q, want %q", step.args, said, step.said)
		}
	}
	// Within a thread the older note goes first.
	withStore(t, dir, func(s *store.Store) {
		heads, err := s.Claim(t.Context(), 2*notes)
		if err != nil || len(heads) != 10 {
			t.Fatalf("%d threads, %v", len(heads), err)
		}
		oldest, err := s.List(t.Context(), delivery.Filter{After: delivery.FirstID(time.Time{}), Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		first := map[string]bool{}
		for _, o := range oldest {
			first[o.Note.ID] = true
		}
		for _, l := range heads {
			if !first[l.Note.ID] {
				t.Errorf("the thread of %s begins with a younger note", l.Note.Recipient.Number)
			}
		}
	})
}

func TestRedriveOneByChannel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := configFile(t, dir, "http://127.0.0.1:9", "")
	deadStore(t, dir, 1, "hook")
	id := noteID.FindString(run(t, "note", "list", "--config", path, "--channel", "hook", "--state", "dead", "--since", "1h"))
	for _, step := range []struct{ channel, said string }{{"bot", "nothing to send again"}, {"hook", "queued again: 1"}, {"hook", "nothing to send again"}} {
		if said := run(t, "note", "redrive", id, "--config", path, "--channel", step.channel); !strings.HasPrefix(said, step.said) {
			t.Errorf("redrive at %s: %q", step.channel, said)
		}
	}
}

func TestRedriveSaysWhatItNeeds(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                         "say which notes",
		"--all --channel hook":     "leave it away",
		"ID --since 1h":            "only --channel",
		"ID --all":                 "only --channel",
		"--since yesterday":        "expected a day like",
		"--until 2026-13-01":       "expected a day like",
		"--since -1h":              "expected a day like",
		"--channel hook --since 0": "expected a day like",
	} {
		cmd := root()
		cmd.SetArgs(append([]string{"note", "redrive", "--config", "missing.yaml"}, strings.Fields(args)...))
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("redrive %s: %v", args, err)
		}
	}
}

// endsAt is an operator that is interrupted at a note.
type endsAt struct {
	control.Operator
	notes int
	stop  func()
}

func (o *endsAt) Redrive(ctx context.Context, id, channel string) (int, error) {
	if o.notes--; o.notes == 0 {
		o.stop()
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return o.Operator.Redrive(ctx, id, channel)
}

func TestRedriveInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	withStore(t, dir, func(s *store.Store) {
		for range 10 {
			deadNote(t, s, "101", "hook")
		}
		ctx, cancel := context.WithCancel(t.Context())
		var out bytes.Buffer
		err := redriveMany(ctx, &out, &endsAt{s, 4, cancel}, delivery.Filter{Channel: "hook"})
		want := "queued again: 3 deliveries of 3 notes\ninterrupted at 3 of 10; the same command goes on\n"
		if err == nil || out.String() != want {
			t.Errorf("%v, said %q", err, out.String())
		}
		out.Reset()
		err = redriveMany(t.Context(), &out, s, delivery.Filter{Channel: "hook"})
		if err != nil || out.String() != "queued again: 7 deliveries of 7 notes\n" {
			t.Errorf("%v, said %q", err, out.String())
		}
	})
}

func TestMoments(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 3600)
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, zone)
	for text, want := range map[string]time.Time{
		"2026-11-20":                time.Date(2026, 11, 20, 0, 0, 0, 0, zone),
		"2026-11-20T08:00:00Z":      time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC),
		"2026-11-20T08:00:00+02:00": time.Date(2026, 11, 20, 6, 0, 0, 0, time.UTC),
		"48h":                       now.Add(-48 * time.Hour),
		"90m":                       now.Add(-90 * time.Minute),
	} {
		if got, err := parseMoment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

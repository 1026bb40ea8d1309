package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store"
)

// A gateway killed around a request: one note comes of it, and one that the
// service may have had comes again under the same key.
func TestKilledAroundTheRequest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		arrivals int // of each note
		stop     func(chat *chat, wait func())
	}{
		{"the attempt is on disk, nothing is read of it", 1, func(chat *chat, wait func()) {
			chat.connect.Store(&wait)
		}},
		{"the request is read, nothing is answered", 2, func(chat *chat, wait func()) {
			chat.once(func(w http.ResponseWriter, r *http.Request) {
				chat.take(r)
				wait()
				reset(w)
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(t)
			chat := newChat(t, l.hook)
			path := configFile(t, t.TempDir(), chat.URL, "")
			const rounds = 5
			for round := range rounds {
				there, killed := make(chan struct{}), make(chan struct{})
				c.stop(chat, func() { close(there); <-killed })
				gateway := startChild(t, path)
				l.leave(t, gateway.sip)
				<-there
				gateway.kill()
				close(killed)

				gateway = startChild(t, path)
				for len(l.arrived) < (round+1)*c.arrivals {
					l.arrived = append(l.arrived, l.hook.next(t))
				}
				gateway.stop(t)
			}
			if l.settle(t, path); len(l.arrived) != rounds*c.arrivals {
				t.Errorf("%d requests were read, want %d", len(l.arrived), rounds*c.arrivals)
			}
		})
	}
}

// A gateway that is killed again and again while it takes up what the one
// before left gets through in the end, and each note is one.
func TestKilledWhileItRecovers(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	path := configFile(t, t.TempDir(), l.hook.URL, "")
	began := time.Now()
	gateway := startChild(t, path)
	toStart := time.Since(began)
	speaking := l.speak(t, gateway.sip, 4*time.Second)
	steadily(2500 * time.Millisecond)
	speaking.playing.Stop() // a kill takes its time on a busy machine
	gateway.kill()
	l.cutOff(t, speaking, 1300*time.Millisecond)
	l.copyDrafts(t, path, speaking.from, 100)

	for i := range 12 {
		cmd := exec.CommandContext(context.Background(), os.Args[0], "serve", "--config", path)
		cmd.Env = append(os.Environ(), "AFTERBEEP_TEST_MAIN=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Later ones live longer, so that some end while they send.
		time.Sleep(toStart/2 + rand.N(toStart/2+time.Duration(1+i)*200*time.Millisecond))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	l.take()
	t.Logf("%d notes had arrived before the last start", len(l.arrived))
	gateway = startChild(t, path)
	l.await(t)
	gateway.stop(t)
	l.settle(t, path)
}

// copyDrafts leaves n more drafts in the store with the tape of the one from a
// caller: every third of them recorded, the others as a crash in mid-call
// leaves them. Each has a caller of its own.
func (l *ledger) copyDrafts(t *testing.T, path, from string, n int) {
	t.Helper()
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(cfg.Store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	drafts, err := s.Unfinished(t.Context())
	if err != nil || len(drafts) != 1 {
		t.Fatalf("%d drafts: %v", len(drafts), err)
	}
	tape := recordsOf(t, drafts[0])
	for i := range n {
		note := drafts[0].Note()
		note.ID, note.Partial, note.Caller.Number = delivery.NewID(), false, fmt.Sprintf("+4917066%05d", i)
		d, err := s.Begin(t.Context(), note, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		for _, record := range tape {
			if err := d.Append(record); err != nil {
				t.Fatal(err)
			}
		}
		promised := l.promised[from]
		if i%3 == 0 {
			promised.partial = false
			if err := d.Recorded(t.Context(), false); err != nil {
				t.Fatal(err)
			}
		}
		l.promised[note.Caller.Number] = promised
	}
}

func recordsOf(t *testing.T, d delivery.Draft) (tape [][]byte) {
	t.Helper()
	in := d.Records()
	defer func() { _ = in.Close() }()
	for {
		record, err := in.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return tape
		}
		if err != nil {
			t.Fatal(err)
		}
		tape = append(tape, append([]byte(nil), record...))
	}
}

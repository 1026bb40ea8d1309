package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/gateway/control"
	"github.com/afterbeep/afterbeep/media"
)

// ledger holds what a gateway has promised its callers against what became of
// it. Each call comes from a number of its own, by which its note is known.
type ledger struct {
	hook     *receiver
	caller   *caller
	said     *sound
	promised map[string]promise // by the caller's number
	arrived  []received
}

// promise is what a note must hold: from least to most of what was said.
type promise struct {
	least, most time.Duration
	partial     bool
}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	return &ledger{
		hook: newReceiver(t), caller: testCaller(t), promised: map[string]promise{},
		said: &sound{audio: audioOf(speech(t, 4*time.Second)), coded: map[string][][]byte{}},
	}
}

// message is a call whose caller speaks.
type message struct {
	from    string
	talk    *conversation
	playing *media.Playing
	length  time.Duration
	began   time.Time
}

// speak places a call whose caller speaks for length.
func (l *ledger) speak(t *testing.T, gateway netip.AddrPort, length time.Duration) *message {
	t.Helper()
	m := &message{from: fmt.Sprintf("+4917055%05d", len(l.promised)), length: length}
	l.promised[m.from] = promise{}
	var err error
	if m.talk, err = l.caller.dial(t.Context(), target(gateway), (&identity{from: m.from}).request()); err != nil {
		t.Fatal(err)
	}
	if m.playing, err = m.talk.speak(l.said, int(length/(20*time.Millisecond))); err != nil {
		t.Fatal(err)
	}
	m.began = time.Now()
	return m
}

// hangUp waits until all is said: it is promised whole.
func (l *ledger) hangUp(t *testing.T, m *message) {
	t.Helper()
	<-m.playing.Done()
	if err := m.talk.hangUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.promised[m.from] = promise{m.length, m.length, false}
}

// cutOff ends a call whose gateway is gone or cannot write any more: what was
// said is promised, but for a tail.
func (l *ledger) cutOff(t *testing.T, m *message, tail time.Duration) {
	t.Helper()
	m.playing.Stop()
	<-m.playing.Done()
	said := time.Duration(m.playing.Result().Sent) * 20 * time.Millisecond
	l.promised[m.from] = promise{said - tail, said, true}
	_ = m.talk.leg.Close()
}

// leave leaves a message of a second.
func (l *ledger) leave(t *testing.T, gateway netip.AddrPort) {
	t.Helper()
	l.hangUp(t, l.speak(t, gateway, time.Second))
}

func target(gateway netip.AddrPort) string { return fmt.Sprintf("sip:%s@%s", reception, gateway) }

// await waits until a note of every promise has arrived.
func (l *ledger) await(t *testing.T) {
	t.Helper()
	for l.take(); len(l.missing()) > 0; l.take() {
		l.arrived = append(l.arrived, l.hook.next(t))
	}
}

// take enters what has arrived.
func (l *ledger) take() {
	for len(l.hook.notes) > 0 {
		l.arrived = append(l.arrived, <-l.hook.notes)
	}
}

// missing are the numbers of the promises of which nothing has arrived.
func (l *ledger) missing() (numbers []string) {
	for number := range l.promised {
		if !slices.ContainsFunc(l.arrived, func(n received) bool { return n.Data.Caller.Number == number }) {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// settle makes the standing checks against the stores of the configuration
// files at paths: all that was promised is delivered and nothing is pending; nothing
// came under two keys, nor again under its own but after an attempt whose
// outcome is unknown; the sound is what the store says.
func (l *ledger) settle(t *testing.T, paths ...string) {
	t.Helper()
	l.take()
	kept := map[string][]delivery.Life{}
	for _, path := range paths {
		for _, life := range lives(t, path) {
			kept[life.Note.Caller.Number] = append(kept[life.Note.Caller.Number], life)
		}
	}
	delivered, pending, repeated := 0, 0, 0
	for number, promised := range l.promised {
		if n := len(kept[number]); n != 1 || len(kept[number][0].Jobs) > 1 {
			t.Errorf("the store has %d notes for the call of %s, want one with one job", n, number)
			continue
		}
		life := kept[number][0]
		arrivals := l.check(t, life, promised)
		switch state := stateOf(life); {
		case state == delivery.JobDelivered && arrivals > 0:
			delivered++
		case state == delivery.JobQueued || state == delivery.JobSending:
			pending++
		default:
			t.Errorf("note %s is lost: its job is %s and it arrived %d times: %+v", life.Note.ID, state, arrivals, life.Events)
		}
		repeated += max(0, arrivals-1)
	}
	for _, n := range l.arrived {
		if _, ok := l.promised[n.Data.Caller.Number]; !ok {
			t.Errorf("note %s came of no call", n.Data.ID)
		}
	}
	t.Logf("promised %d, delivered %d, pending %d, repeated %d", len(l.promised), delivered, pending, repeated)
	if pending != 0 {
		t.Errorf("%d notes are pending", pending)
	}
}

// stateOf is how far a note is from its recipient. A draft is queued.
func stateOf(l delivery.Life) delivery.JobState {
	if len(l.Jobs) == 0 {
		return delivery.JobQueued
	}
	return l.Jobs[0].State
}

// check compares what arrived of a note with what is known of it, and says how
// often it arrived.
func (l *ledger) check(t *testing.T, life delivery.Life, promised promise) (arrivals int) {
	t.Helper()
	unknown := 0
	for _, e := range life.Events {
		if e.Name == string(delivery.Unknown) {
			unknown++
		}
	}
	for _, n := range l.arrived {
		if n.Data.Caller.Number != life.Note.Caller.Number {
			continue
		}
		arrivals++
		if n.Data.ID != life.Note.ID || n.key != life.Jobs[0].ID {
			t.Errorf("note %s came as %s under the key %s, its job is %s", life.Note.ID, n.Data.ID, n.key, life.Jobs[0].ID)
		}
		sum := sha256.Sum256(n.file)
		if got := hex.EncodeToString(sum[:]); n.Data.Media == nil || got != n.Data.Media.SHA256 || got != life.Note.Media.SHA256 {
			t.Errorf("the sound of note %s has the checksum %s, the store says %s", n.Data.ID, got, life.Note.Media.SHA256)
		}
		length := time.Duration(n.Data.DurationMS) * time.Millisecond
		if n.Data.Kind != "voice" || n.Data.Partial != promised.partial || length < promised.least || length > promised.most {
			t.Errorf("note %s: %s of %v, partial %v; want %+v", n.Data.ID, n.Data.Kind, length, n.Data.Partial, promised)
		}
	}
	if arrivals > 1+unknown {
		t.Errorf("note %s arrived %d times, and only %d attempts had an unknown outcome", life.Note.ID, arrivals, unknown)
	}
	return arrivals
}

// lives is all that is known of every note, by the running gateway or, when
// none runs, by the store alone.
func lives(t *testing.T, path string) (all []delivery.Life) {
	t.Helper()
	err := operate(t.Context(), path, func(ctx context.Context, op control.Operator) error {
		notes, err := op.List(ctx, delivery.Filter{Limit: 1000})
		if err != nil {
			return err
		}
		for _, n := range notes {
			life, err := op.Life(ctx, n.Note.ID)
			if err != nil {
				return err
			}
			all = append(all, life)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

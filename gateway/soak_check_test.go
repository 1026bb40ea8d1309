package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
	"github.com/afterbeep/afterbeep/gateway/control"
)

// kept is a note at its home.
type kept struct {
	delivery.Summary
	home *member
}

// settle waits until no note is pending, and holds what was promised against
// what arrived.
func (s *soak) settle(t *testing.T) {
	t.Helper()
	var notes map[string][]kept
	pending, began := 0, time.Now()
	for end := began.Add(4 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		notes = s.notes(t)
		if pending = s.pending(notes); pending == 0 && s.wa.untold() == 0 {
			break
		}
	}
	time.Sleep(2 * time.Second) // for what would come twice
	notes = s.notes(t)
	c := soakCheck{soak: s, notes: notes, came: s.chat.arrivals()}
	for _, call := range s.crowd.calls {
		c.check(t, call)
	}
	t.Logf("%v; settled in %v; stood still for %v at most", s.struck, time.Since(began).Round(time.Second), c.crowd.late().Round(time.Millisecond))
	t.Logf("%d calls: promised %d, delivered %d, pending %d, lost %d, doubled %d; twice: answer lost %d, sent on %d, word late %d",
		len(s.crowd.calls), c.promised, c.delivered, pending, c.lost, c.doubled, c.marked, c.onward, c.late)
	if pending > 0 || len(c.wrong) > 0 || t.Failed() {
		t.Errorf("the soak failed: AFTERBEEP_SOAK_SEED=%d AFTERBEEP_SOAK_KILLS=%d", s.seed, sum(s.struck))
		c.explain(t)
	}
}

// pending counts the notes of which something is to be done.
func (s *soak) pending(notes map[string][]kept) (n int) {
	for _, list := range notes {
		for _, k := range list {
			if isPending(k.Summary) {
				n++
			}
		}
	}
	return n
}

func isPending(n delivery.Summary) bool {
	return n.Note.State != delivery.Rendered || slices.ContainsFunc(n.Jobs, func(j delivery.Job) bool {
		return j.State == delivery.JobQueued || j.State == delivery.JobSending
	})
}

// notes are those of all members, by the call's name.
func (s *soak) notes(t *testing.T) map[string][]kept {
	t.Helper()
	notes, seen := map[string][]kept{}, map[string]bool{}
	for _, m := range s.members {
		err := operate(t.Context(), m.path, func(ctx context.Context, op control.Operator) error {
			for last := ""; ; {
				page, err := op.List(ctx, delivery.Filter{Limit: 500, Before: last})
				if err != nil || len(page) == 0 {
					return err
				}
				last = page[len(page)-1].Note.ID
				for _, n := range page {
					if !seen[n.Note.ID] {
						seen[n.Note.ID] = true
						call := n.Note.Caller.Name
						notes[call] = append(notes[call], kept{n, m})
					}
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return notes
}

// soakCheck counts.
type soakCheck struct {
	*soak
	notes map[string][]kept
	came  map[string][]arrival
	wrong []string // calls of which something is wrong

	promised, delivered, lost, doubled int
	marked, onward, late               int // came twice, and why
}

func (c *soakCheck) fault(t *testing.T, call *tried, format string, args ...any) {
	t.Helper()
	t.Errorf("%s to %s: %s", call.name, call.member.name, fmt.Sprintf(format, args...))
	if !slices.Contains(c.wrong, call.name) {
		c.wrong = append(c.wrong, call.name)
	}
}

// check is of one call.
func (c *soakCheck) check(t *testing.T, call *tried) {
	t.Helper()
	notes, came := c.notes[call.name], c.came[call.name]
	wish, promised := call.promise(c.crowd.late())
	if promised {
		c.promised++
	}
	if len(notes) > 1 || (promised && len(notes) == 0) {
		c.fault(t, call, "%d notes are kept of it", len(notes))
	}
	waits := slices.ContainsFunc(notes, func(k kept) bool { return isPending(k.Summary) })
	taken := slices.DeleteFunc(slices.Clone(came), func(a arrival) bool { return !a.taken })
	arrived := len(taken) > 0
	if toWhatsApp(call.mailbox) && len(notes) == 1 {
		arrived = c.checkWhatsApp(t, call, notes[0], taken)
	}
	switch {
	case arrived:
		if promised {
			c.delivered++
		}
	case promised && !waits:
		c.lost++
		c.fault(t, call, "its note is lost")
	case len(notes) > 0 && !waits:
		c.fault(t, call, "its note never arrived, and is not pending")
	}
	if len(notes) == 1 && slices.ContainsFunc(notes[0].Jobs, func(j delivery.Job) bool { return j.State == delivery.JobDead }) {
		c.fault(t, call, "its note is dead")
	}
	for i, a := range taken {
		c.heard(t, call, a, wish, promised)
		if i+1 == len(taken) {
			break
		}
		if again := taken[i+1]; again.key == a.key && c.answerLost(a) {
			c.marked++
		} else {
			c.doubled++
			c.fault(t, call, "it came to %s at %s under %s, answered at %s, and to %s at %s under %s", a.gateway, clock(a.at), a.key, clock(a.ended), again.gateway, clock(again.at), again.key)
		}
	}
}

// answerLost says whether the gateway may not know that the service has taken
// the note: it was not told, or killed before it had kept it.
func (c *soakCheck) answerLost(a arrival) bool {
	if a.ended.IsZero() {
		return true
	}
	for _, m := range c.members {
		if "/"+m.name == a.gateway {
			late := c.crowd.late()
			return !m.death(a.at.Add(-inFlight-late), a.ended.Add(time.Second+late)).IsZero()
		}
	}
	return false
}

// inFlight is how long after a gateway's death a request may arrive that it had
// sent.
const inFlight = 200 * time.Millisecond

// heard compares what arrived with what was said.
func (c *soakCheck) heard(t *testing.T, call *tried, a arrival, wish promise, promised bool) {
	t.Helper()
	digest := sha256.Sum256(a.file)
	if len(a.file) > 0 && (a.Data.Media == nil || hex.EncodeToString(digest[:]) != a.Data.Media.SHA256) {
		c.fault(t, call, "its sound is damaged")
	}
	length := time.Duration(a.Data.DurationMS) * time.Millisecond
	if promised && (a.Data.Kind != "voice" || length < wish.least || length > wish.most || (a.Data.Partial && !wish.partial)) {
		c.fault(t, call, "it came as %s of %v, partial %v; said were %v, want %+v", a.Data.Kind, length, a.Data.Partial, call.length, wish)
	}
}

func clock(at time.Time) string { return at.UTC().Format("15:04:05.000") }

// explain prints what is known of calls that something is wrong with, and of
// notes that are pending: their lives at their homes, what Redis holds of them,
// what the gateways said of them, and when those died.
func (c *soakCheck) explain(t *testing.T) {
	t.Helper()
	for name, list := range c.notes {
		if slices.ContainsFunc(list, func(k kept) bool { return isPending(k.Summary) }) && !slices.Contains(c.wrong, name) {
			c.wrong = append(c.wrong, name)
		}
	}
	for _, m := range c.members {
		for _, at := range m.died {
			t.Logf("%s died at %s", m.name, clock(at))
		}
	}
	for _, name := range c.wrong[:min(len(c.wrong), 5)] {
		for _, a := range c.came[name] {
			t.Logf("%s came to %s at %s, taken %v, answered %s", name, a.gateway, clock(a.at), a.taken, clock(a.ended))
		}
		for _, k := range c.notes[name] {
			t.Logf("%s, at home with %s:\n%s", name, k.home.name, run(t, "note", "show", k.Note.ID, "--config", k.home.path))
			for _, j := range k.Jobs {
				for shard := range shared.Count {
					if v, err := c.setup.Servers[0].Try(fmt.Sprintf("HGETALL afterbeep:{%02d}:job:%s", shard, j.ID)); err == nil && fmt.Sprint(v) != "[]" {
						t.Logf("Redis, shard %d: %q", shard, v)
					}
				}
			}
			c.logged(t, k.Note.ID)
		}
	}
}

// logged prints the lines of all logs that have a note's id.
func (c *soakCheck) logged(t *testing.T, id string) {
	t.Helper()
	for _, m := range c.members {
		f, err := os.Open(filepath.Join(filepath.Dir(m.path), childLog))
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if strings.Contains(lines.Text(), id) {
				t.Logf("%s: %s", m.name, lines.Text())
			}
		}
		_ = f.Close()
	}
}

package shared

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// holdBack keeps a machine from telling until the returned function is called.
func (m *machine) holdBack() (release func()) {
	hold := make(chan struct{})
	m.ledger.mu.Lock()
	defer m.ledger.mu.Unlock()
	m.ledger.hold = hold
	return func() { close(hold) }
}

// TestClosedGateKeepsLeases: who holds a lease cannot renew it while the server
// is away; it is not taken from there before its holder was heard.
func TestClosedGateKeepsLeases(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a, b := join(t, setup.URL, "a"), join(t, setup.URL, "b")
	eventually(t, "they meet", func() bool { return a.knows("b") && b.knows("a") })
	j := b.publish(t, "m", "1", true)
	b.ledger.know(fact(IsSending, j))
	release := b.holdBack()
	key := prefix(ShardOf("m"))
	setup.Servers[0].Do(fmt.Sprintf("HSET %sclosed memory other", key))
	setup.Servers[0].Do(fmt.Sprintf("SET %sgate other", key)) // as after a failover
	setup.Servers[0].Do(fmt.Sprintf("ZADD %sleases 1 %s", key, j.ID))
	if ls, _ := a.Claim(t.Context(), 16); len(ls) != 0 {
		t.Errorf("claimed %+v", ls)
	}
	if state := setup.Servers[0].Do(fmt.Sprintf("HGET %sjob:%s state", key, j.ID)); state != "sending" {
		t.Errorf("the job is %v", state)
	}
	release()
	eventually(t, "its holder has told", func() bool { return a.Ready() && b.Ready() })
	if len(a.claim(t, 16)) != 0 {
		t.Error("claimed what is being sent")
	}
	b.delivers(t, j)
}

// delivers ends an attempt whose lease was kept: nobody doubts it.
func (m *machine) delivers(t *testing.T, j Job) {
	t.Helper()
	if !m.Held(j.ID, j.Epoch) {
		t.Error("the lease is not held")
	}
	if got := m.finish(t, j, "done"); got.State != Delivered || got.Unknown != 0 {
		t.Errorf("finished: %+v", got)
	}
}

// TestSlowTeller: a machine that is there and has much to tell is waited for
// longer than one that is away.
func TestSlowTeller(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	options := Options{URL: setup.URL, Lease: time.Second, Patience: 8 * time.Second}
	options.Machine = "a"
	a := enter(t, options, &memoryLedger{})
	options.Machine = "b"
	b := enter(t, options, &memoryLedger{})
	a.awaitOpen(t)
	eventually(t, "they meet", func() bool { return a.knows("b") && b.knows("a") })
	release := b.holdBack()
	setup.Flush()
	eventually(t, "a has told", func() bool { return a.untold() == 0 && a.Up() && !a.Ready() })
	time.Sleep(options.Patience + 2*beatEvery)
	if a.Ready() {
		t.Error("the gate opened without a machine that is telling")
	}
	release()
	a.awaitOpen(t)
	b.awaitOpen(t)
}

// TestLateOpening: a signature's answer that comes after the gate has closed
// again opens nothing.
func TestLateOpening(t *testing.T) {
	t.Parallel()
	s := open(t, Options{URL: "redis://127.0.0.1:1", Machine: "a"}, &memoryLedger{})
	defer func() { check(t, s.Close()) }()
	s.state[0].era = "second"
	for era, want := range map[string]bool{"first": false, "second": true} {
		s.state[0].open = false
		s.signed([]command{{shard: 0, args: []any{"a", era}}}, []reply{{value: "OPEN"}})
		if s.state[0].open != want {
			t.Errorf("in the second era, open in the %s: %v", era, !want)
		}
	}
}

// TestResultsFirst: nothing is published before what was told ahead of it is
// known, though the server may lack one of the scripts.
func TestResultsFirst(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := join(t, setup.URL, "a")
	j := a.publish(t, "m", "1", false)
	setup.Servers[0].Do("SCRIPT FLUSH")
	r := recall{s: a.Shared, in: ^Shards(0)}
	check(t, r.say(t.Context(), fact(WasDelivered, j)))
	check(t, r.say(t.Context(), pending(publication("m", "1", 1))))
	a.depth(t, 0, 0, 0)
	check(t, r.flush(t.Context()))
	if len(a.ledger.learned) != 1 || a.ledger.learned[0].State != Delivered {
		t.Errorf("learned %+v", a.ledger.learned)
	}
}

// TestClockSetBack: a server whose clock was set back neither waits for a
// missing machine until it has caught up, nor refuses sends until then.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := enter(t, Options{URL: setup.URL, Machine: "a", Lease: time.Second, Patience: 2 * time.Second}, &memoryLedger{peers: []string{"gone"}})
	a.awaitOpen(t)
	server := setup.Servers[0]
	for i := range shards {
		server.Do(fmt.Sprintf("DEL %sgate", prefix(i)))
		server.Do(fmt.Sprintf("HSET %sclosed at 9000000000000", prefix(i)))
	}
	eventually(t, "the closed gates are seen", func() bool { return !a.Ready() })
	a.awaitOpen(t)
	server.Do(fmt.Sprintf("SET %slimit:c 9000000000000000", prefix(ShardOf("c"))))
	_, wait, err := a.Take(t.Context(), "c", 10, 1)
	check(t, err)
	if wait > time.Second {
		t.Errorf("the next send is in %v", wait)
	}
}

// unreadable is a ledger whose peers cannot be read for a while.
type unreadable struct {
	*memoryLedger
	failures int
}

func (l *unreadable) Peers(ctx context.Context) ([]string, error) {
	if l.failures++; l.failures < 3 {
		return nil, errors.New("the disk is tired")
	}
	return l.memoryLedger.Peers(ctx)
}

// TestUnreadablePeers: whoever does not know whom to wait for shares nothing.
func TestUnreadablePeers(t *testing.T) {
	t.Parallel()
	s := open(t, Options{URL: "redis://127.0.0.1:1", Machine: "a"}, &unreadable{&memoryLedger{peers: []string{"b"}}, 0})
	defer func() { check(t, s.Close()) }()
	for try := range 3 {
		if read := s.rememberPeers(t.Context()); read != (try == 2) || s.knows("b") != read {
			t.Errorf("try %d: read %v, knows its peer %v", try, read, s.knows("b"))
		}
	}
}

// TestWhole: what a server may have forgotten of a mailbox it is taken to know once
// each machine that beats has told and shown it, and ten minutes later.
func TestWhole(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := still(t, Options{URL: setup.URL, Machine: "a"})
	b := still(t, Options{URL: setup.URL, Machine: "b"})
	shows := func(m *machine) {
		t.Helper()
		var eras [Count]string
		for shard := range eras {
			eras[shard] = m.Era(shard)
		}
		check(t, m.Shown(t.Context(), eras))
	}
	a.beat(t.Context())
	expect(t, a.Whole(t.Context(), "m"), ErrGate)
	a.tellAndOpen(t)
	check(t, a.Whole(t.Context(), "m"))
	b.beat(t.Context())
	expect(t, a.Whole(t.Context(), "m"), ErrGate)
	shows(b)
	check(t, a.Whole(t.Context(), "m"))
	setup.Flush()
	shows(b) // to what it did not see forget
	a.meets(t, b)
	expect(t, a.Whole(t.Context(), "m"), ErrGate)
	expect(t, b.Whole(t.Context(), "m"), ErrGate)
	a.later(t, setup, showWithin+time.Second, 0)
	b.beat(t.Context())
	check(t, a.Whole(t.Context(), "m"))
}

// meets has two machines tell an empty server what they know until leases are given
// out.
func (m *machine) meets(t *testing.T, other *machine) {
	t.Helper()
	for range 2 {
		m.beat(t.Context())
		other.beat(t.Context())
	}
	m.recall(t.Context(), m.untold())
	other.tellAndOpen(t)
}

package shared

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// pending is the fact that a machine's note has jobs to do.
func pending(p Publication) Fact { return Fact{Kind: IsPending, Note: p} }

// fact is what a machine knows of a job.
func fact(kind Kind, j Job) Fact { return Fact{Kind: kind, Job: j} }

func TestStallLeavesOneEntry(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := enter(t, Options{URL: setup.URL, Machine: "a", Lease: 20 * time.Second, Answer: 2 * time.Second}, &memoryLedger{})
	a.awaitOpen(t)
	setup.Servers[0].Pause()
	began := time.Now()
	_, err := a.Publish(t.Context(), publication("m", "1", 1), false, true)
	expect(t, err, ErrUncertain)
	eventually(t, "the stall is noticed", func() bool { return !a.Up() })
	quick := time.Now()
	_, err = a.Publish(t.Context(), publication("m", "1", 1), true, true)
	expect(t, err, ErrAway)
	if took := time.Since(quick); took >= a.o.Answer {
		t.Errorf("what is known to be away took %v", took)
	}
	for len(a.Back()) > 0 { // of the beginning
		<-a.Back()
	}
	time.Sleep(6*time.Second - time.Since(began))
	setup.Servers[0].Resume()
	eventually(t, "the end of the stall is noticed", a.Up)
	select {
	case <-a.Back():
	case <-time.After(patience):
		t.Error("nobody is told that it is back")
	}
	var jobs []Job
	eventually(t, "it can be published", func() bool { // a beat of before may still fail
		jobs, err = a.Publish(t.Context(), publication("m", "1", 1), true, true)
		return err == nil
	})
	if j := jobs[0]; !j.Leased || j.Attempt != 1 || j.Unknown != 0 || !a.Held(j.ID, j.Epoch) {
		t.Errorf("after the stall: %+v", j)
	}
	a.depth(t, 0, 1, 0)
}

// TestLostClaim: leases whose answer was lost are handed out by the next claim,
// without a doubt, however late the server gets to the first.
func TestLostClaim(t *testing.T) {
	t.Parallel()
	const lease = 8 * time.Second
	for name, away := range map[string]time.Duration{"at once": 0, "after longer than a lease": lease + time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := redistest.Single(t)
			a := enter(t, Options{URL: setup.URL, Machine: "a", Answer: time.Second, Lease: lease}, &memoryLedger{})
			a.awaitOpen(t)
			_, _ = a.Claim(t.Context(), 16) // the server has the script
			a.publish(t, "m", "1", false)
			setup.Servers[0].Pause()
			_, err := a.Claim(t.Context(), 16)
			expect(t, err, ErrUncertain)
			time.Sleep(away)
			setup.Servers[0].Resume()
			if l := a.claimOne(t); l.Attempt != 1 || l.Unknown != 0 {
				t.Errorf("claimed %+v", l)
			}
		})
	}
}

// TestForgetful: whatever makes Redis forget, no lease is given out before
// both machines told it what they know, and then everything is as it was.
func TestForgetful(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(*redistest.Setup){
		"flush":   (*redistest.Setup).Flush,
		"restart": func(s *redistest.Setup) { s.Servers[0].Kill(); s.Servers[0].Start() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := redistest.Single(t)
			a, b := join(t, setup.URL, "a"), join(t, setup.URL, "b")
			eventually(t, "they meet", func() bool { return a.knows("b") && b.knows("a") })
			knowEachState(t, a, b)
			release := b.holdBack()
			forget(setup)
			eventually(t, "a has told", func() bool { return a.untold() == 0 && a.Up() && !a.Ready() })
			a.publish(t, "new", "1", true)
			if ls, err := a.Claim(t.Context(), 16); len(ls) != 0 {
				t.Fatalf("claimed behind a closed gate: %+v, %v", ls, err)
			}
			release()
			a.awaitOpen(t)
			expectEachState(t, a, b)
		})
	}
}

// knowEachState makes jobs of machine a: delivered by b, under way at b, dead
// and queued; and has the ledgers know it.
func knowEachState(t *testing.T, a, b *machine) {
	t.Helper()
	for _, note := range []string{"1-delivered", "2-sending", "3-dead", "4-queued"} {
		p := publication("m"+note, note, 1)
		_, err := a.Publish(t.Context(), p, false, false)
		check(t, err)
		if note == "4-queued" {
			a.ledger.know(pending(p))
			continue
		}
		l := b.claimOne(t).Job
		switch note {
		case "1-delivered":
			b.finish(t, l, "done")
			b.ledger.know(fact(WasDelivered, l))
			a.ledger.know(pending(p)) // a has not heard of it
		case "2-sending":
			b.ledger.know(fact(IsSending, l))
			a.ledger.know(pending(p))
		case "3-dead":
			b.finish(t, l, "dead")
			l = b.claimOne(t).Job
			l.Unknown = 2
			b.finish(t, l, "dead")
			b.ledger.know(fact(WasDead, l))
			a.ledger.know(pending(p))
		}
	}
}

func expectEachState(t *testing.T, a, b *machine) {
	t.Helper()
	var notes []string
	for _, l := range append(a.claim(t, 16), b.claim(t, 16)...) {
		if l.Unknown != 0 {
			t.Errorf("a doubt without a cause: %+v", l)
		}
		notes = append(notes, l.Note)
	}
	if got := fmt.Sprint(notes); got != "[m4-queued-4-queued new-1]" && got != "[new-1 m4-queued-4-queued]" {
		t.Errorf("claimed %v", notes)
	}
	a.depth(t, 0, 3, 1)
	jobs, err := b.Redrive(t.Context(), "m3-dead", "m3-dead-3-dead")
	if err != nil || len(jobs) != 1 || jobs[0].Unknown != 2 {
		t.Errorf("the dead job, driven again: %+v, %v", jobs, err)
	}
	for _, f := range b.ledger.facts {
		if f.Kind == IsSending {
			if !b.Held(f.Job.ID, f.Job.Epoch) {
				t.Error("the lease that was under way is not held")
			}
			b.finish(t, f.Job, "done")
		}
	}
}

// TestMissingMachine: the gate opens without a machine that stays away, and
// what that one may have sent is given out as a possible repeat until it is
// back.
func TestMissingMachine(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	options := Options{URL: setup.URL, Machine: "a", Lease: time.Second, Patience: 6 * time.Second}
	a := enter(t, options, &memoryLedger{})
	a.awaitOpen(t)
	b := join(t, setup.URL, "b")
	eventually(t, "they meet", func() bool { return a.knows("b") })
	p := publication("m", "1", 1)
	_, err := a.Publish(t.Context(), p, false, false)
	check(t, err)
	a.ledger.know(pending(p))
	b.end()
	began := time.Now()
	setup.Flush()
	eventually(t, "a has told", func() bool { return a.untold() == 0 && a.Up() && !a.Ready() })
	fresh := publication("m2", "2", 1)
	_, err = a.Publish(t.Context(), fresh, false, false)
	check(t, err)
	a.awaitOpen(t)
	if took := time.Since(began); took < options.Patience {
		t.Errorf("opened after %v", took)
	}
	for _, l := range a.claim(t, 16) {
		if doubted := l.Unknown == 1; doubted != (l.Note == "m-1") {
			t.Errorf("claimed %+v", l)
		}
		a.finish(t, l.Job, "done")
	}
	a.beat(t.Context())
	if !a.knows("b") {
		t.Error("the missing machine would not be waited for again")
	}
	b = enter(t, Options{URL: setup.URL, Machine: "b"}, &memoryLedger{})
	b.awaitOpen(t)
	eventually(t, "nobody is missing", func() bool {
		return setup.Servers[0].Do(fmt.Sprintf("EXISTS %smissing", prefix(0))) == int64(0)
	})
}

func TestLeaveInOrder(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a, b := join(t, setup.URL, "a"), join(t, setup.URL, "b")
	eventually(t, "they meet", func() bool { return a.knows("b") })
	b.stop()
	check(t, b.Leave(t.Context()))
	b.beat(t.Context()) // as one does that was on its way
	b.end()
	eventually(t, "it is forgotten", func() bool { return !a.knows("b") })
	told := a.ledger.told()
	setup.Flush()
	eventually(t, "it tells again, and nobody else is waited for", func() bool { return a.ledger.told() > told && a.Ready() })
	if len(a.ledger.peers) != 1 {
		t.Errorf("peers %v", a.ledger.peers)
	}
}

// TestFailoverLosesWrites: a result that the new master never got is told to
// it again, and the note is not sent twice.
func TestFailoverLosesWrites(t *testing.T) {
	t.Parallel()
	setup := redistest.Replicated(t)
	url := strings.TrimSuffix(setup.URL, "?replicas=1") // as many are run
	a, b := join(t, url, "a"), join(t, url, "b")
	eventually(t, "they meet", func() bool { return a.knows("b") && b.knows("a") })
	p := publication("m", "1", 1)
	_, err := a.Publish(t.Context(), p, false, false)
	check(t, err)
	a.ledger.know(pending(p))
	setup.Servers[0].Do("WAIT 1 1000")
	setup.Servers[1].Do("REPLICAOF NO ONE") // the link is cut, and the new master has not heard:
	l := b.claimOne(t).Job
	b.finish(t, l, "done")
	b.ledger.know(fact(WasDelivered, l))
	lost := publication("m2", "2", 1)
	_, err = a.Publish(t.Context(), lost, false, false)
	check(t, err)
	a.ledger.know(pending(lost))
	setup.Servers[1].Do(fmt.Sprintf("REPLICAOF 127.0.0.1 %d", 1)) // a replica again, of nobody
	before := map[*machine]int{a: a.ledger.told(), b: b.ledger.told()}
	setup.Servers[0].Kill()
	setup.Servers[1].Do("REPLICAOF NO ONE")
	setup.Failover(t)
	for m, told := range before {
		eventually(t, "it tells again", func() bool { return m.ledger.told() > told && m.Ready() })
	}
	ls := append(a.claim(t, 16), b.claim(t, 16)...)
	if len(ls) != 1 || ls[0].Note != "m2-2" || ls[0].Unknown != 0 {
		t.Errorf("claimed %+v", ls)
	}
}

func TestTooFewReplicas(t *testing.T) {
	t.Parallel()
	setup := redistest.Replicated(t)
	a := enter(t, Options{URL: setup.URL, Machine: "a", Answer: time.Second}, &memoryLedger{})
	a.awaitOpen(t)
	setup.Servers[1].Pause()
	_, err := a.Publish(t.Context(), publication("m", "1", 1), false, true)
	expect(t, err, ErrUncertain)
	setup.Servers[1].Resume()
	var jobs []Job
	eventually(t, "the replica is back", func() bool {
		jobs, err = a.Publish(t.Context(), publication("m", "1", 1), true, true)
		return err == nil
	})
	if !jobs[0].Leased || jobs[0].Attempt != 1 {
		t.Errorf("published again: %+v", jobs[0])
	}
}

// TestFull: a server without memory refuses for certain, and takes results
// nevertheless.
func TestFull(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := join(t, setup.URL, "a")
	j := a.publish(t, "m", "1", true)
	setup.Servers[0].Do("CONFIG SET maxmemory 1")
	_, err := a.Publish(t.Context(), publication("m", "2", 1), false, true)
	expect(t, err, ErrAway)
	a.finish(t, j, "retry")
	setup.Servers[0].Do("CONFIG SET maxmemory 0")
	if l := a.claimOne(t); l.Note != "m-1" || l.Attempt != 2 {
		t.Errorf("claimed %+v", l)
	}
	a.depth(t, 0, 1, 0)
}

func TestRefusedServers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		lines []string
		first string
		want  error
	}{
		"newer":  {nil, fmt.Sprintf("SET %sformat 2", prefix(0)), errNewer},
		"evicts": {[]string{"maxmemory 100mb", "maxmemory-policy allkeys-lru"}, "PING", errEvicts},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := redistest.Single(t, tc.lines...)
			setup.Servers[0].Do(tc.first)
			a := enter(t, Options{URL: setup.URL, Machine: "a"}, &memoryLedger{})
			eventually(t, "the server is refused", func() bool { return a.usable(0) != nil && a.usable(0).Error() == tc.want.Error() })
			if a.Ready() {
				t.Error("it is used")
			}
		})
	}
}

// TestLeaseRunsOut: a machine that dies in mid-send leaves a doubt, and what it
// says afterwards is refused, but for a delivery.
func TestLeaseRunsOut(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	options := Options{URL: setup.URL, Machine: "a", Lease: 8 * time.Second}
	a := enter(t, options, &memoryLedger{})
	a.awaitOpen(t)
	b := join(t, setup.URL, "b")
	kept, left := a.publish(t, "m", "1", true), a.publish(t, "m2", "2", true)
	a.leases.drop(left.ID, left.Epoch) // nobody renews it
	time.Sleep(options.Lease * 4 / 5)
	if !a.Held(kept.ID, kept.Epoch) {
		t.Error("a lease was not renewed")
	}
	l := b.claimOne(t)
	if l.ID != left.ID || l.Unknown != 1 || l.Attempt != 2 {
		t.Errorf("taken over: %+v", l)
	}
	_, _, err := a.Finish(t.Context(), left, Result{Outcome: "retry"})
	expect(t, err, ErrFenced)
	if ms := a.drain(t); len(ms) < 2 || ms[0].Name != "unknown" || ms[0].State != Queued || ms[1].Name != "sending" {
		t.Errorf("messages %+v", ms)
	}
	setup.Servers[0].Pause()
	time.Sleep(options.Lease)
	if a.Held(kept.ID, kept.Epoch) {
		t.Error("a lease that could not be renewed is held")
	}
	setup.Servers[0].Resume()
}

// TestUnbegunLease: a lease that Redis has forgotten, and whose attempt is not
// in the ledger, must not be begun.
func TestUnbegunLease(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := join(t, setup.URL, "a")
	begun, unbegun := a.publish(t, "m", "1", true), a.publish(t, "m2", "2", true)
	a.ledger.know(fact(IsSending, begun))
	told := a.ledger.told()
	setup.Flush()
	eventually(t, "it tells again", func() bool { return a.ledger.told() > told && a.Ready() })
	if !a.Held(begun.ID, begun.Epoch) || a.Held(unbegun.ID, unbegun.Epoch) {
		t.Error("the wrong lease is held")
	}
	_, _, err := a.Finish(t.Context(), unbegun, Result{Outcome: "retry"})
	expect(t, err, ErrFenced)
}

// TestRestartedMachine: a process does not take up what an earlier one of its
// machine had leased: that may have been sent.
func TestRestartedMachine(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := join(t, setup.URL, "a")
	p := publication("m", "1", 1)
	j := a.publish(t, "m", "1", true)
	a.end()
	ledger := &memoryLedger{}
	ledger.know(fact(WasInterrupted, j), pending(p))
	a = enter(t, Options{URL: setup.URL, Machine: "a"}, ledger)
	a.awaitOpen(t)
	if l := a.claimOne(t); l.Attempt != 2 || l.Unknown != 1 {
		t.Errorf("claimed %+v", l)
	}
}

// TestClusterNodeDown: the shards of the other nodes work on.
func TestClusterNodeDown(t *testing.T) {
	t.Parallel()
	setup := redistest.Cluster(t)
	for _, server := range setup.Servers {
		server.Do("CONFIG SET cluster-require-full-coverage no")
	}
	a := join(t, setup.URL, "a")
	for i := range 40 {
		a.publish(t, fmt.Sprint("m", i), "1", false)
	}
	setup.Servers[2].Kill()
	eventually(t, "it is noticed", func() bool { return !a.Up() })
	ls, err := a.Claim(t.Context(), 64)
	if len(ls) < 10 || len(ls) > 35 {
		t.Errorf("%d jobs claimed, error %v", len(ls), err)
	}
}

// TestFullKeepsLeases: a server that is full goes on with what it has: leases
// are renewed, and after a restart it is told what it may have forgotten.
func TestFullKeepsLeases(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t, "appendonly yes")
	a := enter(t, Options{URL: setup.URL, Machine: "a", Lease: 8 * time.Second, Patience: 20 * time.Second}, &memoryLedger{})
	a.awaitOpen(t)
	held, waits := a.publish(t, "m", "1", true), publication("m2", "2", 1)
	_, err := a.Publish(t.Context(), waits, false, false)
	check(t, err)
	a.ledger.know(fact(IsSending, held))
	a.ledger.know(pending(waits))
	setup.Servers[0].Do("CONFIG SET maxmemory 1")
	time.Sleep(12 * time.Second)
	if !a.Held(held.ID, held.Epoch) {
		t.Error("the lease ran out")
	}
	setup.Servers[0].Do("CONFIG REWRITE")
	told := a.ledger.told()
	setup.Servers[0].Kill()
	setup.Servers[0].Start()
	eventually(t, "it is told again", func() bool { return a.ledger.told() > told && a.Ready() })
	if l := a.claimOne(t); l.Note != "m2-2" || l.Unknown != 0 {
		t.Errorf("claimed %+v", l)
	}
}

// TestClone: two machines that run on copies of one store have one id. The one
// that finds the other there after it stays out, and says why.
func TestClone(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	first := join(t, setup.URL, "a")
	second := join(t, setup.URL, "a")
	eventually(t, "the first stays out", func() bool { return errors.Is(first.whyDown(), errClone) })
	time.Sleep(2 * beatEvery)
	if first.Up() {
		t.Error("the first is up again")
	}
	eventually(t, "the second goes on", second.Up)
	second.end()
	again := join(t, setup.URL, "a") // after a crash it is back at once
	if !again.Up() {
		t.Error("a machine that was started again stays out")
	}
}

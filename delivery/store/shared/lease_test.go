package shared

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// TestAdopt: a lease is handed out once, whatever answers bring it again.
func TestAdopt(t *testing.T) {
	t.Parallel()
	const ttl = 10 * time.Second
	job := func(epoch int) Job { return Job{ID: "j", Epoch: epoch, Leased: true} }
	for name, tc := range map[string]struct {
		before  func(*leases, moment)
		j       Job
		age     time.Duration // of the answer's request
		adopted bool
		held    bool // afterwards
	}{
		"new":               {func(*leases, moment) {}, job(1), 0, true, true},
		"not leased":        {func(ls *leases, m moment) { ls.adopt(job(1), m, ttl) }, Job{ID: "j", Epoch: 1}, 0, false, true},
		"once more":         {func(ls *leases, m moment) { ls.adopt(job(1), m, ttl) }, job(1), 0, false, true},
		"once it ended":     {func(ls *leases, m moment) { ls.adopt(job(1), m, ttl); ls.drop("j", 1) }, job(1), 0, false, false},
		"once it is late":   {func(ls *leases, m moment) { ls.adopt(job(2), m, ttl) }, job(1), 0, false, true},
		"the next":          {func(ls *leases, m moment) { ls.adopt(job(1), m, ttl) }, job(2), 0, true, true},
		"suspended":         {func(ls *leases, _ moment) { ls.suspend(1) }, job(1), 0, true, false},
		"elsewhere":         {func(ls *leases, _ moment) { ls.suspend(2) }, job(1), 0, true, true},
		"handed, suspended": {func(ls *leases, m moment) { ls.adopt(job(1), m, ttl); ls.suspend(1) }, job(1), 0, false, false},
		"out of memory":     {func(*leases, moment) {}, job(1), ttl, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ls := leases{byJob: map[string]held{}}
			m := ls.now()
			tc.before(&ls, m)
			m.at = m.at.Add(-tc.age)
			if got := ls.adopt(tc.j, m, ttl); got != tc.adopted {
				t.Errorf("adopted: %v", got)
			}
			if got := !ls.byJob["j"].until.IsZero(); got != tc.held {
				t.Errorf("held: %v", got)
			}
		})
	}
}

// TestToldInHope: a lease that Redis was told of and that nobody was handed is
// known, so that it can be given back, but never begun.
func TestToldInHope(t *testing.T) {
	t.Parallel()
	j := Job{ID: "j", Epoch: 1, Leased: true}
	s := Shared{leases: leases{byJob: map[string]held{}}, o: Options{Lease: 10 * time.Second}}
	m := s.leases.now()
	s.leases.resume(j, m, s.o.Lease)
	s.leases.resume(j, m, s.o.Lease) // told again
	if all := s.Leases(); len(all) != 1 || all[0].ID != "j" || all[0].Epoch != 1 {
		t.Errorf("known %+v", all)
	}
	if s.Held("j", 1) || s.HandedOut("j", 1) || s.leases.adopt(j, m, s.o.Lease) {
		t.Error("it may be begun")
	}
	j.Epoch = 2
	if !s.leases.adopt(j, m, s.o.Lease) || !s.Held("j", 2) || !s.HandedOut("j", 2) || s.HandedOut("j", 1) {
		t.Error("the next lease is not handed out")
	}
	s.leases.drop("j", 2)
	if all := s.Leases(); len(all) != 0 {
		t.Errorf("after its end, known %+v", all)
	}
}

// TestLateAnswers: what was asked before a suspension, or ended meanwhile, is
// neither renewed nor resumed.
func TestLateAnswers(t *testing.T) {
	t.Parallel()
	const ttl = 10 * time.Second
	j := Job{ID: "j", Epoch: 1, Leased: true}
	ls := leases{byJob: map[string]held{}}
	before := ls.now()
	ls.adopt(j, before, ttl)
	l := ls.sweep(ttl)[0][0]
	ls.suspend(1)
	after := ls.now()
	lasts := func() bool { return !ls.byJob["j"].until.IsZero() }
	if ls.renewed(l, before, before.at.Add(ttl)); lasts() {
		t.Error("renewed by an answer from before the suspension")
	}
	if ls.resume(j, before, ttl); lasts() {
		t.Error("resumed by an answer from before the suspension")
	}
	if ls.resume(j, after, ttl); !lasts() {
		t.Error("not resumed")
	}
	if ls.renewed(l, before, time.Time{}); !lasts() {
		t.Error("lost by an answer from before the suspension")
	}
	ls.drop("j", 1)
	if ls.resume(j, after, ttl); lasts() {
		t.Error("resumed after its end")
	}
	if ls.sweep(ttl); len(ls.byJob) != 1 {
		t.Error("an ended lease was forgotten at once")
	}
	if ls.sweep(0); len(ls.byJob) != 0 {
		t.Error("an ended lease was never forgotten")
	}
}

// TestForgottenLease: the end of a lease that Redis has forgotten is not taken
// for that of the one that followed it, be they of one process.
func TestForgottenLease(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(*redistest.Setup){
		"flush":   (*redistest.Setup).Flush,
		"restart": func(s *redistest.Setup) { s.Servers[0].Kill(); s.Servers[0].Start() },
		"older": func(s *redistest.Setup) { // the lease is lost, its job is not
			key := prefix(ShardOf("m"))
			s.Servers[0].Do(fmt.Sprintf("HSET %sjob:m-1-job0 state queued epoch 0 attempt 0 memory other", key))
			s.Servers[0].Do(fmt.Sprintf("ZADD %sdue 1 m-1-job0", key))
			s.Servers[0].Do(fmt.Sprintf("ZREM %sleases m-1-job0", key))
			s.Servers[0].Do(fmt.Sprintf("HSET %sclosed memory other", key))
			s.Servers[0].Do(fmt.Sprintf("SET %sgate other", key))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := redistest.Single(t)
			a := join(t, setup.URL, "a")
			unbegun := a.publish(t, "m", "1", true)
			a.ledger.know(pending(publication("m", "1", 1)))
			told := a.ledger.told()
			forget(setup)
			eventually(t, "it tells again", func() bool { return a.ledger.told() > told && a.Ready() })
			l := a.claimOne(t)
			if l.ID != unbegun.ID || l.Unknown != 0 || !a.Held(l.ID, l.Epoch) {
				t.Fatalf("claimed %+v", l)
			}
			expect(t, a.Release(t.Context(), unbegun), ErrFenced)
			_, _, err := a.Finish(t.Context(), unbegun, Result{Outcome: "retry"})
			expect(t, err, ErrFenced)
			if ls := a.claim(t, 16); len(ls) != 0 || !a.Held(l.ID, l.Epoch) {
				t.Errorf("while it is being sent, claimed %+v", ls)
			}
			a.finish(t, l.Job, "done")
		})
	}
}

// TestEndedWhileTold: a lease that ends while the ledger tells of it is not
// made anew: nobody would end it.
func TestEndedWhileTold(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := join(t, setup.URL, "a")
	for outcome, want := range map[string]State{"retry": Queued, "dead": Queued, "done": Delivered} {
		j := a.publish(t, outcome, "1", true)
		a.finish(t, j, outcome)
		cmd, err := a.telling(fact(IsSending, j))
		check(t, err)
		v, err := a.client.do(t.Context(), cmd)
		check(t, err)
		if got, err := parseJob(cmd.shard, v); err != nil || got.State != want || got.Leased {
			t.Errorf("after %s: %+v, %v", outcome, got, err)
		}
	}
}

// TestToldLease: what is being sent is that, whichever machine tells first, and
// whatever older lease the server remembers.
func TestToldLease(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a, b := join(t, setup.URL, "a"), join(t, setup.URL, "b")
	tell := func(m *machine, f Fact) Job {
		cmd, err := m.telling(f)
		check(t, err)
		v, err := m.client.do(t.Context(), cmd)
		check(t, err)
		if f.Kind == IsPending {
			jobs, err := parseJobs(cmd.shard, v)
			check(t, err)
			return jobs[0]
		}
		j, err := parseJob(cmd.shard, v)
		check(t, err)
		return j
	}
	p := publication("m", "1", 1)
	sent := Job{
		ID: p.Jobs[0].ID, Note: p.ID, Shard: ShardOf("m"), Thread: p.Jobs[0].Thread, Steps: 2, Attempt: 1, Epoch: 3, Home: "a",
	}
	p.Audio = nil
	p.Jobs[0].Epoch = 3 // its home heard of it
	tell(a, pending(p))
	if j := tell(b, fact(IsSending, sent)); !j.Leased || j.Epoch != 3 || j.State != Sending {
		t.Errorf("told after its home: %+v", j)
	}
	if j := tell(a, pending(p)); j.State != Sending || j.Epoch != 3 {
		t.Errorf("its home again: %+v", j)
	}
	later := sent
	later.Epoch = 4
	if j := tell(a, fact(IsSending, later)); !j.Leased || j.Epoch != 4 {
		t.Errorf("a later lease: %+v", j)
	}
	if j := tell(b, fact(IsSending, sent)); j.Leased || j.Epoch != 4 {
		t.Errorf("an earlier lease: %+v", j)
	}
}

// TestHandedOutOnce: the answers of a publication and a claim are lost; each
// lease comes back once, from whichever is asked first.
func TestHandedOutOnce(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := enter(t, Options{URL: setup.URL, Machine: "a", Lease: time.Minute, Patience: 2 * time.Minute, Answer: time.Second}, &memoryLedger{})
	a.awaitOpen(t)
	a.publish(t, "m1", "1", false)
	setup.Servers[0].Pause()
	_, err := a.Claim(t.Context(), 16)
	if !errors.Is(err, ErrUncertain) && !errors.Is(err, ErrAway) {
		t.Errorf("error %v", err)
	}
	for _, mailbox := range []string{"m1", "m2"} {
		a.lost(ShardOf(mailbox), a.leases.now())
	}
	_, _ = a.client.do(context.Background(), a.mustPublish(t, publication("m2", "1", 1)))
	setup.Servers[0].Resume()
	eventually(t, "the stall is over", a.Ready)
	handed := map[string]int{}
	for range 5 {
		for _, mailbox := range []string{"m1", "m2"} {
			var jobs []Job
			eventually(t, "it can be published", func() bool { // a beat of before may still fail
				jobs, err = a.Publish(t.Context(), publication(mailbox, "1", 1), true, true)
				return err == nil
			})
			if jobs[0].Leased {
				handed[jobs[0].ID]++
			}
		}
		leases, _ := a.Claim(t.Context(), 16)
		for _, l := range leases {
			handed[l.ID]++
		}
	}
	if len(handed) != 2 || handed["m1-1-job0"] != 1 || handed["m2-1-job0"] != 1 {
		t.Errorf("handed out %v", handed)
	}
}

// mustPublish is the command that publishes and asks for leases.
func (m *machine) mustPublish(tb testing.TB, p Publication) command {
	tb.Helper()
	cmd, err := m.publishing(p, false, true, []byte("audio"))
	check(tb, err)
	return cmd
}

// TestLateDeliveryIsRefused: a delivery that is told with a lease that ran out
// does not outlive the service's word that it failed, while the next one lasts.
func TestLateDeliveryIsRefused(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := enter(t, Options{URL: setup.URL, Machine: "a", Lease: time.Second}, &memoryLedger{})
	a.awaitOpen(t)
	b := join(t, setup.URL, "b")
	left := a.publish(t, "m", "1", true)
	a.leases.drop(left.ID, left.Epoch)
	l := b.claimOne(t)
	if _, _, err := a.Finish(t.Context(), left, Result{Outcome: "done"}); err != nil {
		t.Fatal(err)
	}
	reported := l.Job
	reported.Round = -1 // the present one
	if _, err := a.Report(t.Context(), reported, Said{What: "refused"}); err != nil {
		t.Fatal(err)
	}
	if j, otherwise, err := b.Finish(t.Context(), l.Job, Result{Outcome: "done"}); err != nil || !otherwise || j.State != Queued || j.Step != 1 {
		t.Errorf("%+v, %v, %v", j, otherwise, err)
	}
}

// TestForgottenStep: a delivery that a machine tells anew is that by the target
// which took the note, though the job's home had not heard that it went on.
func TestForgottenStep(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a, b := join(t, setup.URL, "a"), join(t, setup.URL, "b")
	eventually(t, "they meet", func() bool { return a.knows("b") && b.knows("a") })
	j := a.publish(t, "m", "1", false)
	a.ledger.know(pending(publication("m", "1", 1)))
	j.Step = 1
	b.ledger.know(fact(WasDelivered, j))
	release := b.holdBack()
	setup.Flush()
	eventually(t, "a has told", func() bool { return a.untold() == 0 && a.Up() && !a.Ready() })
	release()
	a.awaitOpen(t)
	if told, err := a.Find(t.Context(), j.ID); err != nil || told.State != Delivered || told.Step != 1 {
		t.Errorf("%+v, %v", told, err)
	}
}

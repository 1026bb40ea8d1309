package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// pair are two machines that have met. Leases last for the time given, 0 for
// as long as ever.
func pair(t *testing.T, setup *redistest.Setup, lease time.Duration) (a, b *machine) {
	t.Helper()
	return pairWith(t, setup, shared.Options{Lease: lease})
}

func pairWith(t *testing.T, setup *redistest.Setup, with shared.Options) (a, b *machine) {
	t.Helper()
	a = startFleet(t, Options{Path: t.TempDir(), Redis: setup.URL, Operator: []string{delivery.EventDead}}, with)
	b = startFleet(t, Options{Path: t.TempDir(), Redis: setup.URL, Operator: []string{delivery.EventDead}}, with)
	a.awaitReady(t)
	b.awaitReady(t)
	eventually(t, "they meet", func() bool { return a.peers.Load() == 2 && b.peers.Load() == 2 })
	return a, b
}

// claimOne waits for a lease.
func claimOne(t *testing.T, k keeper) delivery.Lease {
	t.Helper()
	var leases []delivery.Lease
	eventually(t, "a job can be claimed", func() bool {
		leases = claim(t, k, 1)
		return len(leases) == 1
	})
	return leases[0]
}

func done() delivery.Result {
	return delivery.Result{Outcome: delivery.Done, Receipt: delivery.Receipt{ID: "m1", Detail: "200 OK"}}
}

// hears waits until a note's life at its home is as wanted.
func (m *machine) hears(t *testing.T, note, want string) {
	t.Helper()
	var got string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = names(life(t, m, note)); got == want {
			return
		}
	}
	t.Errorf("events %s\nwant   %s", got, want)
}

// settledUp waits until nothing of a machine is left to tell, and every job of
// it has ended.
func (m *machine) settledUp(t *testing.T) {
	t.Helper()
	eventually(t, "all is settled", func() bool {
		depth, err := m.Depth(t.Context())
		check(t, err)
		left, err := m.unsettled(t.Context(), 1)
		check(t, err)
		return depth["queued"]+depth["sending"] == 0 && len(left) == 0
	})
}

// books are what was promised and what arrived, by job.
type books struct {
	mu       sync.Mutex
	promised []string
	arrived  map[string]int
	marked   map[string]bool // arrived as a possible repeat
}

// call leaves a note on a machine, which sends it at once where it may.
func (b *books) call(t *testing.T, m *machine, caller string) {
	t.Helper()
	n := newNote("101", caller)
	leases := keep(t, m, n, chainTo("crm"))
	jobs := life(t, m, n.ID).Jobs
	b.mu.Lock()
	b.promised = append(b.promised, jobs[0].ID)
	b.mu.Unlock()
	for _, l := range leases {
		b.send(t.Context(), t, m, l)
	}
}

// calls leaves notes on some machines by turns until the end.
func (b *books) calls(t *testing.T, end <-chan struct{}, machines ...*machine) {
	t.Helper()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-end:
			return
		case <-tick.C:
			b.call(t, machines[i%len(machines)], fmt.Sprint(i%40))
		}
	}
}

// send makes an attempt that arrives.
func (b *books) send(ctx context.Context, t *testing.T, m *machine, l delivery.Lease) {
	t.Helper()
	if err := m.Start(ctx, l); err != nil {
		if !errors.Is(err, delivery.ErrFenced) {
			t.Error(err)
		}
		return
	}
	b.mu.Lock()
	if b.arrived == nil {
		b.arrived, b.marked = map[string]int{}, map[string]bool{}
	}
	b.arrived[l.Job]++
	b.marked[l.Job] = b.marked[l.Job] || l.Unknown
	b.mu.Unlock()
	if err := m.Finish(ctx, l, done()); err != nil && !errors.Is(err, delivery.ErrFenced) {
		t.Error(err)
	}
}

// work sends what is due on some machines until ctx ends.
func (b *books) work(ctx context.Context, t *testing.T, machines ...*machine) {
	t.Helper()
	var workers sync.WaitGroup
	for _, m := range machines {
		workers.Go(func() {
			for ctx.Err() == nil {
				leases, err := m.Claim(context.WithoutCancel(ctx), 8)
				if err != nil {
					t.Error(err)
				}
				for _, l := range leases {
					b.send(context.WithoutCancel(ctx), t, m, l)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	workers.Wait()
}

// balance waits until everything promised has arrived, and nothing twice. marks
// says that some may have arrived as possible repeats.
func (b *books) balance(t *testing.T, marks bool, machines ...*machine) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() { b.work(ctx, t, machines...) })
	eventually(t, "everything arrives", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return !slices.ContainsFunc(b.promised, func(job string) bool { return b.arrived[job] == 0 })
	})
	for _, m := range machines {
		m.settledUp(t)
	}
	stop()
	working.Wait()
	marked := 0
	for job, times := range b.arrived {
		if times > 1 {
			t.Errorf("job %s arrived %d times", job, times)
		}
		if b.marked[job] {
			marked++
		}
	}
	if marked > 0 && !marks {
		t.Errorf("%d notes arrived as possible repeats, and were none", marked)
	}
}

// TestFleetSharesTheWork: whatever becomes of a note on another machine, its
// home hears of it.
func TestFleetSharesTheWork(t *testing.T) {
	t.Parallel()
	a, b := pair(t, redistest.Single(t), 0)

	t.Run("delivered elsewhere", func(t *testing.T) {
		l := keep(t, a, newNote("101", "201"), chainTo("crm"))[0]
		finish(t, a, l, delivery.Result{Outcome: delivery.Retry, Detail: "busy"})
		again := claimOne(t, b)
		if again.Job != l.Job || again.Attempt != 2 || again.Unknown || again.Note.Caller.Number != "201" || again.Target().Channel != "crm" {
			t.Fatalf("claimed %+v", again)
		}
		check(t, b.Start(t.Context(), again))
		if err := a.Finish(t.Context(), l, delivery.Result{Outcome: delivery.Dead}); !errors.Is(err, delivery.ErrFenced) {
			t.Errorf("a late result: %v", err)
		}
		finish(t, b, again, done())
		a.hears(t, l.Note.ID, "recording, recorded, rendered, sending crm, retry crm, sending crm, done crm")
		at := life(t, a, l.Note.ID)
		if at.Events[6].Detail != "200 OK; id m1" || at.Jobs[0].State != delivery.JobDelivered || at.Jobs[0].Attempt != 2 {
			t.Errorf("at home: %+v", at)
		}
	})
	t.Run("dead elsewhere", func(t *testing.T) {
		n := newNote("101", "202")
		l := keep(t, a, n, chainTo("crm", "bot"))[0]
		finish(t, a, l, delivery.Result{Outcome: delivery.Dead, Detail: "no"})
		finish(t, b, claimOne(t, b), delivery.Result{Outcome: delivery.Dead, Detail: "no"})
		told := claimOne(t, a)
		if told.Target().String() != "operator:note.dead/bot" || told.Note.ID != n.ID || told.Epoch != 0 {
			t.Fatalf("the operator is told: %+v", told)
		}
		finish(t, a, told, done())
		woken(a)
		if jobs, err := a.Redrive(t.Context(), n.ID, ""); err != nil || jobs != 1 {
			t.Fatal(jobs, err)
		}
		l = claimOne(t, b)
		if l.Note.ID != n.ID || l.Step != 0 || l.Attempt != 1 {
			t.Errorf("redriven: %+v", l)
		}
		finish(t, b, l, done())
		a.settledUp(t)
	})
	t.Run("given back", func(t *testing.T) {
		l := keep(t, a, newNote("101", "203"), chainTo("crm"))[0]
		check(t, a.Release(t.Context(), l))
		other := claimOne(t, b)
		check(t, b.PutOff(t.Context(), other, 50*time.Millisecond))
		other = claimOne(t, b)
		if other.Attempt != 1 {
			t.Errorf("claimed %+v", other)
		}
		finish(t, b, other, done())
		a.hears(t, l.Note.ID, "recording, recorded, rendered, sending crm, done crm")
	})
	t.Run("order", func(t *testing.T) {
		first := keep(t, a, newNote("101", "204"), chainTo("crm"))[0]
		var want []string
		for i := range 4 {
			time.Sleep(2 * time.Millisecond) // ids of one millisecond have no order
			n := newNote("101", "204")
			want = append(want, n.ID)
			if got := keep(t, []*machine{a, b}[i%2], n, chainTo("crm")); len(got) != 0 {
				t.Fatalf("overtaken: %+v", got)
			}
		}
		finish(t, b, mustFence(t, a, b, first), done())
		for i, id := range want {
			m := []*machine{b, a}[i/2]
			l := claimOne(t, m)
			if l.Note.ID != id {
				t.Errorf("turn %d: %s, want %s", i, l.Note.ID, id)
			}
			finish(t, m, l, done())
		}
		a.settledUp(t)
		b.settledUp(t)
	})
}

// mustFence hands a lease from one machine to another, and tries what the first
// can still do with it.
func mustFence(t *testing.T, from, to *machine, l delivery.Lease) delivery.Lease {
	t.Helper()
	check(t, from.PutOff(t.Context(), l, 0))
	got := claimOne(t, to)
	for name, err := range map[string]error{
		"Start": from.Start(t.Context(), l), "Release": from.Release(t.Context(), l),
		"Finish": from.Finish(t.Context(), l, delivery.Result{Outcome: delivery.Dead}),
	} {
		if !errors.Is(err, delivery.ErrFenced) {
			t.Errorf("%s with a lease that was given back: %v", name, err)
		}
	}
	return got
}

// TestFleetMachineDies: another machine delivers what a dead one was sending,
// under the same key and as a possible repeat. The dead one hears of it when it
// is back.
func TestFleetMachineDies(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	path := t.TempDir()
	with := shared.Options{Lease: 3 * time.Second}
	a := startFleet(t, Options{Path: path, Redis: setup.URL}, with)
	b := startFleet(t, Options{Path: t.TempDir(), Redis: setup.URL}, with)
	a.awaitReady(t)
	b.awaitReady(t)
	l := keep(t, a, newNote("101", "201"), chainTo("crm"))[0]
	quiet := keep(t, a, newNote("101", "202"), chainTo("crm"))[0]
	check(t, a.Start(t.Context(), l))
	check(t, a.Release(t.Context(), quiet))
	a.crash(t)
	for range 2 {
		got := claimOne(t, b)
		if got.Unknown != (got.Job == l.Job) {
			t.Errorf("claimed %+v", got)
		}
		file, _, err := b.Open(t.Context(), got.Note.ID) // which checks its SHA-256
		check(t, err)
		check(t, file.Close())
		finish(t, b, got, done())
	}
	a = startFleet(t, Options{Path: path, Redis: setup.URL}, with)
	a.settledUp(t)
	if got := names(life(t, a, l.Note.ID)); !strings.HasSuffix(got, "sending crm, done crm") || !strings.Contains(got, "unknown crm") {
		t.Errorf("events %s", got)
	}
}

// TestFleetHopeFulfilled: the answer to a publication is lost, and a claim
// brings its lease: it is not undone with the hope that it was written in.
func TestFleetHopeFulfilled(t *testing.T) {
	t.Parallel()
	m := joinFleet(t, Options{Path: t.TempDir(), Redis: redistest.Single(t).URL})
	leases := keep(t, m, newNote("101", "201"), chainTo("crm"))
	check(t, m.Start(t.Context(), leases[0]))
	(&offer{fleet: m.Fleet}).forgo(t.Context(), leases)
	check(t, m.Finish(t.Context(), leases[0], done()))
	m.settledUp(t)
}

// TestFleetRestart: a machine that is back at once says itself that it does not
// know what became of its attempt: nobody waits for the lease to run out.
func TestFleetRestart(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	o := Options{Path: t.TempDir(), Redis: setup.URL}
	a := startFleet(t, o, shared.Options{Lease: 20 * time.Second})
	a.awaitReady(t)
	l := keep(t, a, newNote("101", "201"), chainTo("crm"))[0]
	check(t, a.Start(t.Context(), l))
	a.crash(t)
	a = startFleet(t, o, shared.Options{Lease: 20 * time.Second})
	again := claimOne(t, a)
	if again.Job != l.Job || !again.Unknown || again.Attempt != 2 {
		t.Errorf("claimed %+v", again)
	}
	finish(t, a, again, done())
	a.settledUp(t)
}

// TestFleetWithoutRedis: while Redis is away each machine delivers its own
// notes; afterwards they share what is left, in order.
func TestFleetWithoutRedis(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t, "appendonly yes")
	a, b := pair(t, setup, 0)
	var all books
	all.call(t, a, "200")
	before := keep(t, a, newNote("101", "300"), chainTo("crm"))[0]
	setup.Servers[0].Kill()
	finish(t, a, before, done()) // what was under way ends
	eventually(t, "its absence is noticed", func() bool { return !a.shared.Up() && !b.shared.Up() })
	for i := range 10 {
		all.call(t, []*machine{a, b}[i%2], fmt.Sprint("21", i))
	}
	if len(all.arrived) != 11 {
		t.Errorf("%d of 11 notes arrived while Redis was away", len(all.arrived))
	}
	// One that could not be delivered meanwhile, and two behind it.
	first := keep(t, a, newNote("101", "400"), chainTo("crm"))[0]
	finish(t, a, first, delivery.Result{Outcome: delivery.Retry})
	order := []string{first.Note.ID}
	for range 2 {
		time.Sleep(2 * time.Millisecond)
		n := newNote("101", "400")
		order = append(order, n.ID)
		keep(t, a, n, chainTo("crm"))
	}
	setup.Servers[0].Start()
	for i, id := range order {
		l := claimOne(t, b)
		if l.Note.ID != id || l.Unknown || l.Epoch == 0 {
			t.Errorf("turn %d: %+v", i, l)
		}
		finish(t, b, l, done())
	}
	all.balance(t, false, a, b)
	a.hears(t, before.Note.ID, "recording, recorded, rendered, sending crm, done crm")
}

// TestFleetForgetfulRedis: a Redis that stalls, forgets or loses its last
// writes costs no note and doubles none.
func TestFleetForgetfulRedis(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		start func(testing.TB) *redistest.Setup
		lease time.Duration
		marks bool // leases may run out before Redis can say that it gave them
		fault func(t *testing.T, s *redistest.Setup)
	}{
		"stalled": {redistest.Setups()["single"], 20 * time.Second, false, func(_ *testing.T, s *redistest.Setup) {
			s.Servers[0].Pause()
			time.Sleep(6 * time.Second)
			s.Servers[0].Resume()
		}},
		"flushed":   {redistest.Setups()["single"], 0, false, func(_ *testing.T, s *redistest.Setup) { s.Flush() }},
		"restarted": {redistest.Setups()["single"], 0, false, func(_ *testing.T, s *redistest.Setup) { s.Servers[0].Kill(); s.Servers[0].Start() }},
		"failed over": {redistest.Replicated, 0, true, func(t *testing.T, s *redistest.Setup) {
			t.Helper()
			s.Servers[1].Pause() // the replica misses what comes now
			time.Sleep(300 * time.Millisecond)
			s.Servers[0].Kill()
			s.Servers[1].Resume()
			s.Failover(t)
			s.Return(t) // one replica must have each write
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := tt.start(t)
			a, b := pairWith(t, setup, shared.Options{Lease: tt.lease, Answer: time.Second})
			var all books
			ctx, stop := context.WithCancel(t.Context())
			var working sync.WaitGroup
			working.Go(func() { all.work(ctx, t, a, b) })
			working.Go(func() { all.calls(t, ctx.Done(), a, b) }) //nolint:contextcheck // a call goes on when the test stops calling
			time.Sleep(time.Second)
			tt.fault(t, setup)
			time.Sleep(time.Second)
			stop()
			working.Wait()
			all.balance(t, tt.marks, a, b)
			t.Logf("%d notes promised, %d arrived", len(all.promised), len(all.arrived))
		})
	}
}

// TestFleetRate: machines keep to a rate together, and alone each to its share.
func TestFleetRate(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a, b := pair(t, setup, 0)
	r := delivery.Rate{Sends: 10, Per: time.Hour}
	take := func(m *machine) int {
		n, _, err := m.Take(t.Context(), "wa", r, 5)
		check(t, err)
		return n
	}
	if x, y := take(a), take(b); x != 1 || y != 0 {
		t.Errorf("granted %d and %d, want 1 and 0", x, y)
	}
	setup.Servers[0].Kill()
	eventually(t, "its absence is noticed", func() bool { return !a.shared.Up() })
	if _, wait, _ := a.Take(t.Context(), "wa", r, 5); wait > 0 {
		t.Errorf("wait %v for the first", wait)
	}
	if n, wait, _ := a.Take(t.Context(), "wa", r, 5); n != 0 || wait < 11*time.Minute {
		t.Errorf("granted %d, wait %v: more than half the rate", n, wait)
	}
}

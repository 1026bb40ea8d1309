package shared

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// still is a machine that beats when it is told to.
func still(t *testing.T, o Options) *machine {
	t.Helper()
	m := &machine{Shared: open(t, o, &memoryLedger{})}
	t.Cleanup(func() { check(t, m.Close()) })
	return m
}

// tellAndOpen has a machine tell what it knows until leases are given out.
func (m *machine) tellAndOpen(t *testing.T) {
	t.Helper()
	eventually(t, "the gates open", func() bool {
		m.beat(t.Context())
		m.recall(t.Context(), m.untold())
		return m.Ready()
	})
}

// TestAwayDoesNotCount: a lease runs out while some machine is served, not while
// none is.
func TestAwayDoesNotCount(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		away  time.Duration // nobody was served
		over  time.Duration // the lease would be since
		lasts bool
	}{
		"served":         {0, time.Hour, false},
		"a moment":       {time.Second, time.Hour, false},
		"an hour of two": {time.Hour, 2 * time.Hour, false},
		"all the time":   {2 * time.Hour, time.Hour, true},
	} {
		for _, beat := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, beat first %v", name, beat), func(t *testing.T) {
				t.Parallel()
				setup := redistest.Single(t)
				a := still(t, Options{URL: setup.URL, Machine: "a", Lease: time.Minute, Patience: time.Hour})
				a.tellAndOpen(t)
				j, key := a.publish(t, "m", "1", true), prefix(ShardOf("m"))
				a.leases.drop(j.ID, j.Epoch)
				now := time.Now().UnixMilli()
				setup.Servers[0].Do(fmt.Sprintf("SET %sserved %d", key, now-tc.away.Milliseconds()))
				setup.Servers[0].Do(fmt.Sprintf("ZADD %sleases %d %s", key, now-tc.over.Milliseconds(), j.ID))
				if beat {
					a.beat(t.Context())
				}
				a.claim(t, 1)
				state := setup.Servers[0].Do(fmt.Sprintf("HGET %sjob:%s unknown", key, j.ID))
				if lasts := state == "0"; lasts != tc.lasts {
					t.Errorf("it lasts: %v", lasts)
				}
				if !tc.lasts {
					return
				}
				due, err := a.NextDue(t.Context())
				check(t, err)
				if left := time.Until(due); left <= 0 || left > time.Minute {
					t.Errorf("it lasts for %v", left)
				}
			})
		}
	}
}

// TestDeafDoesNotCount: nor while it has too few replicas, and no machine is sure
// of what it is told.
func TestDeafDoesNotCount(t *testing.T) {
	t.Parallel()
	const lease = 8 * time.Second
	setup := redistest.Replicated(t)
	a := still(t, Options{URL: setup.URL, Machine: "a", Lease: lease})
	a.tellAndOpen(t)
	b := enter(t, Options{URL: setup.URL, Machine: "b", Lease: lease, Answer: time.Second}, &memoryLedger{})
	b.awaitOpen(t)
	j := a.publish(t, "m", "1", true)
	setup.Servers[1].Pause()
	eventually(t, "b says why", func() bool {
		why := b.whyDown()
		return why != nil && strings.Contains(why.Error(), "too few replicas")
	})
	time.Sleep(lease + time.Second)
	setup.Servers[1].Resume()
	b.awaitOpen(t)
	eventually(t, "b can claim", func() bool { // and is refused for as long as a has not come back
		ls, err := b.Claim(t.Context(), 1)
		for _, l := range ls {
			t.Fatalf("claimed %+v", l)
		}
		return err == nil
	})
	a.renewAll(t.Context())
	a.delivers(t, j)
}

// TestAwayCountsOnce: the same absence puts a lease off once.
func TestAwayCountsOnce(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := still(t, Options{URL: setup.URL, Machine: "a"})
	a.tellAndOpen(t)
	j, key := a.publish(t, "m", "1", true), prefix(ShardOf("m"))
	setup.Servers[0].Do(fmt.Sprintf("SET %sserved %d", key, time.Now().Add(-time.Hour).UnixMilli()))
	for try, want := range []int{0, 1} {
		setup.Servers[0].Do(fmt.Sprintf("ZADD %sleases %d %s", key, time.Now().Add(-time.Minute).UnixMilli(), j.ID))
		if got := len(a.claim(t, 1)); got != want {
			t.Errorf("claim %d got %d leases", try+1, got)
		}
		setup.Servers[0].Do(fmt.Sprintf("DEL %sback", key))
	}
}

// TestAwayIsNotPatience: a gate that waits for a machine does not open for the
// time in which none was served, and whoever beat before still counts as beating.
func TestAwayIsNotPatience(t *testing.T) {
	t.Parallel()
	const patience = time.Minute
	setup := redistest.Single(t)
	server := setup.Servers[0]
	a := still(t, Options{URL: setup.URL, Machine: "a", Patience: patience})
	b := still(t, Options{URL: setup.URL, Machine: "b", Patience: patience})
	b.beat(t.Context())
	a.beat(t.Context())
	a.recall(t.Context(), a.untold()) // b has yet to tell
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).UnixMilli() }
	away := func(served time.Duration) {
		for i := range shards {
			server.Do(fmt.Sprintf("SET %sserved %d", prefix(i), ago(served)))
		}
		a.beat(t.Context())
	}
	for i := range shards {
		server.Do(fmt.Sprintf("HSET %sclosed at %d", prefix(i), ago(time.Hour)))
		server.Do(fmt.Sprintf("ZADD %smachines %d b", prefix(i), ago(time.Hour+time.Second)))
	}
	away(time.Hour)
	if n := server.Do(fmt.Sprintf("ZCOUNT %smachines %d +inf", prefix(0), ago(patience/2))); n != int64(2) {
		t.Errorf("%v machines beat", n)
	}
	for i := range shards { // b is away indeed
		server.Do(fmt.Sprintf("ZADD %smachines %d b", prefix(i), ago(3*time.Hour)))
	}
	away(time.Hour)
	if a.opened(0) {
		t.Error("the gate opened for an hour in which nobody was served")
	}
	for range int(patience / (2 * time.Second)) {
		away(2 * time.Second)
	}
	if !a.opened(0) {
		t.Error("the gate never opens")
	}
}

// TestServerSetBack: when a server's clock is set back, or one that is behind takes
// over, leases end and jobs fall due as before.
func TestServerSetBack(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := still(t, Options{URL: setup.URL, Machine: "a", Lease: time.Minute, Patience: time.Hour})
	a.tellAndOpen(t)
	a.publish(t, "m", "1", true)
	later := publication("m", "2", 1)
	later.Jobs[0].Thread, later.Jobs[0].Next = "another", time.Now().Add(2*time.Minute)
	_, err := a.Publish(t.Context(), later, false, false)
	check(t, err)
	a.beat(t.Context())
	clock := fmt.Sprintf("%sahead", prefix(ShardOf("m")))
	setup.Servers[0].Do(fmt.Sprintf("SET %s %d", clock, -time.Hour.Milliseconds())) // as if it was
	soon := publication("m", "3", 1)
	soon.Jobs[0].Thread = "a third"
	jobs, err := a.Publish(t.Context(), soon, false, true)
	check(t, err)
	if !jobs[0].Leased || len(a.claim(t, 16)) != 0 {
		t.Errorf("published %+v, or claimed what is being sent", jobs[0])
	}
	for range 2 {
		due, err := a.NextDue(t.Context())
		check(t, err)
		all, err := a.Jobs(t.Context(), "m", later.ID)
		check(t, err)
		for what, within := range map[string][2]time.Duration{"lease": {time.Until(due), time.Minute}, "job": {time.Until(all[0].Next), 2 * time.Minute}} {
			if left, most := within[0], within[1]; left > most || left < most-stalls {
				t.Errorf("the next %s is due in %v, want %v", what, left, most)
			}
		}
		a.beat(t.Context())
	}
	if ahead, err := strconv.Atoi(fmt.Sprint(setup.Servers[0].Do("GET " + clock))); err != nil || ahead < -int(stalls.Milliseconds()) {
		t.Errorf("the clock goes on from %d ms, %v", ahead, err)
	}
}

// later sets the server's clock forth in m's shard, by time in which a machine was
// served, then by time in which none was.
func (m *machine) later(t *testing.T, setup *redistest.Setup, served, away time.Duration) {
	t.Helper()
	key := prefix(ShardOf("m"))
	setup.Servers[0].Do(fmt.Sprintf("INCRBY %sahead %d", key, (served + away).Milliseconds()))
	setup.Servers[0].Do(fmt.Sprintf("INCRBY %sserved %d", key, served.Milliseconds()))
	m.beat(t.Context())
	if away > 0 {
		if ls := m.claim(t, 1); len(ls) != 0 { // whoever is back tells first
			t.Errorf("claimed at once: %+v", ls)
		}
	}
	setup.Servers[0].Do(fmt.Sprintf("DEL %sback", key)) // a lease's time has passed
}

// TestWaitsWhileServed: a job that a report may end waits as long as it is to
// while some machine is served: no report is heard while none is. One that an
// older machine has wait, which counts nothing, is put off for a lease's time.
func TestWaitsWhileServed(t *testing.T) {
	t.Parallel()
	const wait, slack = 20 * time.Minute, time.Minute
	for name, tt := range map[string]struct {
		before time.Duration // that it waited when nobody was served
		away   time.Duration
		again  time.Duration // a minute later
		older  bool
		left   time.Duration
	}{
		"served":              {before: 15 * time.Minute, left: 5 * time.Minute},
		"away in between":     {before: 5 * time.Minute, away: 10 * time.Minute, left: 15 * time.Minute},
		"away overnight":      {before: 5 * time.Minute, away: 12 * time.Hour, left: 15 * time.Minute},
		"away twice":          {before: 5 * time.Minute, away: time.Hour, again: 30 * time.Minute, left: 14 * time.Minute},
		"clock set forth":     {away: 365 * 24 * time.Hour, left: wait},
		"by an older machine": {before: 5 * time.Minute, away: time.Hour, older: true},
	} {
		for what, takes := range map[string]Result{
			"reported":  {Outcome: "waiting", Waits: ForReport, Wait: wait},
			"asked for": {Outcome: "waiting", Waits: ToBeAsked, Wait: wait},
			"in doubt":  {Outcome: "unknown", Wait: wait},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				setup := redistest.Single(t)
				a := still(t, Options{URL: setup.URL, Machine: "a", Patience: time.Hour})
				a.tellAndOpen(t)
				a.later(t, setup, 0, time.Hour) // of no concern to it
				j, _, err := a.Finish(t.Context(), a.publish(t, "m", "1", true), takes)
				check(t, err)
				if tt.older {
					key := prefix(ShardOf("m"))
					setup.Servers[0].Do(fmt.Sprintf("HINCRBY %sjob:%s next 1", key, j.ID))
				}
				a.later(t, setup, tt.before, tt.away)
				if tt.again > 0 {
					a.later(t, setup, time.Minute, 0)
					a.later(t, setup, 0, tt.again)
				}
				if !tt.older {
					a.later(t, setup, tt.left-slack, 0)
					if ls := a.claim(t, 1); len(ls) != 0 {
						t.Errorf("claimed too early: %+v", ls)
					}
				}
				a.later(t, setup, 2*slack, 0)
				if ls := a.claim(t, 1); len(ls) != 1 || ls[0].Waiting() != (takes.Waits > 0) || ls[0].Step != 0 {
					t.Errorf("claimed %+v", ls)
				}
			})
		}
	}
}

// TestLateReport: a job whose wait is over is not moved on where nobody was
// served until a moment ago: whoever heard the report could not tell it. It is put
// off once, however often nobody is served.
func TestLateReport(t *testing.T) {
	t.Parallel()
	setup := redistest.Single(t)
	a := still(t, Options{URL: setup.URL, Machine: "a", Patience: time.Hour})
	b := still(t, Options{URL: setup.URL, Machine: "b", Patience: time.Hour})
	a.tellAndOpen(t)
	waiting := func(note string) Job {
		j := a.publish(t, "m", note, true)
		_, _, err := a.Finish(t.Context(), j, Result{Outcome: "waiting", Waits: ForReport, Wait: time.Minute})
		check(t, err)
		b.later(t, setup, 2*time.Minute, time.Hour)
		return j
	}
	told := waiting("1")
	_, err := a.Report(t.Context(), told, Said{What: "delivered", Settles: true})
	check(t, err)
	a.depth(t, 0, 0, 0)
	waiting("2")
	b.later(t, setup, 0, time.Hour) // before that time has passed
	b.later(t, setup, b.o.Lease, 0)
	setup.Servers[0].Do(fmt.Sprintf("SET %sback 1", prefix(ShardOf("m"))))
	if ls := b.claim(t, 1); len(ls) != 1 || !ls[0].Waiting() {
		t.Errorf("claimed %+v", ls)
	}
}

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// Calls are taken as ever while Redis is down and nothing can be delivered.
// Then what one caller said leaves in order, each note once.
func TestRedisIsDown(t *testing.T) {
	t.Parallel()
	redis := redistest.Single(t)
	hook := newReceiver(t)
	chat := newChat(t, hook)
	a, _ := startMember(t, chat.URL, redis.URL, "")
	b, _ := startMember(t, chat.URL, redis.URL, "")
	chat.does(down)
	const calls = 8
	for i := range calls {
		leave(t, []*gateway{a, b}[i%2].address("udp"))
		if i == 1 {
			redis.Servers[0].Kill()
		}
	}
	redis.Servers[0].Start() // it has forgotten everything
	a.awaitGate(t)
	b.awaitGate(t)
	chat.does(nil)
	homes := map[string]delivery.Drafts{}
	last := map[delivery.Drafts]string{}
	for range calls {
		n := hook.next(t)
		if homes[n.Data.ID] != nil {
			t.Errorf("note %s came twice", n.Data.ID)
		}
		home := delivery.Drafts(a.store)
		if _, err := a.fleet.Store.Life(t.Context(), n.Data.ID); err != nil {
			home = b.store
		}
		if n.Data.ID < last[home] {
			t.Errorf("note %s came after %s", n.Data.ID, last[home])
		}
		homes[n.Data.ID], last[home] = home, n.Data.ID
	}
	hook.none(t, 500*time.Millisecond)
}

// A Redis that stands still for six seconds delays no call, and what was said
// meanwhile comes once.
func TestRedisStandsStill(t *testing.T) {
	t.Parallel()
	redis := redistest.Single(t)
	l := newLedger(t)
	a, path := startMember(t, l.hook.URL, redis.URL, "")
	startMember(t, l.hook.URL, redis.URL, "")
	redis.Servers[0].Pause()
	quickest := time.Hour
	for began := time.Now(); time.Since(began) < 6*time.Second; {
		placed := time.Now()
		m := l.speak(t, a.address("udp"), time.Second)
		quickest = min(quickest, m.began.Sub(placed))
		l.hangUp(t, m)
	}
	if quickest > time.Second {
		t.Errorf("calls were answered after %v at best", quickest)
	}
	redis.Servers[0].Resume()
	l.await(t)
	a.awaitGate(t)
	l.hook.none(t, time.Second)
	l.settle(t, path)
}

// Nobody reaches Redis for longer than a lease lasts, while a note is being sent,
// and whoever sent it is the last to reach it again. Its lease is left to it: the
// note comes once.
func TestRedisIsAwayForLong(t *testing.T) {
	t.Parallel()
	redis := redistest.Single(t)
	l := newLedger(t)
	chat := newChat(t, l.hook)
	to := strings.TrimPrefix(redis.URL, "redis://")
	first, second := newStrait(t, to), newStrait(t, to)
	a, path := startMember(t, chat.URL, "redis://"+first.Addr().String(), "")
	b, _ := startMember(t, chat.URL, "redis://"+second.Addr().String(), "")
	asked, ends := make(chan struct{}), make(chan struct{})
	answer := sync.OnceFunc(func() { close(ends) })
	defer answer()
	chat.once(func(_ http.ResponseWriter, r *http.Request) {
		chat.take(r)
		close(asked)
		<-ends
	})
	l.leave(t, a.address("udp"))
	<-asked
	l.await(t)
	first.sever()
	second.sever()
	time.Sleep(12 * time.Second)
	answer()
	var job string
	until(t, "its home knows that it is delivered", func() bool {
		all := lives(t, path)
		if len(all) != 1 || stateOf(all[0]) != delivery.JobDelivered {
			return false
		}
		job = all[0].Jobs[0].ID
		return true
	})
	second.mend()
	b.awaitGate(t)
	time.Sleep(time.Second)
	first.mend()
	until(t, "Redis knows that it is delivered", func() bool {
		for shard := range shared.Count {
			state, err := redis.Servers[0].Try(fmt.Sprintf("HGET afterbeep:{%02d}:job:%s state", shard, job))
			if err == nil && state == string(shared.Delivered) {
				return true
			}
		}
		return false
	})
	l.hook.none(t, time.Second)
	l.settle(t, path)
	if len(l.arrived) != 1 {
		t.Errorf("the note came %d times", len(l.arrived))
	}
}

// A machine that Redis no longer hears, or that no longer hears Redis, loses
// its lease: another one delivers the note, and what the first one says of its
// attempt afterwards is void.
func TestOneWayPartition(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		way    way
		healed bool // before the first machine's attempt ends
	}{
		"not heard, ends cut off":     {toRedis, false},
		"not heard, ends afterwards":  {toRedis, true},
		"hears nothing, ends cut off": {fromRedis, false},
		"hears nothing, afterwards":   {fromRedis, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Single(t)
			l := newLedger(t)
			chat := newChat(t, l.hook)
			strait := newStrait(t, strings.TrimPrefix(redis.URL, "redis://"))
			a, path := startMember(t, chat.URL, "redis://"+strait.Addr().String(), "")
			startMember(t, chat.URL, redis.URL, "")
			asked, answer := make(chan struct{}), make(chan struct{})
			chat.once(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				close(asked)
				<-answer
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			l.leave(t, a.address("udp"))
			<-asked
			strait.close(c.way)
			l.await(t) // by the other machine
			if c.healed {
				strait.open(c.way)
				a.awaitGate(t)
			}
			close(answer)
			if !c.healed {
				time.Sleep(time.Second)
				strait.open(c.way)
			}
			a.awaitGate(t)
			until(t, "its home knows that it is delivered", func() bool {
				all := lives(t, path)
				return len(all) == 1 && stateOf(all[0]) == delivery.JobDelivered
			})
			l.hook.none(t, 2*time.Second)
			l.settle(t, path)
			if len(l.arrived) != 1 {
				t.Errorf("the note came %d times", len(l.arrived))
			}
		})
	}
}

// way is a direction.
type way int

const (
	toRedis way = iota
	fromRedis
)

// strait lies before a server. Closed one way it lets nothing pass there; what
// came meanwhile passes when it opens, as TCP would have it. Severed it has no
// connections.
type strait struct {
	net.Listener
	to    string
	flows sync.WaitGroup

	mu      sync.Mutex
	closed  [2]chan struct{} // nil while open; closed when it opens
	severed bool
	conns   []net.Conn
}

func newStrait(t *testing.T, to string) *strait {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &strait{Listener: l, to: to}
	s.flows.Go(s.serve)
	t.Cleanup(func() {
		_ = l.Close()
		for _, w := range []way{toRedis, fromRedis} {
			s.open(w)
		}
		s.sever()
		s.flows.Wait()
	})
	return s
}

func (s *strait) serve() {
	for {
		near, err := s.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", s.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		s.mu.Lock()
		s.conns = append(s.conns, near, far)
		severed := s.severed
		s.mu.Unlock()
		if severed {
			_, _ = near.Close(), far.Close()
			continue
		}
		s.flows.Go(func() { s.flow(far, near, toRedis) })
		s.flows.Go(func() { s.flow(near, far, fromRedis) })
	}
}

// flow carries bytes one way, and then the end of the connection.
func (s *strait) flow(to, from net.Conn, w way) {
	defer func() { _ = to.Close() }()
	for b := make([]byte, 1<<16); ; {
		n, err := from.Read(b)
		s.mu.Lock()
		closed := s.closed[w]
		s.mu.Unlock()
		if closed != nil {
			<-closed
		}
		if _, failed := to.Write(b[:n]); err != nil || failed != nil {
			return
		}
	}
}

func (s *strait) close(w way) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed[w] = make(chan struct{})
}

func (s *strait) open(w way) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed[w] != nil {
		close(s.closed[w])
		s.closed[w] = nil
	}
}

func (s *strait) sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.severed = true
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

func (s *strait) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.severed = false
}

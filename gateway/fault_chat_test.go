package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// chat is the chat service before a receiver. Unless it is told otherwise, it
// hands every request on.
type chat struct {
	*httptest.Server
	hook    *receiver
	answer  atomic.Pointer[http.HandlerFunc] // what becomes of requests
	connect atomic.Pointer[func()]           // called once, when the next connection is there; it is closed then
}

func newChat(t *testing.T, hook *receiver) *chat {
	t.Helper()
	c := &chat{hook: hook}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer := c.answer.Load(); answer != nil {
			(*answer)(w, r)
			return
		}
		hook.Config.Handler.ServeHTTP(w, r)
	}))
	c.Listener = &doorman{c.Listener, &c.connect}
	c.Start()
	t.Cleanup(c.Close)
	return c
}

// doorman turns a connection away where there is something to be done first.
type doorman struct {
	net.Listener
	first *atomic.Pointer[func()]
}

func (d *doorman) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		first := d.first.Swap(nil)
		if first == nil {
			return conn, nil
		}
		(*first)()
		_ = conn.Close()
	}
}

// take is the receiver having the note, without an answer to the gateway.
func (c *chat) take(r *http.Request) {
	c.hook.Config.Handler.ServeHTTP(httptest.NewRecorder(), r)
}

// does sets what becomes of requests; nil: the receiver gets them.
func (c *chat) does(answer http.HandlerFunc) {
	if answer == nil {
		c.answer.Store(nil)
		return
	}
	c.answer.Store(&answer)
}

// once does it to the next request alone.
func (c *chat) once(answer http.HandlerFunc) {
	c.does(func(w http.ResponseWriter, r *http.Request) {
		c.does(nil)
		answer(w, r)
	})
}

// down is a service that takes nothing.
func down(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	http.Error(w, "down for maintenance", http.StatusServiceUnavailable)
}

// reset ends the connection without an answer.
func reset(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
}

// Whatever a chat service answers, the note is delivered, and comes again only
// where the answer was lost.
func TestStrangeAnswers(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	for _, c := range []struct {
		name     string
		answer   func(c *chat, w http.ResponseWriter, r *http.Request)
		outcome  string        // of the first attempt, as `note show` tells it
		arrivals int           // of the note
		after    time.Duration // before which no second attempt is made
		redrive  bool          // it takes the operator
	}{
		{name: "answer lost", outcome: "unknown", arrivals: 2, answer: func(c *chat, w http.ResponseWriter, r *http.Request) {
			c.take(r)
			reset(w)
		}},
		{name: "slow", outcome: "done", arrivals: 1, answer: func(c *chat, _ http.ResponseWriter, r *http.Request) {
			c.take(r)
			time.Sleep(3 * time.Second)
		}},
		{name: "429", outcome: "retry", arrivals: 1, after: 2 * time.Second, answer: func(_ *chat, w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusTooManyRequests)
		}},
		{name: "redirect", outcome: "dead", arrivals: 1, redrive: true, answer: func(_ *chat, w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLedger(t)
			chat := newChat(t, l.hook)
			path := configFile(t, t.TempDir(), chat.URL, "")
			g := startGateway(t, path)
			chat.once(func(w http.ResponseWriter, r *http.Request) { c.answer(chat, w, r) })
			l.leave(t, g.address("udp"))
			if c.redrive {
				life := reach(t, path, delivery.JobDead)
				run(t, "note", "redrive", life.Note.ID, "--config", path)
			}
			life := reach(t, path, delivery.JobDelivered)
			if l.settle(t, path); len(l.arrived) != c.arrivals {
				t.Errorf("it arrived %d times, want %d", len(l.arrived), c.arrivals)
			}
			tries := attempts(life)
			if tries[0].Name != c.outcome {
				t.Errorf("the first attempt was %q, want %s", tries[0].Name, c.outcome)
			}
			if last := tries[len(tries)-1]; last.At.Sub(tries[0].At) < c.after {
				t.Errorf("sent again after %v, the service asked for %v", last.At.Sub(tries[0].At), c.after)
			}
		})
	}
}

// reach waits until the only note of a gateway is in a state.
func reach(t *testing.T, path string, want delivery.JobState) delivery.Life {
	t.Helper()
	var all []delivery.Life
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if all = lives(t, path); len(all) == 1 && len(all[0].Jobs) == 1 && all[0].Jobs[0].State == want {
			return all[0]
		}
	}
	t.Fatalf("the note is not %s: %+v", want, all)
	return delivery.Life{}
}

// attempts are the ends of a note's attempts.
func attempts(l delivery.Life) (ends []delivery.Event) {
	for _, e := range l.Events {
		switch delivery.Outcome(e.Name) {
		case delivery.Done, delivery.Retry, delivery.Unknown, delivery.Dead, delivery.Waiting:
			ends = append(ends, e)
		}
	}
	return ends
}

// A second gateway on the same store ends with a word that says why, and does
// the first one no harm.
func TestSecondGatewayIsRefused(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	path := configFile(t, t.TempDir(), l.hook.URL, "")
	gateway := startChild(t, path)
	speaking := l.speak(t, gateway.sip, time.Second)

	var said bytes.Buffer
	second := exec.CommandContext(t.Context(), os.Args[0], "serve", "--config", path)
	second.Env = append(os.Environ(), "AFTERBEEP_TEST_MAIN=1")
	second.Stderr = &said
	if err := second.Run(); err == nil || !strings.Contains(said.String(), delivery.ErrLocked.Error()) {
		t.Errorf("a second gateway: %v\n%s", err, said.String())
	}
	l.hangUp(t, speaking)
	l.await(t)
	gateway.stop(t)
	l.settle(t, path)
}

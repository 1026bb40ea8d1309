package shared

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// said is an error reply of a server.
type said string

func (s said) Error() string { return string(s) }
func (said) RedisError()     {}

func TestErrorsAreClassed(t *testing.T) {
	for name, tc := range map[string]struct {
		err, want error
	}{
		"full":            {said("OOM command not allowed when used memory > 'maxmemory'."), ErrAway},
		"a replica":       {said("READONLY You can't write against a read only replica."), ErrAway},
		"moved":           {said("MOVED 866 127.0.0.1:7001"), ErrAway},
		"password":        {said("WRONGPASS invalid username-password pair or user is disabled."), ErrAway},
		"refused":         {&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, ErrAway},
		"closed":          {redis.ErrClosed, ErrAway},
		"a broken script": {said("ERR user_script:12: attempt to index a nil value"), ErrUncertain},
		"cut off":         {io.EOF, ErrUncertain},
		"no answer":       {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, ErrUncertain},
		"out of time":     {context.DeadlineExceeded, ErrUncertain},
	} {
		got := classed(tc.err)
		if !errors.Is(got, tc.want) || !errors.Is(got, tc.err) || errors.Is(got, ErrAway) == errors.Is(got, ErrUncertain) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestRefusedAtTheDoor: a server that refuses a connection has taken nothing, and
// the error says why.
func TestRefusedAtTheDoor(t *testing.T) {
	t.Parallel()
	single, replicated := redistest.Single(t), redistest.Replicated(t)
	single.Servers[0].Do("ACL SETUSER gateway on >hunter2 ~* &* +@all")
	replicated.Guard(t, "hunter2")
	at := strings.TrimPrefix(single.URL, "redis://")
	for name, tc := range map[string]struct{ url, why string }{
		"no such user":        {"redis://other:hunter2@" + at, "WRONGPASS"},
		"a password":          {"redis://gateway:hunter3@" + at, "WRONGPASS"},
		"a database":          {"redis://gateway:hunter2@" + at + "/99", "DB index is out of range"},
		"Sentinel's":          {replicated.URL + "&sentinel_password=hunter3", "WRONGPASS"},
		"Sentinel's, missing": {replicated.URL, "NOAUTH"},
		"the master's name":   {strings.Replace(replicated.URL, "/main", "/other", 1) + "&sentinel_password=hunter2", "no Sentinel knows"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, Options{URL: tc.url, Machine: "a"}, &memoryLedger{})
			defer func() { check(t, s.Close()) }()
			_, err := s.client.do(t.Context(), command{script: s.scripts.nextDue})
			expect(t, err, ErrAway)
			if err := s.Reach(t.Context()); err == nil || !strings.Contains(err.Error(), tc.why) || strings.Contains(err.Error(), "hunter") {
				t.Errorf("error %v, want %q", err, tc.why)
			}
		})
	}
	for _, url := range []string{"redis://gateway:hunter2@" + at, replicated.URL + "&sentinel_password=hunter2"} {
		enter(t, Options{URL: url, Machine: "a"}, &memoryLedger{}).awaitOpen(t)
	}
}

func TestAnswersOfAnotherVersion(t *testing.T) {
	whole := make([]any, answerFields)
	for i := range whole {
		whole[i] = "1"
	}
	if j, err := parseJob(3, whole); err != nil || j.Shard != 3 || !j.Leased || j.Step != 1 {
		t.Errorf("%+v, %v", j, err)
	}
	for name, value := range map[string]any{"nothing": nil, "a word": "OK", "too short": whole[:5], "no numbers": make([]any, answerFields)} {
		if _, err := parseJob(0, value); !errors.Is(err, ErrUncertain) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"job":"j","note":"n","state":"queued","epoch":2,"at":1763769600000,"next":1763769600001,"first":0,"event":"AP8="}`))
	f.Add([]byte(`{"note":"n","at":1,"name":"played"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Message
		if json.Unmarshal(b, &m) == nil && m.At.IsZero() {
			t.Error("a message without its time")
		}
	})
}

func TestMessage(t *testing.T) {
	var m Message
	err := json.Unmarshal([]byte(`{"job":"j","note":"n","state":"queued","epoch":2,"unknown":5,"at":1000,"next":2000,"first":0,"event":"AP8=","later":"field"}`), &m)
	if err != nil || m.Job != "j" || m.Epoch != 2 || m.Unknown != 5 || string(m.Event) != "\x00\xff" || !m.First.IsZero() || !m.Next.Equal(time.Unix(2, 0)) {
		t.Errorf("%+v, %v", m, err)
	}
}

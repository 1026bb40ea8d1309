package call

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/sip"
)

func TestAskedKeepsToTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a asked
		admit := func(from, user string, want bool) {
			t.Helper()
			n := numberOf(nil, sip.Callee{User: user}, true)
			if got := a.admit(netip.MustParseAddr(from), n, 2, time.Now()); got != want {
				t.Errorf("%s calls %s: %v, want %v", from, user, got, want)
			}
		}
		admit("192.0.2.1", "101", true)
		admit("192.0.2.1", "102", true)
		admit("192.0.2.1", "103", false)
		admit("192.0.2.1", "101", true) // known already
		admit("::ffff:192.0.2.1", "104", false)
		admit("192.0.2.2", "103", true) // another source
		admit("2001:db8::1", "101", true)
		admit("2001:db8::2", "102", true)
		admit("2001:db8::3", "103", false) // the same /64
		admit("2001:db8:0:1::3", "103", true)
		time.Sleep(askedSpan)
		admit("192.0.2.1", "103", true)
		if !a.admit(netip.MustParseAddr("192.0.2.2"), number{1}, 0, time.Now()) {
			t.Error("no limit refuses")
		}
	})
}

// Sources beyond those that are told apart share what one may ask.
func TestAskedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a asked
		from := netip.MustParseAddr("10.0.0.0")
		ask := func(count int) (admitted int) {
			for range count {
				from = from.Next()
				if a.admit(from, numberOf(nil, sip.Callee{User: from.String()}, true), 2, time.Now()) {
					admitted++
				}
			}
			return admitted
		}
		if n := ask(askedSources); n != askedSources {
			t.Errorf("%d admitted, want %d", n, askedSources)
		}
		if n := ask(100); n != 2 || len(a.sources) != askedSources+1 {
			t.Errorf("%d admitted beyond, %d sources", n, len(a.sources))
		}
		time.Sleep(askedSpan)
		if n := ask(100); n != 100 || len(a.sources) != 100 {
			t.Errorf("%d admitted later, %d sources", n, len(a.sources))
		}
	})
}

// Whoever guesses hides the guess behind a number that there is not; each
// guess counts all the same.
func TestHiddenGuessesCount(t *testing.T) {
	p, _ := newPath(drafts{})
	trunk := &sip.Trunk{Limits: sip.Limits{Callees: 10}}
	outcomes := map[Outcome]int{}
	for i := range 20 {
		c := &sip.Call{Trunk: trunk, Source: netip.MustParseAddrPort("192.0.2.1:5060"), Callees: []sip.Callee{{User: "pilot"}, {User: fmt.Sprint(92 + i)}}}
		m, callee, err := p.find(t.Context(), c.Callees)
		if err != nil {
			t.Fatal(err)
		}
		outcomes[p.unwanted(c, m, callee)]++
	}
	if outcomes[TooManyCallees] != 1 || outcomes[UnknownMailbox] != 19 { // 102 is a mailbox, the eleventh guess
		t.Errorf("got %v", outcomes)
	}
}

func TestUnwanted(t *testing.T) {
	p, _ := newPath(drafts{})
	directory, err := config.OpenDirectory(&config.Config{Mailboxes: []config.Mailbox{
		{Number: "101"}, {Number: "102", Disabled: true}, {Number: "103", Blocked: []string{"+493055501234", "private"}},
	}}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.Directory = directory
	trunk := &sip.Trunk{Country: "DE"}
	for _, tt := range []struct {
		user   string
		caller sip.Caller
		want   Outcome
	}{
		{"101", sip.Caller{Number: "+493055501234"}, ""},
		{"102", sip.Caller{Number: "+493055501234"}, Disabled},
		{"103", sip.Caller{Number: "+493055501234"}, Blocked},
		{"103", sip.Caller{Private: true}, Blocked},
		{"103", sip.Caller{Number: "+493055501235"}, ""},
		{"104", sip.Caller{Number: "+493055501234"}, UnknownMailbox},
	} {
		c := &sip.Call{Trunk: trunk, Caller: tt.caller, Callees: []sip.Callee{{User: tt.user}}}
		m, callee, err := p.find(t.Context(), c.Callees)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.unwanted(c, m, callee); got != tt.want {
			t.Errorf("%+v to %s: %q, want %q", tt.caller, tt.user, got, tt.want)
		}
	}
}

// Subscribing to lamps finds no more mailboxes than calling does.
func TestSubscribersAreCounted(t *testing.T) {
	t.Parallel()
	p := &Path{}
	w := sip.Watcher{Trunk: &sip.Trunk{Limits: sip.Limits{Callees: 2}}, Source: netip.MustParseAddr("192.0.2.1")}
	may := func(user string, found, want bool) {
		t.Helper()
		callee := sip.Callee{User: user}
		w.Callees = []sip.Callee{callee}
		if got := p.MaySubscribe(w, callee, found); got != want {
			t.Errorf("%s: %v, want %v", user, got, want)
		}
	}
	may("101", true, true)
	may("999", false, true) // a guess counts
	may("102", true, false)
	may("101", true, true)
	c := &sip.Call{Trunk: w.Trunk, Source: netip.AddrPortFrom(w.Source, 5060)}
	if got := p.unwanted(c, &config.Mailbox{Number: "102"}, sip.Callee{User: "102"}); got != "" {
		t.Errorf("a call is %q", got)
	}
}

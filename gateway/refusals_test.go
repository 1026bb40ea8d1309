package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/sip"
)

// guesser calls numbers to find out which there are.
type guesser struct {
	conn *net.UDPConn
	to   netip.AddrPort
	buf  []byte
}

func newGuesser(t *testing.T, from string, to netip.AddrPort) *guesser {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(from)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &guesser{conn: conn, to: to, buf: make([]byte, 65536)}
}

// guess calls a number. It returns all that was said, without what this call
// alone has, and how long that took.
func (g *guesser) guess(t *testing.T, number string) (said string, took time.Duration) {
	t.Helper()
	own := g.conn.LocalAddr().String()
	host, port, _ := net.SplitHostPort(own)
	id := fmt.Sprintf("%016x", rand.Uint64())
	request := func(method, to string) {
		text := method + " sip:" + number + "@gateway SIP/2.0\r\nVia: SIP/2.0/UDP " + own + ";branch=z9hG4bK" + id + ";rport\r\nMax-Forwards: 70\r\n" +
			"From: <sip:+493055501234@pbx>;tag=" + id + "\r\nTo: <sip:" + number + "@gateway>" + to + "\r\nCall-ID: " + id + "\r\nCSeq: 1 " + method +
			"\r\nContact: <sip:" + own + ">\r\nContent-Length: 0\r\n\r\n"
		if _, err := g.conn.WriteToUDPAddrPort([]byte(text), g.to); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	_ = g.conn.SetReadDeadline(began.Add(10 * time.Second))
	request("INVITE", "")
	for {
		n, err := g.conn.Read(g.buf)
		if err != nil {
			t.Fatalf("%s: %v after %q", number, err, said)
		}
		response := string(g.buf[:n])
		if !strings.Contains(response, id) || strings.HasPrefix(response, "SIP/2.0 100 ") { // of an earlier call, or a busy machine's
			continue
		}
		said += response
		if strings.HasPrefix(response, "SIP/2.0 1") {
			continue
		}
		took = time.Since(began)
		_, tag, _ := strings.Cut(response, "\r\nTo: ")
		_, tag, _ = strings.Cut(tag, ";tag=")
		tag, _, _ = strings.Cut(tag, "\r\n")
		request("ACK", ";tag="+tag)
		return strings.NewReplacer(number, "NUMBER", id, "ID", tag, "TAG", host, "HOST", ":"+port, ":PORT", "rport="+port, "rport=PORT").Replace(said), took
	}
}

// secrets are mailboxes that a guesser must not find, by what hides them.
func secrets(perKind int) (mailboxes []config.Mailbox, numbers map[string][]string) {
	numbers = map[string][]string{}
	for i := range perKind {
		for kind, m := range []struct {
			kind string
			config.Mailbox
		}{
			{kind: "unknown"},
			{"disabled", config.Mailbox{Disabled: true}},
			{"blocked", config.Mailbox{Blocked: []string{"+493055501234"}}},
			{"too many callees", config.Mailbox{}},
		} {
			m.Number = fmt.Sprintf("+49301%d%04d", kind, i)
			numbers[m.kind] = append(numbers[m.kind], m.Number)
			if m.kind != "unknown" {
				mailboxes = append(mailboxes, m.Mailbox)
			}
		}
	}
	return mailboxes, numbers
}

// Whoever calls a thousand numbers learns from no byte and from no delay which
// of them there are.
func TestRefusalsTellNothing(t *testing.T) {
	const perKind = 250
	for unknown, status := range map[sip.Unknown]string{"480": "SIP/2.0 480 ", "sip:{user}@pbx.example": "SIP/2.0 302 "} {
		t.Run(status, func(t *testing.T) {
			cfg, err := config.Load(configFile(t, t.TempDir(), "http://127.0.0.1:1/", ""))
			if err != nil {
				t.Fatal(err)
			}
			mailboxes, numbers := secrets(perKind)
			cfg.Mailboxes = append(cfg.Mailboxes, mailboxes...)
			cfg.SIP.Limits = sip.Limits{}
			cfg.SIP.Trunks[0].Unknown = unknown
			cfg.SIP.Trunks = append(cfg.SIP.Trunks, sip.Trunk{
				Name: "shared", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, Country: "DE",
				Limits: sip.Limits{Callees: 1}, Unknown: unknown,
			})
			g := startConfigured(t, cfg)
			from, capped := newGuesser(t, "127.0.0.1", g.address("udp")), newGuesser(t, "127.0.0.2", g.address("udp"))
			capped.guess(t, "+4930999")

			kinds := slices.Sorted(maps.Keys(numbers))
			seen := map[string]string{}
			times := map[string][]time.Duration{}
			for i := range perKind {
				for _, k := range rand.Perm(len(kinds)) { // in another order each time
					kind, by := kinds[k], from
					if kind == "too many callees" {
						by = capped
					}
					said, took := by.guess(t, numbers[kind][i])
					seen[said] = kind
					times[kind] = append(times[kind], took)
				}
			}
			if len(seen) != 1 {
				t.Errorf("%d different refusals: %q", len(seen), seen)
			}
			for said := range seen {
				if !strings.HasPrefix(said, status) {
					t.Errorf("got %q, want %s", said, status)
				}
			}
			sameTimes(t, times)
			for _, outcome := range []string{"disabled", "blocked", "too_many_callees"} {
				until(t, "each is counted as "+outcome, func() bool { // which follows its answer
					return scraped(t, g, `afterbeep_calls_total{outcome="`+outcome+`"}`) == perKind
				})
			}
		})
	}
}

// sameTimes is Mood's median test: of each kind about half are quicker than
// the median of all. Chance alone moves the share of 250 by 0.03; a load on
// the machine moves all kinds alike, for they take turns.
func sameTimes(t *testing.T, times map[string][]time.Duration) {
	t.Helper()
	var all []time.Duration
	for _, kind := range times {
		all = append(all, kind...)
	}
	slices.Sort(all)
	median := all[len(all)/2]
	for kind, took := range times {
		quick := 0
		for _, d := range took {
			if d < median {
				quick++
			}
		}
		share := float64(quick) / float64(len(took))
		t.Logf("%s: %.2f are quicker than %v", kind, share, median)
		if share < 0.35 || share > 0.65 {
			t.Errorf("%s: %.2f are quicker than the median of all, %v", kind, share, median)
		}
	}
}

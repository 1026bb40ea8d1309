package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/sip"
)

// desk is a directory service: a mailbox for each number that begins with 7.
type desk struct {
	*httptest.Server

	away atomic.Bool
	slow atomic.Int64 // nanoseconds
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(d.slow.Load()))
		user := r.URL.Query().Get("user")
		switch {
		case d.away.Load():
			http.Error(w, "away", http.StatusServiceUnavailable)
		case r.Header.Get("Authorization") != "Bearer open sesame":
			http.Error(w, "who is this?", http.StatusUnauthorized)
		case strings.HasPrefix(user, "7"):
			_, _ = fmt.Fprintf(w, `{"name": "Desk %s", "deliver": ["hook"]}`, user)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(d.Close)
	return d
}

// settings are the `directory` part of a gateway's file.
func (d *desk) settings() string {
	return fmt.Sprintf("directory: {url: %q, token: open sesame, allow_private: true, fresh: 1s}", d.URL)
}

// A peer whose connection is gone by the time of the answer has tried another
// gateway, which leaves the note: this one leaves none.
func TestPeerGoneBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	desk, hook := newDesk(t), newReceiver(t)
	desk.slow.Store(int64(500 * time.Millisecond))
	g := startGateway(t, configFile(t, t.TempDir(), hook.URL, "", desk.settings()))
	p := newPhoneOver(t, "tcp", g.address("tcp"), "710")
	p.send("INVITE", "", 1, sdp)
	if status, _ := p.receive(); status != 100 {
		t.Fatalf("the first response is %d", status)
	}
	conn := p.conn.(*net.TCPConn)
	if err := errors.Join(conn.SetLinger(0), conn.Close()); err != nil {
		t.Fatal(err)
	}
	hook.none(t, 2*time.Second)
	metrics := httptest.NewRecorder()
	g.metrics.ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if !strings.Contains(metrics.Body.String(), `afterbeep_calls_total{outcome="unacknowledged"} 1`) {
		t.Error("the call is not counted as one without an ACK")
	}
}

// While the directory is slow the peer hears that its call is being seen to,
// within 200 ms (RFC 3261 section 17.2.1), and then it is answered.
func TestSlowDirectory(t *testing.T) {
	t.Parallel()
	desk, hook := newDesk(t), newReceiver(t)
	desk.slow.Store(int64(700 * time.Millisecond))
	g := startGateway(t, configFile(t, t.TempDir(), hook.URL, "", desk.settings()))
	quickest := time.Hour
	for i := range 3 {
		p := newPhone(t, g.address("udp"), fmt.Sprint(710+i))
		began := time.Now()
		p.send("INVITE", "", 1, sdp)
		if status, _ := p.receive(); status != 100 {
			t.Fatalf("the first response is %d", status)
		}
		quickest = min(quickest, time.Since(began))
		status, tag := p.final()
		if took := time.Since(began); status != 200 || took < 700*time.Millisecond {
			t.Errorf("answered %d after %v", status, took)
		}
		p.send("ACK", tag, 1, "")
		p.send("BYE", tag, 2, "")
		p.final()
		if n := hook.next(t); n.Data.Recipient.Number != fmt.Sprint(710+i) {
			t.Errorf("the note is for %+v", n.Data.Recipient)
		}
	}
	t.Logf("100 Trying after %v", quickest)
	if quickest > 200*time.Millisecond {
		t.Errorf("100 Trying came after %v at best", quickest)
	}

	desk.slow.Store(int64(2 * time.Second))   // the CANCEL is to be quicker
	p := newPhone(t, g.address("udp"), "719") // who gives up meanwhile has called too
	p.send("INVITE", "", 1, sdp)
	p.receive()
	p.send("CANCEL", "", 1, "")
	for codes := ""; codes != "200 487 " && codes != "487 200 "; {
		status, _ := p.receive()
		if codes += fmt.Sprint(status, " "); len(codes) > len("200 487 ") {
			t.Fatalf("the CANCEL is answered %s", codes)
		}
	}
	if n := hook.next(t); n.Data.Recipient.Number != "719" || n.Data.Kind != "missed" {
		t.Errorf("the note is %+v", n.Data)
	}
}

// Calls for mailboxes that the directory has told of go on while it is away; of
// the others another gateway may know.
func TestDirectoryAway(t *testing.T) {
	t.Parallel()
	desk, hook := newDesk(t), newReceiver(t)
	dir := t.TempDir()
	path := configFile(t, dir, hook.URL, "", desk.settings())
	g := startGateway(t, path)
	calls := func(when string, want map[string]int) {
		t.Helper()
		for number, want := range want {
			if got := newPhone(t, g.address("udp"), number).call(); got != want {
				t.Errorf("%s: %s is answered %d, want %d", when, number, got, want)
			}
			if want == 200 {
				hook.next(t)
			}
		}
	}
	calls("at first", map[string]int{"701": 200, "801": 480, reception: 200})
	time.Sleep(1100 * time.Millisecond) // what it said is no longer fresh
	desk.away.Store(true)
	calls("away", map[string]int{"701": 200, "702": 503, "801": 503, reception: 200})
	desk.away.Store(false)
	calls("back", map[string]int{"702": 200, "801": 480})

	link := run(t, "link", "703", "--config", path)
	if !strings.Contains(link, "/inbox/") {
		t.Errorf("link prints %s", link)
	}
	for number, want := range map[string]bool{"703": true, "803": false} {
		if r, ok := g.directory.Recipient(t.Context(), number); ok != want {
			t.Errorf("%s is %v, %v", number, r, ok)
		}
	}
	found, more := mailboxes{g.directory, g.store}.Search(t.Context(), "", 10)
	listed := map[string]bool{}
	for _, r := range found {
		listed[r.Number] = true
	}
	if more || len(listed) != 3 || !listed[reception] || !listed["701"] || !listed["702"] {
		t.Errorf("the admin is shown %v", found)
	}
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What a new file changes that counts after a restart only is said, and what
// would deliver by a channel that does not run is not taken over.
func TestAdopt(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	dir := t.TempDir()
	path := configFile(t, dir, hook.URL, "")
	g := startGateway(t, path)
	good := mustRead(t, path)
	for name, c := range map[string]struct{ old, new, want, keys string }{
		"another level":   {"store:", "log: {level: error}\nstore:", "", ""},
		"another trunk":   {"country: DE", "country: FR", "", ""},
		"another lamp":    {"country: DE", "mwi: 'sip:{mailbox}@127.0.0.1'", "", ""},
		"another limit":   {"sip:", "log: {format: json}\nsip:\n  limits: {calls: 7}", "", "[log.format]"},
		"another channel": {"attach: true", "attach: true, within: 3m", "", "[channels]"},
		"a new channel": {
			"mailboxes:", "  crm: {type: webhook, url: \"https://a.example\", secret: " + webhookSecret + ", attach: true}\nmailboxes:\n  - {number: 7, deliver: crm}",
			`mailboxes[0].deliver[0]: there is no channel "crm"`, "[channels]",
		},
		"contacts": {"store:", "contacts: nowhere.vcf\nretention: {audio: 1d}\nstore:", "", ""},
	} {
		next, err := config.Parse(path, []byte(strings.Replace(good, c.old, c.new, 1)), os.LookupEnv)
		if err != nil {
			t.Fatal(name, err)
		}
		keys := fmt.Sprint(g.cfg.NeedsRestart(next))
		if keys != c.keys && (keys != "[]" || c.keys != "") {
			t.Errorf("%s: %s need a restart, want %s", name, keys, c.keys)
		}
		err = g.adopt(next)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		mistakes := config.FileErrors{}
		if _, placed := config.Logged(err).(config.FileErrors); err != nil && (!placed || !errors.As(err, &mistakes)) {
			t.Errorf("%s: the log would have %v", name, err)
		}
	}
	if got := g.directory.Retention(t.Context(), reception); got.Audio != 24*time.Hour && got.Audio != 30*24*time.Hour {
		t.Errorf("retention %v", got)
	}
}

func TestCheckReadsTheDirectory(t *testing.T) {
	t.Parallel()
	const quiet = "sip: {listen: 'udp://127.0.0.1:0', trunks: [{name: pbx, from: 127.0.0.0/8}]}\nhttp: {listen: '127.0.0.1:0'}\n"
	dir := t.TempDir()
	for text, c := range map[string]struct {
		want   string
		failed bool
	}{
		"number,deliver\n101,inbox\n102,inbox\n": {"ok directory.file " + dir + "/mailboxes.csv: 2 mailboxes", false},
		"number,deliver\n101,nowhere\n":          {"FAIL directory.file " + dir + `/mailboxes.csv:2:5: deliver[0]: there is no channel "nowhere"`, true},
		"number\n":                               {"warn mailboxes there is none", false},
	} {
		if err := os.WriteFile(filepath.Join(dir, "mailboxes.csv"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		lines, failed := checked(t, dir, quiet+"directory: {file: mailboxes.csv}")
		if failed != c.failed || !strings.Contains(lines, c.want) {
			t.Errorf("%q: check says\n%swant %s", text, lines, c.want)
		}
	}
	lines, failed := checked(t, dir, quiet+"directory: {file: nowhere.csv}")
	if !failed || !strings.Contains(lines, "FAIL directory.file stat "+dir+"/nowhere.csv: no such file or directory") {
		t.Errorf("check says\n%s", lines)
	}
}

func TestCheckAsksTheDirectory(t *testing.T) {
	t.Parallel()
	desk := newDesk(t)
	const quiet = "sip: {listen: 'udp://127.0.0.1:0', trunks: [{name: pbx, from: 127.0.0.0/8}]}\nhttp: {listen: '127.0.0.1:0'}\n"
	settings := quiet + desk.settings()
	for _, c := range []struct{ text, want string }{
		{settings, "ok directory.url answers in"},
		{strings.Replace(settings, "open sesame", "sesame", 1), "warn directory.url the service answered 401 Unauthorized: does it know directory.token?; until that is mended"},
		{strings.Replace(settings, "allow_private: true, ", "", 1), "warn directory.url the service cannot be asked: dial tcp"},
	} {
		if lines, failed := checked(t, t.TempDir(), c.text); failed || !strings.Contains(lines, c.want) || strings.Contains(lines, "480") {
			t.Errorf("check says\n%swant %s", lines, c.want)
		}
	}
}

// BenchmarkAnswer places calls by turns to gateways of one mailbox and of a
// hundred thousand, and compares how long their answers take.
func BenchmarkAnswer(b *testing.B) {
	const number = "+493000054321"
	many := make([]config.Mailbox, 100_000)
	for i := range many {
		many[i] = config.Mailbox{Number: fmt.Sprintf("+4930%08d", i), Deliver: delivery.Chain{{Channel: config.Inbox}}}
	}
	var gateways [2]netip.AddrPort
	for i, mailboxes := range [][]config.Mailbox{{{Number: number, Deliver: delivery.Chain{{Channel: config.Inbox}}}}, many} {
		cfg := demoConfig(b.Context(), b.TempDir())
		cfg.Mailboxes, cfg.SIP.Limits = mailboxes, sip.Limits{}
		for j := range cfg.SIP.Listen {
			cfg.SIP.Listen[j].Addr = netip.MustParseAddrPort("127.0.0.1:0")
		}
		cfg.HTTP.Listen = netip.MustParseAddrPort("127.0.0.1:0")
		g, err := open(b.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- errors.Join(g.run(ctx, ctx.Done()), g.close()) }()
		b.Cleanup(func() {
			stop()
			if err := <-done; err != nil {
				b.Error(err)
			}
		})
		gateways[i] = g.address("udp")
	}
	var took [2][]time.Duration
	for b.Loop() {
		for i, gateway := range gateways {
			p := newPhone(b, gateway, number)
			began := time.Now()
			p.send("INVITE", "", 1, sdp)
			status, tag := p.final()
			took[i] = append(took[i], time.Since(began))
			if status != 200 {
				b.Fatalf("answered %d", status)
			}
			p.send("ACK", tag, 1, "")
			p.send("BYE", tag, 2, "")
			p.final()
		}
	}
	median := func(ds []time.Duration) float64 {
		slices.Sort(ds)
		return float64(ds[len(ds)/2].Microseconds())
	}
	one, hundredThousand := median(took[0]), median(took[1])
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(one, "µs/answer-of-1")
	b.ReportMetric(hundredThousand, "µs/answer-of-100000")
	b.ReportMetric(hundredThousand/one, "ratio")
}

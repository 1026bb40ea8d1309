package sip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// pbx is a Kamailio on a port of its own, which may be stopped and started.
type pbx struct {
	t    *testing.T
	addr netip.AddrPort
	args []string
	cmd  *exec.Cmd
	said bytes.Buffer
}

// newPBX starts a Kamailio with testdata/kamailio/pbx.cfg.
func newPBX(t *testing.T, defines ...string) *pbx {
	t.Helper()
	return newKamailio(t, "pbx.cfg", defines...)
}

// newKamailio starts a Kamailio with a file of testdata/kamailio.
func newKamailio(t *testing.T, name string, defines ...string) *pbx {
	t.Helper()
	peertest.Needs(t, "kamailio")
	file, err := filepath.Abs(filepath.Join("testdata", "kamailio", name))
	if err != nil {
		t.Fatal(err)
	}
	p := &pbx{t: t, addr: peertest.Address(t)}
	dir := t.TempDir()
	p.args = []string{"-DD", "-E", "-m", "32", "-M", "4", "-f", file, "-Y", dir, "-P", filepath.Join(dir, "pid"), "-l", "udp:" + p.addr.String(), "-l", "tcp:" + p.addr.String()}
	for _, d := range defines {
		p.args = append(p.args, "-A", d)
	}
	p.start()
	t.Cleanup(p.stop)
	return p
}

// start runs it until it takes connections.
func (p *pbx) start() {
	p.t.Helper()
	p.cmd = exec.CommandContext(context.WithoutCancel(p.t.Context()), "kamailio", p.args...)
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children end with it
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", p.addr.String()); err == nil {
			_ = conn.Close()
			return
		}
	}
	p.stop()
	p.t.Fatalf("kamailio does not start:\n%s", p.said.String())
}

// stop ends it as a power cut would: nobody is told.
func (p *pbx) stop() {
	if p.cmd == nil {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Wait() // killed
	p.cmd = nil
}

func (p *pbx) registrar(network string) Registrar {
	return Registrar{Network: network, Host: p.addr.Addr().String(), Port: int(p.addr.Port())}
}

// extension is the account of most tests.
func (p *pbx) extension(network string) Account {
	return Account{Registrar: []Registrar{p.registrar(network)}, User: "500", Password: "open sesame", Name: "pbx"}
}

// serveAccount starts a server that takes calls by its account alone.
func serveAccount(t *testing.T, a Account, change func(*Server)) *testServer {
	t.Helper()
	return serveOptions(t, Options{
		Listen:   []ListenAddress{{"udp", netip.AddrPortFrom(loopback, 0)}},
		Accounts: []Account{a},
	}, change, nil)
}

// standing waits until the account stands as asked.
func (ts *testServer) standing(t *testing.T, what string, ok func(AccountStatus) bool) AccountStatus {
	t.Helper()
	var s AccountStatus
	for end := time.Now().Add(3 * patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if s = ts.Accounts()[0]; ok(s) {
			return s
		}
	}
	t.Fatalf("%s: not so after %v: %+v", what, 3*patience, s)
	return s
}

func registered(s AccountStatus) bool { return s.Registered && s.Err == nil }

// dial calls a number of the PBX and hangs up.
func (p *pbx) dial(t *testing.T, user string) error {
	t.Helper()
	c, err := NewClient(ClientOptions{Local: netip.AddrPortFrom(loopback, 0)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d, err := c.Invite(ctx, fmt.Sprintf("sip:%s@%s", user, p.addr), Request{Offer: []byte(testOffer), From: "+491705550101"})
	if err != nil {
		return err
	}
	return d.Bye(ctx)
}

// A call to an extension that nobody takes arrives by the registration, for the
// mailbox of that extension.
func TestCallsComeByTheRegistration(t *testing.T) {
	for _, tt := range []struct{ network, algorithm string }{{"udp", "MD5"}, {"udp", "SHA-256"}, {"tcp", "MD5"}} {
		t.Run(tt.network+" "+tt.algorithm, func(t *testing.T) {
			t.Parallel()
			p := newPBX(t, `ALGORITHM="`+tt.algorithm+`"`)
			ts := serveAccount(t, p.extension(tt.network), nil)
			s := ts.standing(t, "registered", registered)
			if s.Name != "pbx" || s.Registrar != p.addr.String() || time.Until(s.Until) < time.Minute {
				t.Errorf("status %+v", s)
			}
			for dialled, mailbox := range map[string]string{"101": "101", "102": "102", "500": "500"} {
				if err := p.dial(t, dialled); err != nil {
					t.Fatalf("%s: %v", dialled, err)
				}
				call := ts.call(t)
				if call.Trunk.Name != "pbx" || len(call.Callees) == 0 || call.Callees[0].User != mailbox {
					t.Errorf("%s: trunk %s, callees %+v", dialled, call.Trunk.Name, call.Callees)
				}
				ts.ended(t, ErrCallerHungUp)
			}
		})
	}
}

// hasty makes everything that an account waits for short.
func hasty(s *Server) {
	s.pace = pace{
		answer: 300 * time.Millisecond, ping: 50 * time.Millisecond,
		retry: 100 * time.Millisecond, longest: 200 * time.Millisecond, refused: 200 * time.Millisecond, leave: time.Second,
	}
}

// A PBX that restarts forgets who was registered: over UDP until the
// registration is renewed, over TCP until the lost connection is noticed.
func TestPBXRestarts(t *testing.T) {
	for network, longest := range map[string]int{"udp": 10, "tcp": 3600} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			p := newPBX(t, fmt.Sprintf("LONGEST=%d", longest))
			ts := serveAccount(t, p.extension(network), hasty)
			s := ts.standing(t, "registered", registered)
			p.stop()
			p.start()
			err := p.dial(t, "500")
			renewed := time.Now().After(s.Until.Add(-3 * time.Second)) // maybe, of ten
			if network == "udp" && !renewed && !answered(err, 404) {
				t.Errorf("the PBX has not forgotten: %v", err)
			}
			for end := time.Now().Add(4 * patience); ; time.Sleep(50 * time.Millisecond) {
				err := p.dial(t, "500")
				if err == nil {
					break
				}
				if !answered(err, 404) && !answered(err, 500) || time.Now().After(end) {
					t.Fatalf("after the restart: %v", err)
				}
			}
			ts.ended(t, ErrCallerHungUp)
		})
	}
}

// answered says whether an error is a response with this code.
func answered(err error, code int) bool {
	status := (*StatusError)(nil)
	return errors.As(err, &status) && status.Code == code
}

// The second registrar has its turn while the first is away, and no longer.
func TestSecondRegistrar(t *testing.T) {
	t.Parallel()
	first, second := newPBX(t, "LONGEST=6"), newPBX(t, "LONGEST=6")
	first.stop()
	account := first.extension("udp")
	account.Registrar = append(account.Registrar, second.registrar("udp"))
	ts := serveAccount(t, account, func(s *Server) {
		hasty(s)
		s.pace.answer = time.Second
	})
	at := func(p *pbx) func(AccountStatus) bool {
		return func(s AccountStatus) bool { return registered(s) && s.Registrar == p.addr.String() }
	}
	ts.standing(t, "registered with the second", at(second))
	if err := second.dial(t, "101"); err != nil {
		t.Error(err)
	}
	ts.ended(t, ErrCallerHungUp)

	first.start()
	ts.standing(t, "back at the first", at(first))
	if err := first.dial(t, "101"); err != nil {
		t.Error(err)
	}
	ts.ended(t, ErrCallerHungUp)
	if err := second.dial(t, "500"); !answered(err, 404) {
		t.Errorf("the second still has the extension: %v", err)
	}
	first.stop()
	ts.standing(t, "with the second again", at(second))
}

// A gateway that drains gets no more calls from the PBX, while those in
// progress go on.
func TestUnregistersWhileDraining(t *testing.T) {
	t.Parallel()
	p := newPBX(t)
	ts := serveAccount(t, p.extension("udp"), nil)
	ts.standing(t, "registered", registered)
	c, err := NewClient(ClientOptions{Local: netip.AddrPortFrom(loopback, 0)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	call, err := c.Invite(t.Context(), fmt.Sprintf("sip:101@%s", p.addr), Request{Offer: []byte(testOffer)})
	if err != nil {
		t.Fatal(err)
	}
	ts.Drain()
	ts.standing(t, "unregistered", func(s AccountStatus) bool { return !s.Registered })
	if err := p.dial(t, "101"); !answered(err, 404) {
		t.Errorf("the PBX still knows where to send calls: %v", err)
	}
	if err := call.Bye(t.Context()); err != nil {
		t.Error(err)
	}
	ts.ended(t, ErrCallerHungUp)
}

// What keeps an account from registering is told in words that say what to
// mend, to a check and to the log of a gateway that runs.
func TestAccountFaults(t *testing.T) {
	p := newPBX(t)
	for name, tt := range map[string]struct {
		change func(*Account)
		want   string
	}{
		"a wrong password":    {func(a *Account) { a.Password = "sesame" }, p.addr.String() + ": the password is wrong: check password, and login where"},
		"a wrong login":       {func(a *Account) { a.Login = "501" }, p.addr.String() + ": the password is wrong: check password, and login where"},
		"no password":         {func(a *Account) { a.Password = "" }, "the PBX asks for a password: set password, or password_file"},
		"an unknown user":     {func(a *Account) { a.User = "404" }, "the PBX knows no such extension: check user"},
		"a forbidden user":    {func(a *Account) { a.User = "403" }, "the PBX forbids it: check user, password and login"},
		"nobody there":        {func(a *Account) { a.Registrar = []Registrar{{"udp", "127.0.0.1", 9}} }, "127.0.0.1:9: no answer: is the PBX up"},
		"nobody there by TCP": {func(a *Account) { a.Registrar = []Registrar{{"tcp", "127.0.0.1", 9}} }, "127.0.0.1:9: cannot be reached: connect: connection refused"},
		"no such name":        {func(a *Account) { a.Registrar = []Registrar{{"udp", "pbx.invalid", 5060}} }, "pbx.invalid has no address: check the name"},
		"out of reach":        {func(a *Account) { a.Registrar = []Registrar{{"udp", "192.0.2.1", 5060}} }, "192.0.2.1:5060: no UDP address of sip.listen reaches it: add udp://0.0.0.0:5060"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := p.extension("udp")
			tt.change(&a)
			ts := serveAccount(t, a, func(s *Server) {
				hasty(s)
				s.dns = records{}
			})
			s := ts.standing(t, name, func(s AccountStatus) bool { return s.Err != nil && strings.Contains(s.Err.Error(), tt.want) })
			if s.Registered {
				t.Errorf("registered, with %q", s.Err)
			}
		})
	}
}

// A check asks the PBX and leaves its calls where they are.
func TestTryAccount(t *testing.T) {
	p := newPBX(t)
	for _, network := range []string{"udp", "tcp"} {
		a := p.extension(network)
		a.Registrar = append([]Registrar{{"tcp", "127.0.0.1", 9}}, a.Registrar...)
		addr, err := TryAccount(t.Context(), a, slog.New(slog.DiscardHandler))
		if err != nil || addr != p.addr {
			t.Errorf("%s: %v, %v", network, addr, err)
		}
		a.Password = "wrong"
		if _, err = TryAccount(t.Context(), a, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "the password is wrong") {
			t.Errorf("%s: %v", network, err)
		}
	}
	if err := p.dial(t, "500"); !answered(err, 404) {
		t.Errorf("the check has registered: %v", err)
	}
}

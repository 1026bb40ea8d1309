package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// lampFile is configFile with an address for the message lamps of its trunk.
func lampFile(t *testing.T, path, mwi string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("country: DE}"), fmt.Appendf(nil, "country: DE, mwi: %q}", mwi), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// markPlayed is what the recipient does in the inbox.
func (g *gateway) markPlayed(t *testing.T, id string) {
	t.Helper()
	token, err := g.store.LinkFor(t.Context(), reception)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := g.ask(t, "POST", "/inbox/"+token+"/notes/"+id+"/played"); status != http.StatusNoContent {
		t.Fatalf("marking: %d", status)
	}
}

// lampPhone is a phone or a PBX that shows what NOTIFYs tell it.
type lampPhone struct {
	conn *net.UDPConn

	mu   sync.Mutex
	told []string // Voice-Message, and the address of who said so
	done chan struct{}
	deaf bool // answers nothing
}

func newLampPhone(t *testing.T, at netip.AddrPort) *lampPhone {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	p := &lampPhone{conn: conn, done: make(chan struct{})}
	go p.serve()
	t.Cleanup(p.close)
	return p
}

func (p *lampPhone) close() {
	_ = p.conn.Close()
	<-p.done
}

func (p *lampPhone) addr() netip.AddrPort { return p.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (p *lampPhone) serve() {
	defer close(p.done)
	buf := make([]byte, 65536)
	seen := map[string]bool{} // by CSeq and Call-ID: what is resent is told once
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		head, body, _ := strings.Cut(string(buf[:n]), "\r\n\r\n")
		if !strings.HasPrefix(head, "NOTIFY ") {
			continue
		}
		lines := strings.Split(head, "\r\n")
		answer := []string{"SIP/2.0 200 OK"}
		id := ""
		for _, l := range lines[1:] {
			switch name, _, _ := strings.Cut(strings.ToLower(l), ":"); name {
			case "via", "from", "to", "record-route":
				answer = append(answer, l)
			case "call-id", "cseq":
				answer = append(answer, l)
				id += l
			}
		}
		_, messages, _ := strings.Cut(body, "Voice-Message: ")
		messages, _, _ = strings.Cut(messages, " ")
		p.mu.Lock()
		if !p.deaf && !seen[id] {
			seen[id] = true
			p.told = append(p.told, messages+" by "+from.String())
		}
		deaf := p.deaf
		p.mu.Unlock()
		if !deaf {
			_, _ = p.conn.WriteToUDPAddrPort([]byte(strings.Join(append(answer, "Content-Length: 0", "", ""), "\r\n")), from)
		}
	}
}

// heard is what it was told, and by whom.
func (p *lampPhone) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.told...)
}

func (p *lampPhone) setDeaf(deaf bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = deaf
}

// shows waits until the last that it was told is messages.
func (p *lampPhone) shows(t *testing.T, messages string) {
	t.Helper()
	until(t, "the lamp shows "+messages, func() bool {
		told := p.heard()
		return len(told) > 0 && strings.HasPrefix(told[len(told)-1], messages+" ")
	})
}

// A PBX that is told unasked: on with a note, off when it is played, told again
// by a gateway that was started anew, and after it was away itself.
func TestLampOfAPBX(t *testing.T) {
	t.Parallel()
	pbx := newLampPhone(t, netip.MustParseAddrPort("127.0.0.1:0"))
	hook := newReceiver(t)
	path := lampFile(t, configFile(t, t.TempDir(), hook.URL, ""), "sip:{mailbox}@"+pbx.addr().String())
	var id string
	t.Run("a note comes and is played", func(t *testing.T) {
		g := startGateway(t, path)
		leave(t, g.address("udp"))
		id = hook.next(t).Data.ID
		pbx.shows(t, "1/0")
		g.markPlayed(t, id)
		pbx.shows(t, "0/1")
		leave(t, g.address("udp"))
		id = hook.next(t).Data.ID
		pbx.shows(t, "1/1")
	})
	before := len(pbx.heard())
	t.Run("the gateway is started anew", func(t *testing.T) {
		g := startGateway(t, path)
		until(t, "the lamp is told again", func() bool { return len(pbx.heard()) > before })
		pbx.shows(t, "1/1")
		pbx.setDeaf(true)
		g.markPlayed(t, id)
		time.Sleep(3 * time.Second)
		pbx.setDeaf(false)
		pbx.shows(t, "0/2")
		moved := newLampPhone(t, netip.MustParseAddrPort("127.0.0.1:0"))
		next, err := config.Parse(path, []byte(strings.ReplaceAll(mustRead(t, path), pbx.addr().String(), moved.addr().String())), os.LookupEnv)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.adopt(next); err != nil {
			t.Fatal(err)
		}
		moved.shows(t, "0/2")
		if err := g.adopt(g.cfg); err != nil {
			t.Fatal(err)
		}
		if _, err := g.store.Erase(t.Context(), reception); err != nil {
			t.Fatal(err)
		}
		pbx.shows(t, "0/0")
	})
}

// Of many machines the one that changes what waits says so, and no other.
func TestOneMachineTellsTheLamp(t *testing.T) {
	t.Parallel()
	pbx := newLampPhone(t, netip.MustParseAddrPort("127.0.0.1:0"))
	redis := redistest.Single(t)
	hook := newReceiver(t)
	start := func() *gateway {
		g := startGateway(t, lampFile(t, memberFile(t, hook.URL, redis.URL, ""), "sip:{mailbox}@"+pbx.addr().String()))
		g.awaitGate(t)
		return g
	}
	a, b := start(), start()
	leave(t, a.address("udp"))
	id := hook.next(t).Data.ID
	pbx.shows(t, "1/0")
	until(t, "b has the note", func() bool {
		notes, err := b.store.Thread(t.Context(), reception, "", 9)
		return err == nil && len(notes) == 1
	})
	b.markPlayed(t, id)
	pbx.shows(t, "0/1")
	until(t, "a knows", func() bool {
		life, err := a.store.Life(t.Context(), id)
		return err == nil && !life.Note.PlayedAt.IsZero()
	})
	leave(t, b.address("udp"))
	hook.next(t)
	pbx.shows(t, "1/1")
	time.Sleep(2 * time.Second) // for what should not come
	want := []string{"1/0 by " + a.address("udp").String(), "0/1 by " + b.address("udp").String(), "1/1 by " + b.address("udp").String()}
	if got := pbx.heard(); strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("told %q, want %q", got, want)
	}
}

// kamailioFile is a registrar whose phones' SUBSCRIBEs go to the gateway, and
// whose NOTIFYs go to the phones.
const kamailioFile = `#!KAMAILIO
children=1
log_stderror=no
disable_tcp=yes
listen=udp:127.0.0.1:%d
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "siputils.so"
loadmodule "textops.so"
request_route {
    if (has_totag()) { if (loose_route()) { t_relay(); } else { sl_send_reply("481", "No"); } exit; }
    if (is_method("REGISTER")) { save("location"); exit; }
    record_route();
    if (is_method("SUBSCRIBE")) { $du = "sip:%s"; t_relay(); exit; }
    if (!lookup("location")) { sl_send_reply("404", "Not Found"); exit; }
    t_relay();
}
`

// startRegistrar runs a Kamailio until stop.
func startRegistrar(t *testing.T, addr, gateway netip.AddrPort) (stop func()) {
	t.Helper()
	peertest.Needs(t, "kamailio")
	dir := t.TempDir()
	file := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, kamailioFile, addr.Port(), gateway), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), "kamailio", "-DD", "-E", "-f", file, "-P", filepath.Join(dir, "pid"), "-Y", dir)
	startPeer(t, cmd)
	return func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}
}

// register has a phone register at a registrar, and waits until it is.
func (p *lampPhone) register(t *testing.T, user string, registrar netip.AddrPort) {
	t.Helper()
	from, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.addr().Addr(), 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	buf := make([]byte, 4096)
	for i := range 100 {
		text := strings.Join([]string{
			"REGISTER sip:" + registrar.String() + " SIP/2.0",
			fmt.Sprintf("Via: SIP/2.0/UDP %s;branch=z9hG4bK%d;rport", from.LocalAddr(), i),
			"From: <sip:" + user + "@127.0.0.1>;tag=r", "To: <sip:" + user + "@127.0.0.1>",
			fmt.Sprintf("Call-ID: r-%d", p.addr().Port()), fmt.Sprintf("CSeq: %d REGISTER", time.Now().UnixMilli()%1e9),
			"Contact: <sip:" + user + "@" + p.addr().String() + ">;expires=600", "Max-Forwards: 70", "Content-Length: 0", "", "",
		}, "\r\n")
		_, _ = from.WriteToUDPAddrPort([]byte(text), registrar)
		_ = from.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		if n, _, err := from.ReadFromUDPAddrPort(buf); err == nil && bytes.HasPrefix(buf[:n], []byte("SIP/2.0 200")) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the registrar does not answer")
}

// Behind a registrar the lamp of a phone that registered is switched, also when
// the registrar was started anew meanwhile and has forgotten its phones.
func TestLampBehindARegistrar(t *testing.T) {
	t.Parallel()
	registrar := peertest.Address(t)
	hook := newReceiver(t)
	g := startGateway(t, lampFile(t, configFile(t, t.TempDir(), hook.URL, ""), fmt.Sprintf("sip:{mailbox}@%s", registrar)))
	stop := startRegistrar(t, registrar, g.address("udp"))
	phone := newLampPhone(t, netip.MustParseAddrPort("127.0.0.1:0"))
	phone.register(t, reception, registrar)
	leave(t, g.address("udp"))
	first := hook.next(t).Data.ID
	phone.shows(t, "1/0")
	stop()
	g.markPlayed(t, first)
	time.Sleep(time.Second)
	startRegistrar(t, registrar, g.address("udp"))
	phone.register(t, reception, registrar)
	phone.shows(t, "0/1")
}

// A real phone subscribes through its registrar: it shows at once what waits,
// and each change.
func TestPhoneSubscribesToItsLamp(t *testing.T) {
	peertest.Needs(t, "baresip")
	t.Parallel()
	hook := newReceiver(t)
	g := startGateway(t, configFile(t, t.TempDir(), hook.URL, ""))
	registrar := peertest.Address(t)
	leave(t, g.address("udp"))
	first := hook.next(t).Data.ID
	// The phone comes first, by so much that its REGISTER is lost: baresip 1.0
	// subscribes without end where its first one is answered at once.
	shown := lampOfBaresip(t, fmt.Sprintf("<sip:%s@%s>;regint=60;auth_pass=none;mwi=yes", reception, registrar))
	until(t, "the phone is up", func() bool { return strings.Contains(shown(), "baresip is ready") })
	time.Sleep(300 * time.Millisecond)
	startRegistrar(t, registrar, g.address("udp"))
	shows := func(messages string) {
		t.Helper()
		until(t, "the phone shows "+messages, func() bool { return strings.Contains(shown(), "Voice-Message: "+messages) })
	}
	shows("1/0")
	leave(t, g.address("udp"))
	hook.next(t)
	shows("2/0")
	if err := g.store.Mark(t.Context(), reception, first, delivery.MarkRead); err != nil {
		t.Fatal(err)
	}
	shows("1/1")
	if got := g.sip.Stats(); got.Subscriptions != 1 || got.Unnotified != 0 {
		t.Errorf("stats %+v", got)
	}
}

// lampOfBaresip runs a phone with an account until the test ends, and returns
// what it has said so far.
func lampOfBaresip(t *testing.T, account string) (said func() string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"accounts": account + "\n",
		"contacts": "",
		"config": fmt.Sprintf(`poll_method epoll
sip_listen 127.0.0.1:%d
net_interface 127.0.0.1
audio_player aubridge,ear
audio_source aubridge,mouth
audio_alert aubridge,bell
module_path /usr/lib/baresip/modules
module g711.so
module aubridge.so
module_tmp account.so
module_app menu.so
module_app mwi.so
`, peertest.Ports(t, 2)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return startPeer(t, exec.CommandContext(context.Background(), "baresip", "-f", dir)).text
}

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// A phone behind Kamailio, which runs with deploy/pbx/kamailio.cfg, does not
// take a call: the caller's words arrive, once, with the reason why.
func TestKamailioForwards(t *testing.T) {
	peertest.Needs(t, "kamailio", "baresip")
	for _, c := range []struct {
		name   string
		phone  func(t *testing.T, k *kamailio) // whom the call is for
		reason string
	}{
		{"no answer", func(t *testing.T, k *kamailio) { k.phone(t, "answermode=manual") }, "missed"},
		{"busy", func(t *testing.T, k *kamailio) { k.phone(t, "answermode=manual", somebody(t)) }, "busy"},
		{"declined", func(t *testing.T, k *kamailio) { k.refusing(t, "603 Decline") }, "declined"},
		{"not registered", func(*testing.T, *kamailio) {}, "unreachable"},
		{"registered and dead", func(t *testing.T, k *kamailio) { k.phone(t, "answermode=manual").kill() }, "unreachable"},
		{"do not disturb", func(t *testing.T, k *kamailio) { k.refusing(t, "480 Do Not Disturb") }, "unreachable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hook := newReceiver(t)
			g := startGateway(t, configFile(t, t.TempDir(), hook.URL, ""))
			k := startKamailio(t, g.address("udp"))
			c.phone(t, k)
			k.leave(t, hook, c.reason)
			hook.none(t, 500*time.Millisecond)
		})
	}
}

// A call that is taken leaves nothing to the gateway.
func TestKamailioPhoneAnswers(t *testing.T) {
	peertest.Needs(t, "kamailio", "baresip")
	t.Parallel()
	hook := newReceiver(t)
	g := startGateway(t, configFile(t, t.TempDir(), hook.URL, ""))
	k := startKamailio(t, g.address("udp"))
	k.phone(t, "answermode=auto")
	k.call(t, speech(t, 2*time.Second))
	hook.none(t, 500*time.Millisecond)
	if calls := g.sip.Stats().Calls; calls != 0 {
		t.Errorf("%d calls came to the gateway", calls)
	}
}

// Of two gateways one does not take calls: the other does, each call once, and
// Kamailio says whom it passed over and why.
func TestKamailioPassesOver(t *testing.T) {
	peertest.Needs(t, "kamailio", "baresip")
	t.Run("frozen", func(t *testing.T) {
		t.Parallel()
		hook := newReceiver(t)
		one := startChild(t, configFile(t, t.TempDir(), hook.URL, "no_rtp: 2s"))
		other := startChild(t, configFile(t, t.TempDir(), hook.URL, ""))
		k := startKamailio(t, one.sip, other.sip)
		k.refusing(t, "486 Busy Here")
		one.signal(t, syscall.SIGSTOP)
		k.leave(t, hook, "busy")
		silent := fmt.Sprintf("sip:%s takes no call: 408", one.sip)
		k.said(t, silent)
		k.leave(t, hook, "busy")
		if n := strings.Count(k.log.text(), silent); n != 1 {
			t.Errorf("the frozen gateway was tried %d times", n)
		}
		one.signal(t, syscall.SIGCONT)
		hook.none(t, 4*time.Second) // of the call that lay in its socket meanwhile
		one.kill()
		other.stop(t)
	})
	t.Run("draining", func(t *testing.T) {
		t.Parallel()
		l := newLedger(t)
		one := startChild(t, configFile(t, t.TempDir(), l.hook.URL, ""))
		other := startChild(t, configFile(t, t.TempDir(), l.hook.URL, ""))
		k := runKamailio(t, withoutPings(t), one.sip, other.sip)
		k.refusing(t, "486 Busy Here")
		speaking := l.speak(t, one.sip, 8*time.Second)
		one.signal(t, syscall.SIGTERM)
		one.awaitDraining(t)
		k.leave(t, l.hook, "busy")
		k.said(t, fmt.Sprintf("sip:%s takes no call: 503", one.sip))
		l.hangUp(t, speaking) // it was taken before, and is taken to its end
		l.await(t)
		l.hook.none(t, 500*time.Millisecond)
		one.stop(t)
		other.stop(t)
	})
}

// A phone subscribes to its lamp through Kamailio: it shows what waits at the
// gateway that took it, the other being frozen, and each change.
func TestKamailioLamp(t *testing.T) {
	peertest.Needs(t, "kamailio")
	t.Parallel()
	frozen, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = frozen.Close() }()
	hook := newReceiver(t)
	g := startGateway(t, configFile(t, t.TempDir(), hook.URL, ""))
	k := startKamailio(t, frozen.LocalAddr().(*net.UDPAddr).AddrPort(), g.address("udp"))
	phone := newLampPhone(t, netip.MustParseAddrPort("127.0.0.1:0"))
	phone.subscribe(t, k)
	phone.shows(t, "0/0")
	leave(t, g.address("udp"))
	first := hook.next(t).Data.ID
	phone.shows(t, "1/0")
	g.markPlayed(t, first)
	phone.shows(t, "0/1")
	for _, told := range phone.heard() {
		if !strings.HasSuffix(told, " by "+k.addr.String()) {
			t.Errorf("told %s, past Kamailio", told)
		}
	}
}

// subscribe has a phone ask Kamailio for the number's lamp; its answer is the
// NOTIFY.
func (p *lampPhone) subscribe(t *testing.T, k *kamailio) {
	t.Helper()
	request := fmt.Sprintf("SUBSCRIBE %[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK%[3]d\r\nFrom: <%[1]s>;tag=1\r\nTo: <%[1]s>\r\n"+
		"Call-ID: %[3]d\r\nCSeq: 1 SUBSCRIBE\r\nMax-Forwards: 70\r\nContact: <sip:phone@%[2]s>\r\nEvent: message-summary\r\n"+
		"Accept: application/simple-message-summary\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n", k.mailbox(), p.addr(), rand.Int64())
	if _, err := p.conn.WriteToUDPAddrPort([]byte(request), k.addr); err != nil {
		t.Fatal(err)
	}
}

// kamailio is a Kamailio that runs with the file of deploy/pbx.
type kamailio struct {
	addr netip.AddrPort
	log  *transcript
}

const kamailioConfig = "../deploy/pbx/kamailio.cfg"

// withoutPings is that file where no OPTIONS tells Kamailio what a call is to.
func withoutPings(t *testing.T) string {
	t.Helper()
	const pings = `"ds_ping_interval", `
	quiet := filepath.Join(t.TempDir(), "kamailio.cfg")
	if err := os.WriteFile(quiet, []byte(strings.Replace(mustRead(t, kamailioConfig), pings+"5)", pings+"600)", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return quiet
}

// startKamailio has it forward calls to the gateways, the first of them first.
func startKamailio(t *testing.T, gateways ...netip.AddrPort) *kamailio {
	t.Helper()
	return runKamailio(t, kamailioConfig, gateways...)
}

// runKamailio does so with another file.
func runKamailio(t *testing.T, config string, gateways ...netip.AddrPort) *kamailio {
	t.Helper()
	dir := t.TempDir()
	var list strings.Builder
	for _, g := range slices.Backward(gateways) { // it begins with the last of the list
		fmt.Fprintf(&list, "1 sip:%s\n", g)
	}
	file, err := filepath.Abs(config)
	if err != nil {
		t.Fatal(err)
	}
	gatewayList := filepath.Join(dir, "afterbeep.list")
	if err := os.WriteFile(gatewayList, []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	k := &kamailio{addr: peertest.Address(t)}
	cmd := exec.CommandContext(context.Background(), "kamailio", "-DD", "-E", "-f", file, "-m", "16", "-M", "4",
		"-P", filepath.Join(dir, "pid"), "-Y", dir,
		"-A", "LISTEN=udp:"+k.addr.String(), "-A", "PHONES=127.0.0.0/8", "-A", "RING=2000", "-A", fmt.Sprintf("GATEWAYS=%q", gatewayList))
	k.log = startPeer(t, cmd)
	until(t, "Kamailio answers", func() bool {
		return strings.HasPrefix(k.ask(t, "OPTIONS", ""), "SIP/2.0 200")
	})
	return k
}

// mailbox is the number that everybody calls, at Kamailio.
func (k *kamailio) mailbox() string { return fmt.Sprintf("sip:%s@%s", reception, k.addr) }

// said waits for a line of Kamailio's log.
func (k *kamailio) said(t *testing.T, line string) {
	t.Helper()
	until(t, line, func() bool { return strings.Contains(k.log.text(), line) })
}

// call has a phone call the number and speak.
func (k *kamailio) call(t *testing.T, said []int16) {
	t.Helper()
	baresip(t, "pcmu/8000/1", writeWAV(t, said, 8000, 1), k.mailbox())
}

// leave calls, and holds the note against what was said.
func (k *kamailio) leave(t *testing.T, hook *receiver, reason string) {
	t.Helper()
	said := speech(t, 3*time.Second)
	k.call(t, said)
	n := hook.next(t)
	d := n.Data
	if d.Kind != "voice" || d.Reason != reason || d.Recipient.Number != reception || d.Caller.Number != "maria" || d.Partial {
		t.Errorf("the note says %+v, want the reason %s", d, reason)
	}
	if heard := decode(t, n.file); len(heard) < 2*8000 || likeness(said, heard) < 0.96 {
		t.Errorf("%d ms of audio are not what was said", d.DurationMS)
	}
}

// ask sends a request about the number and returns the answer, "" when none
// came. The contact, where there is one, is registered.
func (k *kamailio) ask(t *testing.T, method, contact string) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "udp", k.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	to, more := "sip:"+k.addr.String(), ""
	if contact != "" {
		to, more = k.mailbox(), "Contact: <"+contact+">\r\nExpires: 600\r\n"
	}
	_, _ = fmt.Fprintf(conn, "%s sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%d\r\nFrom: <%s>;tag=1\r\nTo: <%s>\r\n"+
		"Call-ID: %[4]d\r\nCSeq: 1 %[1]s\r\nMax-Forwards: 70\r\n%[7]sContent-Length: 0\r\n\r\n",
		method, k.addr, conn.LocalAddr(), rand.Int64(), to, to, more)
	_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	answer := make([]byte, 4096)
	n, _ := conn.Read(answer)
	return string(answer[:n])
}

// refusing registers a phone that refuses every call with a status.
func (k *kamailio) refusing(t *testing.T, status string) {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var phone sync.WaitGroup
	t.Cleanup(func() { _ = conn.Close(); phone.Wait() })
	phone.Go(func() {
		for b := make([]byte, 1<<16); ; {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if request := string(b[:n]); strings.HasPrefix(request, "INVITE ") {
				_, _ = conn.WriteTo([]byte(refusal(request, status)), from)
			}
		}
	})
	until(t, "Kamailio registers the phone", func() bool {
		return strings.HasPrefix(k.ask(t, "REGISTER", fmt.Sprintf("sip:phone@%s", conn.LocalAddr())), "SIP/2.0 200")
	})
}

// refusal answers a request: the headers of RFC 3261 section 8.2.6.2 are its own.
func refusal(request, status string) string {
	var b strings.Builder
	b.WriteString("SIP/2.0 " + status + "\r\n")
	for line := range strings.SplitSeq(request, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "To":
			line += ";tag=phone"
		case "Via", "From", "Call-ID", "CSeq":
		default:
			continue
		}
		b.WriteString(line + "\r\n")
	}
	return b.String() + "Content-Length: 0\r\n\r\n"
}

// phone registers a baresip as the number's phone; settings are of its
// account. With calls it places one first and is busy from then on.
func (k *kamailio) phone(t *testing.T, setting string, calls ...string) *softphone {
	t.Helper()
	p := startPhone(t, fmt.Sprintf("<%s>;regint=600;%s", k.mailbox(), setting), calls...)
	until(t, "the phone is registered", func() bool { return strings.Contains(p.log.text(), "200 OK") })
	if len(calls) > 0 {
		until(t, "the phone is in a call", func() bool { return strings.Contains(p.log.text(), "Call established") })
	}
	return p
}

// somebody is the address of a phone that answers and goes on talking.
func somebody(t *testing.T) (target string) {
	t.Helper()
	p := startPhone(t, "<sip:carol@127.0.0.1>;regint=0;answermode=auto")
	until(t, "the other phone is up", func() bool { return strings.Contains(p.log.text(), "baresip is ready") })
	return fmt.Sprintf("sip:carol@127.0.0.1:%d", p.port)
}

// softphone is a baresip that takes one call at a time.
type softphone struct {
	port int
	log  *transcript
	kill func()
}

func startPhone(t *testing.T, account string, calls ...string) *softphone {
	t.Helper()
	dir := t.TempDir()
	p := &softphone{port: peertest.Ports(t, phonePorts)}
	for name, text := range map[string]string{
		"accounts": account + "\n",
		"contacts": "",
		"config": fmt.Sprintf(`poll_method epoll
sip_listen 127.0.0.1:%d
net_interface 127.0.0.1
call_max_calls 1
audio_source aubridge,mouth
audio_player aubridge,ear
audio_alert aubridge,bell
rtp_ports %d-%d
module_path /usr/lib/baresip/modules
module g711.so
module aubridge.so
module_tmp account.so
module_app menu.so
`, p.port, p.port+2, p.port+phonePorts-1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"-f", dir}
	for _, target := range calls {
		args = append(args, "-e", "/dial "+target)
	}
	cmd := exec.CommandContext(context.Background(), "baresip", args...)
	p.log = startPeer(t, cmd)
	p.kill = func() { _ = cmd.Process.Kill() }
	return p
}

// signal sends a signal to the gateway's process.
func (c *child) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

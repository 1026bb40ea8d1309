package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// pbx starts the Kamailio of the sip tests: extension 500 registers, and a call
// to 101, which nobody takes, goes on to it.
func pbx(t *testing.T) netip.AddrPort {
	t.Helper()
	peertest.Needs(t, "kamailio")
	file, err := filepath.Abs("../sip/testdata/kamailio/pbx.cfg")
	if err != nil {
		t.Fatal(err)
	}
	addr, dir := peertest.Address(t), t.TempDir()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "kamailio", "-DD", "-E", "-m", "32", "-M", "4", "-f", file,
		"-Y", dir, "-P", filepath.Join(dir, "pid"), "-l", "udp:"+addr.String(), "-l", "tcp:"+addr.String())
	startPeer(t, cmd)
	until(t, "kamailio listens", func() bool {
		conn, err := net.Dial("tcp", addr.String())
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return addr
}

// accountFile is all that a PBX's admin must write: an account, and whose calls
// are taken.
func accountFile(t *testing.T, registrar netip.AddrPort, password, hook string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pbx.password"), []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "afterbeep.yaml")
	text := fmt.Sprintf(`
sip:
  accounts: [{registrar: %q, user: "500", password_file: pbx.password}]
media: {ports: 31000-33999, no_rtp: 10s}
http: {listen: "127.0.0.1:0"}
channels:
  hook: {type: webhook, url: %q, secret: %s, attach: true, allow_private: true}
mailboxes:
  - {number: "101", name: Anna, deliver: [hook]}
`, registrar, hook, webhookSecret)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A phone calls extension 101 of the PBX; nobody takes the call, the PBX
// forwards it to 500, and what the caller said is a note for 101.
func TestExtensionLeavesANote(t *testing.T) {
	t.Parallel()
	peertest.Needs(t, "baresip")
	addr := pbx(t)
	hook := newReceiver(t)
	g := startGateway(t, accountFile(t, addr, "open sesame", hook.URL))
	until(t, "the account is registered", func() bool { return g.ready(t.Context()) == nil })
	if up, err := g.accountsUp(t.Context()); err != nil || up["127.0.0.1"] != 1 {
		t.Errorf("metrics %v, %v", up, err)
	}
	said := speech(t, 5*time.Second)
	baresip(t, "pcmu/8000/1", writeWAV(t, said, 8000, 1), fmt.Sprintf("sip:101@%s", addr))

	n := hook.next(t)
	heard := decode(t, n.file)
	if n.Data.Recipient.Number != "101" || n.Data.Reason != "missed" || len(heard) < 3*8000 {
		t.Fatalf("got %+v, %d ms", n.Data, n.Data.DurationMS)
	}
	if got := likeness(said, heard); got < 0.96 {
		t.Errorf("likeness to what was said %.3f", got)
	}
}

// A gateway that no call can reach says so, and why.
func TestAccountOutOfOrder(t *testing.T) {
	t.Parallel()
	addr := pbx(t)
	hook := newReceiver(t)
	path := accountFile(t, addr, "wrong", hook.URL)
	g := startGateway(t, path)
	until(t, "the gateway says why", func() bool {
		err := g.ready(t.Context())
		return err != nil && strings.Contains(err.Error(), "account 127.0.0.1: "+addr.String()+": the password is wrong: check password")
	})
	if up, _ := g.accountsUp(t.Context()); up["127.0.0.1"] != 0 {
		t.Errorf("metrics %v", up)
	}
}

func TestCheckAsksThePBX(t *testing.T) {
	t.Parallel()
	addr := pbx(t)
	for password, want := range map[string]string{
		"open sesame": "ok account 127.0.0.1 " + addr.String() + " accepts the login",
		"wrong":       "warn account 127.0.0.1 " + addr.String() + ": the password is wrong: check password, and login where the PBX has an authentication id",
	} {
		path := accountFile(t, addr, password, "http://127.0.0.1:1")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		said, failed := checked(t, filepath.Dir(path), string(text))
		if failed || !strings.Contains(said, want) || strings.Contains(said, "sesame") || strings.Contains(said, "sip.trunks") {
			t.Errorf("check says:\n%s\nwant %s", said, want)
		}
	}
}

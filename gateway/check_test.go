package main

import (
	"bytes"
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
	"strings"
	"testing"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/gateway/control"
)

// checked runs `check` on a file's text and returns its lines, with single
// blanks between words, and whether it failed.
func checked(t *testing.T, dir, text string) (lines string, failed bool) {
	t.Helper()
	cfg, err := config.Parse(filepath.Join(dir, "afterbeep.yaml"), []byte(text), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = check(t.Context(), &out, cfg)
	if err != nil && !errors.Is(err, errSaid) {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		lines += strings.Join(strings.Fields(line), " ") + "\n"
	}
	return lines, err != nil
}

func TestCheckSaysWhatToMend(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	service := httptest.NewServer(http.NotFoundHandler())
	defer service.Close()
	abs := func(path string) string {
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	const (
		quiet  = "sip: {listen: 'udp://127.0.0.1:0', trunks: [{name: pbx, from: 127.0.0.0/8}]}\nhttp: {listen: '127.0.0.1:0'}\n"
		remote = "sip: {listen: 'udp://127.0.0.1:0', trunks: [{name: pbx, from: 10.0.0.0/8}]}\nhttp: {listen: '127.0.0.1:0'}\n"
		hook   = "channels: {crm: {type: webhook, url: %q, secret: " + webhookSecret + ", attach: true, allow_private: true}}\n"
	)
	for name, c := range map[string]struct {
		text   string
		want   []string
		failed bool
	}{
		"few ports": {quiet + "media: {ports: 20000-20003}", []string{"warn media.ports 20000-20003 are enough for 2 calls at once, but sip.limits.calls lets "}, false},
		"one of each": {quiet + fmt.Sprintf(hook, service.URL) + "mailboxes: [{number: 101, deliver: [crm]}]", []string{
			"ok file 1 trunk, 1 mailbox, 1 channel", "ok udp://127.0.0.1:0 free", "ok channel crm webhook",
			"data, made by the first start",
		}, false},
		"none": {"sip: {listen: 'udp://127.0.0.1:0'}\nhttp: {listen: '127.0.0.1:0'}", []string{
			"ok file 0 trunks, 0 mailboxes, 0 channels", "warn sip.trunks there is none", "warn mailboxes there is none",
		}, false},
		"a receiver that is down": {quiet + fmt.Sprintf(hook, "http://127.0.0.1:1/"), []string{
			"warn channel crm webhook: the request did not get through: dial tcp 127.0.0.1:1: connect: connection refused; until that is mended its notes wait",
		}, false},
		"contacts": {quiet + fmt.Sprintf("contacts: %q\nmailboxes: [{number: 101, contacts: %q}, {number: 102, contacts: nowhere.vcf}]",
			abs("../config/testdata/contacts/phone30.vcf"), abs("../config/testdata/contacts/broken.vcf")), []string{
			"ok contacts " + abs("../config/testdata/contacts/phone30.vcf") + ": 3 cards, 5 numbers",
			"warn mailboxes[0].contacts " + abs("../config/testdata/contacts/broken.vcf") + ": 3 cards, 1 number; 2 cards are broken and left out",
			"warn mailboxes[1].contacts", "nowhere.vcf: no such file or directory; until that is mended it names no caller",
		}, false},
		"loopback, but the PBX is not": {remote, []string{
			"warn sip.listen hears this machine only, but trunk pbx calls from 10.0.0.0/8",
			"warn media.address hears this machine only, but trunk pbx calls from 10.0.0.0/8",
		}, false},
		"everybody": {strings.Replace(quiet, "127.0.0.0/8", "0.0.0.0/0", 1), []string{"warn trunk pbx 0.0.0.0/0 lets the whole Internet"}, false},
		"a link for nobody": {strings.Replace(quiet, "'127.0.0.1:0'", "'0.0.0.0:0'", 1), []string{
			"warn http.public_url is not set",
		}, false},
		"keys in the clear": {strings.Replace(quiet, "udp://127.0.0.1:0", "udp://0.0.0.0:0", 1) + "media: {srtp: required}", []string{
			"warn media.srtp is required, but udp://0.0.0.0:0 hears calls in the clear",
		}, false},
		"an inbox on this machine": {quiet + "mailboxes: [{number: 101}]", []string{"ok inbox opens on this machine only"}, false},
		"a taken port": {strings.Replace(quiet, "'127.0.0.1:0'", "'"+taken.Addr().String()+"'", 1), []string{
			"FAIL http://" + taken.Addr().String() + " another program uses this address",
		}, true},
		"another machine's address": {strings.Replace(quiet, "udp://127.0.0.1:0", "udp://192.0.2.1:5060", 1) + "media: {address: 192.0.2.1}", []string{
			"FAIL udp://192.0.2.1:5060 this is not an address of this machine",
			"FAIL media.address 192.0.2.1: this is not an address of this machine",
		}, true},
		"call records without a folder": {quiet + "log: {call_records: nowhere/calls.jsonl}", []string{
			"FAIL log.call_records its folder", "is not there; make it first",
		}, true},
		"a store in a file": {quiet + "store: {path: afterbeep.yaml/data}", []string{"FAIL store"}, true},
		"a store too deep":  {quiet + "store: {path: " + strings.Repeat("deep/", 30) + "}", []string{"FAIL store", "is too long: the control socket in it"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "afterbeep.yaml"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			lines, failed := checked(t, dir, c.text)
			for _, want := range c.want {
				if !strings.Contains(lines, want) {
					t.Errorf("missing: %s", want)
				}
			}
			if failed != c.failed {
				t.Errorf("failed: %v, want %v", failed, c.failed)
			}
			if strings.Contains(lines, "FAIL") != c.failed || t.Failed() {
				t.Errorf("got:\n%s", lines)
			}
			if made, _ := os.ReadDir(dir); len(made) != 1 {
				t.Errorf("check has left behind %v", made)
			}
		})
	}
}

// While a gateway runs, its own addresses are fine, and nobody else's are.
func TestCheckBesideARunningGateway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := configFile(t, dir, "http://127.0.0.1:1/", "")
	g := startGateway(t, path)
	until(t, "the gateway listens to commands", func() bool {
		client, err := control.Dial(t.Context(), filepath.Join(dir, "data"))
		if err == nil {
			_ = client.Close()
		}
		return err == nil
	})
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	held := fmt.Sprintf("udp://%s, tcp://%s", g.address("udp"), g.address("tcp"))
	own := strings.Replace(string(text), "udp://127.0.0.1:0, tcp://127.0.0.1:0", held, 1)
	lines, failed := checked(t, dir, own)
	if failed || !strings.Contains(lines, "ok gateway running, and takes calls") || !strings.Contains(lines, "ok udp://"+g.address("udp").String()+" held by the running gateway") || !strings.Contains(lines, "data, held by the running gateway") {
		t.Errorf("failed %v:\n%s", failed, lines)
	}
	lines, failed = checked(t, dir, strings.Replace(own, `"127.0.0.1:0"`, `"`+other.Addr().String()+`"`, 1))
	if !failed || !strings.Contains(lines, "FAIL http://"+other.Addr().String()+" another program") {
		t.Errorf("failed %v:\n%s", failed, lines)
	}
}

// What keeps a running gateway from taking calls is said, as a full disk.
func TestCheckBesideAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	listener, err := control.Listen(ctx, data)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- control.Serve(ctx, listener, nil, control.Gateway{Ready: func(context.Context) error { return delivery.ErrFull }})
	}()
	lines, failed := checked(t, dir, "sip: {listen: 'udp://127.0.0.1:0'}\nhttp: {listen: '127.0.0.1:0'}\nstore: {path: data}")
	if want := "FAIL gateway one is running, and takes no call: " + delivery.ErrFull.Error(); !failed || !strings.Contains(lines, want) {
		t.Errorf("failed %v, want %q:\n%s", failed, want, lines)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// Operators have neither the service's environment nor its secret files.
func TestOperatorNeedsNoSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := configFile(t, dir, "http://127.0.0.1:1/", "")
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, bytes.Replace(text, []byte(webhookSecret), []byte(`"${NOT_THE_OPERATORS}"`), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := root()
	cmd.SetArgs([]string{"note", "list", "--config", path})
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no store") {
		t.Errorf("before the gateway has run: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if list := run(t, "note", "list", "--config", path); list != "no notes\n" {
		t.Errorf("note list said %q", list)
	}
	if link := run(t, "link", reception, "--config", path); !strings.Contains(link, "/inbox/") {
		t.Errorf("link said %q", link)
	}
}

// With an address of another machine every call would be answered 503.
func TestStartTriesTheMediaAddress(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load(configFile(t, t.TempDir(), "https://crm.example", ""))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Media.Address = netip.MustParseAddr("192.0.2.1")
	_, err = open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err == nil || !strings.HasPrefix(err.Error(), "media.address: 192.0.2.1: this is not an address of this machine") {
		t.Errorf("the start says %v", err)
	}
}

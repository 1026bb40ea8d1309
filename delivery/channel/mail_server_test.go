package channel

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// smtpd is Debian's aiosmtpd, started by the test.
type smtpd struct {
	address string
	ca      string // a file
	took    chan letter
}

// letter is a message that the server took.
type letter struct {
	From      string   `json:"from"`
	To        []string `json:"to"`
	TLS       bool     `json:"tls"`
	Login     string   `json:"login"`
	Mechanism string   `json:"mechanism"`
	Content   []byte   `json:"content"`
}

// startSMTPD starts the server in a mode of testdata/smtpd.py.
func startSMTPD(t *testing.T, args ...string) *smtpd {
	t.Helper()
	const python = "/usr/bin/python3" // Debian's packages are for Debian's interpreter
	if exec.CommandContext(t.Context(), python, "-c", "import aiosmtpd").Run() != nil {
		peertest.Missing(t, "python3-aiosmtpd")
	}
	s := &smtpd{took: make(chan letter, 16)}
	ca, cert, key := certificate(t)
	s.ca = ca
	cmd := exec.Command(python, append([]string{"testdata/smtpd.py", "--cert", cert, "--key", key}, args...)...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	port, err := lines.ReadString('\n')
	s.address = "127.0.0.1:" + strings.TrimSpace(port)
	var reading sync.WaitGroup
	reading.Go(func() {
		for decoder := json.NewDecoder(lines); ; {
			var l letter
			if decoder.Decode(&l) != nil {
				return
			}
			s.took <- l
		}
	})
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		reading.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the mail server: %v\n%s", err, complaints.String())
		}
	})
	if err != nil {
		t.Fatalf("the mail server names no port: %v", err)
	}
	return s
}

// next is the message that the server took.
func (s *smtpd) next(t *testing.T) letter {
	t.Helper()
	select {
	case l := <-s.took:
		return l
	case <-time.After(30 * time.Second):
		t.Fatal("no message came")
		return letter{}
	}
}

// certificate makes an authority and a certificate of its for 127.0.0.1, and
// writes them into files.
func certificate(t *testing.T) (ca, cert, key string) {
	t.Helper()
	template := func(serial int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "mail.test"},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
	}
	authority, server := template(1), template(2)
	authority.IsCA, authority.BasicConstraintsValid, authority.KeyUsage = true, true, x509.KeyUsageCertSign
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	caKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ownKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	caDER, err1 := x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)
	certDER, err2 := x509.CreateCertificate(rand.Reader, server, authority, ownKey.Public(), caKey)
	keyDER, err3 := x509.MarshalPKCS8PrivateKey(ownKey)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("ca.pem", "CERTIFICATE", caDER), write("cert.pem", "CERTIFICATE", certDER), write("key.pem", "PRIVATE KEY", keyDER)
}

// What a scripted server does in place of a reply.
const (
	hangUp = "hang up"
	mute   = "mute"
	late   = "late" // all is well, nine minutes from now
)

// scripted is a mail server that follows a script: what it replies to a
// command, "connect" and "." among them, where that is not all well.
func scripted(t *testing.T, script map[string]string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var sessions sync.WaitGroup
	ended := make(chan struct{})
	sessions.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() {
				defer func() { _ = conn.Close() }()
				play(conn, script, ended)
			})
		}
	})
	t.Cleanup(func() {
		close(ended)
		_ = listener.Close()
		sessions.Wait()
	})
	return listener.Addr().String()
}

// piped has the channel's sessions follow a script within a bubble of virtual
// time, which no socket reaches into.
func piped(t *testing.T, c delivery.Channel, script map[string]string) {
	t.Helper()
	var sessions sync.WaitGroup
	ended := make(chan struct{})
	c.(*mail).dial = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		sessions.Go(func() {
			defer func() { _ = theirs.Close() }()
			play(theirs, script, ended)
		})
		return ours, nil
	}
	t.Cleanup(func() {
		close(ended)
		sessions.Wait()
	})
}

// well are the replies of a server that takes everything.
var well = map[string]string{
	"connect": "220 mail.test ESMTP", "EHLO": "250-mail.test\r\n250-SIZE 30000000\r\n250 AUTH PLAIN LOGIN", "AUTH": "235 2.7.0 welcome",
	"DATA": "354 go on", "QUIT": "221 bye",
}

// play is one session.
func play(conn net.Conn, script map[string]string, ended <-chan struct{}) {
	in := bufio.NewReader(conn)
	reply := func(to string) bool {
		text, ok := script[to]
		if !ok {
			text = well[to]
		}
		switch text {
		case hangUp:
			_ = conn.(*net.TCPConn).SetLinger(0)
			return false
		case mute:
			<-ended
			return false
		case late:
			time.Sleep(9 * time.Minute)
			text = "250 2.0.0 OK: queued at last"
		case "":
			text = "250 2.0.0 OK"
		}
		_, err := fmt.Fprintf(conn, "%s\r\n", text)
		return err == nil
	}
	for going := reply("connect"); going; {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		verb = strings.ToUpper(verb)
		if going = reply(verb) && verb != "QUIT"; !going || verb != "DATA" || !strings.HasPrefix(cmp.Or(script["DATA"], well["DATA"]), "354") {
			continue
		}
		switch script["content"] { // amid the message
		case hangUp:
			_, _ = io.CopyN(io.Discard, in, 1000)
			_ = conn.(*net.TCPConn).SetLinger(0)
			return
		case mute:
			<-ended
			return
		}
		for line, err = "", nil; line != ".\r\n" && err == nil; {
			line, err = in.ReadString('\n')
		}
		going = err == nil && reply(".")
	}
}

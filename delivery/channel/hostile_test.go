package channel

import (
	"bytes"
	"errors"
	"mime"
	"net"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// hostileNames are what a caller may call himself.
func hostileNames() []string {
	return []string{
		"Eve\r\nBcc: all@example.org", "=?utf-8?q?Your_bank_=3Cpay=40bank=2Eexample=3E?=", "=?UTF-8?B?Ym9zcwpCY2M6IGFAYi5jCg==?=",
		"https://evil.example/login", "evil.example", "\"><script>alert(1)</script>", "a\x00b\x1b[2J", strings.Repeat("W", 9000), "/stop", "@all",
	}
}

// What a mail program reads in the headers is one line, and no more than was said.
func TestMailHostileNames(t *testing.T) {
	for _, name := range hostileNames() {
		n := sampleNote()
		n.Caller.Name = name
		m := openWith(t, mailOptions("smtp://127.0.0.1:1"), testEnv(t)).(*mail)
		p := parcelOf(n)
		p.Address = "anna@example.org"
		raw, _, err := m.message(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		read, err := netmail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		for _, header := range []string{"Subject", "From"} {
			said, err := new(mime.WordDecoder).DecodeHeader(read.Header.Get(header))
			if err != nil || strings.ContainsAny(said, "\r\n\x00\x1b") || strings.Contains(said, "pay@bank.example") || strings.Contains(said, "boss") {
				t.Errorf("%q: %s reads %q, %v", name, header, said, err)
			}
		}
		if read.Header.Get("Bcc") != "" {
			t.Errorf("%q: there is a Bcc", name)
		}
	}
}

// A mail server that talks without end is not listened to.
func TestMailEndlessGreeting(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	talked := make(chan int, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		line, said := bytes.Repeat([]byte("220-hello\r\n"), 1000), 0
		for said < 64<<20 {
			n, err := conn.Write(line)
			if said += n; err != nil {
				break
			}
		}
		talked <- said
	}()
	m := openWith(t, mailOptions("smtp://"+listener.Addr().String()), testEnv(t))
	_, err = m.Send(t.Context(), mailParcel(sampleNote()))
	var failed *delivery.SendError
	if !errors.As(err, &failed) || failed.Outcome != delivery.Retry {
		t.Errorf("got %v", err)
	}
	if said := <-talked; said > 32<<20 {
		t.Errorf("%d bytes were listened to", said)
	}
}

package sip

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const allAllowed = "INVITE, ACK, PRACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, SUBSCRIBE"

// torture lists the messages of RFC 4475, which stand in testdata/torture as
// the RFC's archive has them, and what each gets. Code 0 is silence: that is all
// a response deserves which nobody asked for.
var torture = []struct {
	name, section string
	code          int
	header, want  string // of the response
}{
	{"wsinv", "3.1.1.1", 481, "cseq", "9 INVITE"}, // it has a To tag
	{"intmeth", "3.1.1.2", 501, "allow", allAllowed},
	{"esc01", "3.1.1.3", 200, "", ""},
	{"escnull", "3.1.1.4", 405, "allow", allAllowed},
	{"esc02", "3.1.1.5", 501, "allow", allAllowed},
	{"lwsdisp", "3.1.1.6", 200, "", ""},
	{"longreq", "3.1.1.7", 200, "", ""},
	{"dblreq", "3.1.1.8", 405, "call-id", "dblreq.0ha0isndaksdj99sdfafnl3lk233412"}, // and no second reply
	{"semiuri", "3.1.1.9", 200, "", ""},
	{"transports", "3.1.1.10", 200, "", ""},
	{"mpart01", "3.1.1.11", 405, "allow", allAllowed},
	{"unreason", "3.1.1.12", 0, "", ""},
	{"noreason", "3.1.1.13", 0, "", ""},
	{"badinv01", "3.1.2.1", 400, "", ""},
	{"clerr", "3.1.2.2", 400, "", ""},
	{"ncl", "3.1.2.3", 400, "", ""},
	{"scalar02", "3.1.2.4", 400, "cseq", "36893488147419103232 REGISTER"},
	{"scalarlg", "3.1.2.5", 0, "", ""},
	{"quotbal", "3.1.2.6", 400, "", ""},
	{"ltgtruri", "3.1.2.7", 400, "", ""},
	{"lwsruri", "3.1.2.8", 400, "", ""},
	{"lwsstart", "3.1.2.9", 400, "", ""},
	{"trws", "3.1.2.10", 400, "", ""},
	{"escruri", "3.1.2.11", 400, "", ""},
	{"baddate", "3.1.2.12", 200, "", ""}, // a Date is of no use here
	{"regbadct", "3.1.2.13", 405, "allow", allAllowed},
	{"badaspec", "3.1.2.14", 400, "", ""},
	{"baddn", "3.1.2.15", 200, "", ""}, // it can be read all the same
	{"badvers", "3.1.2.16", 505, "", ""},
	{"mismatch01", "3.1.2.17", 400, "", ""},
	{"mismatch02", "3.1.2.18", 400, "", ""},
	{"bigcode", "3.1.2.19", 0, "", ""},
	{"badbranch", "3.2.1", 200, "", ""},
	{"insuf", "3.3.1", 400, "", ""},
	{"unkscm", "3.3.2", 416, "", ""},
	{"novelsc", "3.3.3", 416, "", ""},
	{"unksm2", "3.3.4", 405, "allow", allAllowed}, // of the From and To of a REGISTER
	{"bext01", "3.3.5", 420, "unsupported", "nothingSupportsThis, nothingSupportsThisEither"},
	{"invut", "3.3.6", 415, "accept", "application/sdp, multipart/*"},
	{"regaut01", "3.3.7", 405, "allow", allAllowed},
	{"multi01", "3.3.8", 400, "", ""},
	{"mcl01", "3.3.9", 400, "", ""},
	{"bcast", "3.3.10", 0, "", ""},
	{"zeromf", "3.3.11", 200, "", ""}, // only a proxy counts hops
	{"cparam01", "3.3.12", 405, "allow", allAllowed},
	{"cparam02", "3.3.13", 405, "allow", allAllowed},
	{"regescrt", "3.3.14", 405, "allow", allAllowed},
	{"sdp01", "3.3.15", 406, "", ""},
	{"inv2543", "3.4.1", 400, "", ""}, // without a From tag and a Contact: RFC 2543 is no more
}

// TestTorture sends every message of RFC 4475 over a socket, and an OPTIONS
// behind it: the gateway is alive, and gave the answer that is right alone.
func TestTorture(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "torture", "*.dat"))
	if err != nil || len(files) != len(torture) || len(torture) != 49 {
		t.Fatalf("%d messages in testdata, %d in the table, 49 in the RFC: %v", len(files), len(torture), err)
	}
	for _, tt := range torture {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()         // a call that is answered gets no ACK, which takes byeGrace
			s := serveTorture(t) // some of the messages share a transaction
			text, err := os.ReadFile(filepath.Join("testdata", "torture", tt.name+".dat"))
			if err != nil {
				t.Fatal(err)
			}
			sender, receiver := torturer(t, s, tt.name)
			sender.send(string(text))
			replies := tortured(sender, receiver, tt.code == 0)
			switch {
			case tt.code == 0 && len(replies) > 0:
				t.Errorf("a response was answered: %s", replies[0].text)
			case tt.code == 0:
			case len(replies) != 1 || !strings.HasPrefix(replies[0].start, fmt.Sprintf("SIP/2.0 %d ", tt.code)):
				t.Errorf("%d replies, want one %d: %v", len(replies), tt.code, replies)
			case replies[0].get(tt.header) != tt.want:
				t.Errorf("%s: %q, want %q", tt.header, replies[0].get(tt.header), tt.want)
			}
			if n := s.Stats().Panics; n != 0 {
				t.Errorf("%d panics", n)
			}
		})
	}
}

// serveTorture answers every call from this machine, whatever its address.
func serveTorture(t *testing.T) *Server {
	t.Helper()
	return serveOptions(t, Options{
		Listen: []ListenAddress{{"udp", netip.AddrPortFrom(loopback, 0)}},
		Trunks: []Trunk{{Name: "torturer", From: prefixes("127.0.0.0/8")}},
	}, nil, func(ctx context.Context, c *Call) {
		_ = c.Answer([]byte(testAnswer), &media{})
		<-ctx.Done()
	}).Server
}

// torturer is a peer of its own address, for the messages name their sender's
// port: where none asks for rport (RFC 3581) the reply goes there.
func torturer(t *testing.T, s *Server, name string) (sender, receiver *rawPeer) {
	t.Helper()
	port := map[string]string{"quotbal": ":5050"}[name]
	if port == "" {
		port = ":5060"
	}
	for range 100 {
		host := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
		receiving, err := net.ListenPacket("udp4", host+port)
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = receiving.Close() })
		sending, err := net.ListenPacket("udp4", host+":0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sending.Close() })
		to := s.bound("udp")
		return &rawPeer{t: t, conn: sending.(*net.UDPConn), to: to}, &rawPeer{t: t, conn: receiving.(*net.UDPConn), to: to}
	}
	t.Fatal("no loopback address has its SIP port free")
	return nil, nil
}

// tortured collects the replies to a message until an OPTIONS sent behind it is
// answered, and one is there, or none is due.
func tortured(sender, receiver *rawPeer, silent bool) (replies []message) {
	sender.t.Helper()
	probe := sender.newCall()
	probe.send("OPTIONS")
	alive, deadline := false, time.Now().Add(patience)
	for time.Now().Before(deadline) && (!alive || !silent && len(replies) == 0) {
		for _, p := range []*rawPeer{sender, receiver} {
			m, ok := p.read(20 * time.Millisecond)
			switch {
			case !ok || strings.HasPrefix(m.start, "SIP/2.0 100"):
			case m.get("call-id") == probe.id:
				alive = true
			default:
				replies = append(replies, m)
			}
		}
	}
	if !alive {
		sender.t.Error("the gateway answers no more")
	}
	return replies
}

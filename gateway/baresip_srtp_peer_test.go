package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// A real phone calls with its audio encrypted, with keys by SDES and by DTLS,
// on an address given and on one found by ICE: the note is what it played.
// Nothing plain is taken.
func TestEncryptedPhoneLeavesANote(t *testing.T) {
	peertest.Needs(t, "baresip")
	for _, c := range []struct {
		name     string
		account  string
		settings []string
	}{
		{"SDES, RTP/AVP", "mediaenc=srtp", []string{"module srtp.so"}},
		{"SDES, RTP/SAVP", "mediaenc=srtp-mand", []string{"module srtp.so"}},
		{"SDES, RTP/SAVPF", "mediaenc=srtp-mandf", []string{"module srtp.so", "rtcp_mux yes"}},
		{"DTLS, UDP/TLS/RTP/SAVP", "mediaenc=dtls_srtp", []string{"module dtls_srtp.so"}},
		{"DTLS, ICE", "mediaenc=dtls_srtp;medianat=ice", []string{"module dtls_srtp.so", "module ice.so", "rtcp_mux yes"}},
		{"SDES, ICE", "mediaenc=srtp-mand;medianat=ice", []string{"module srtp.so", "module ice.so"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Contains(c.account, "ice") && !beyondLoopback(t) {
				t.Skip("baresip has no candidate to offer: this machine has only the loopback interface")
			}
			t.Parallel()
			hook := newReceiver(t)
			g := startGateway(t, configFile(t, t.TempDir(), hook.URL, "srtp: required"))
			said := speech(t, 5*time.Second)
			baresip(t, "pcma/8000/1;"+c.account, writeWAV(t, said, 8000, 1),
				fmt.Sprintf("sip:%s@%s", reception, g.address("udp")), c.settings...)

			n := hook.next(t)
			heard := decode(t, n.file)
			if n.Data.Kind != "voice" || len(heard) < 3*8000 {
				t.Fatalf("kind %s, %d ms", n.Data.Kind, n.Data.DurationMS)
			}
			if got := likeness(said, heard); got < 0.96 {
				t.Errorf("likeness to the file %.3f, want 0.96", got)
			}
		})
	}
}

// beyondLoopback says whether this machine has an address that others could reach.
func beyondLoopback(t *testing.T) bool {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && !n.IP.IsLoopback() {
			return true
		}
	}
	return false
}

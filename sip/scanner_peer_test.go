package sip

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// scan runs a program of SIPVicious from an address and returns what it says.
func scan(t *testing.T, program, from string, to netip.AddrPort, args ...string) string {
	t.Helper()
	peertest.Needs(t, program)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args = append([]string{"-b", from, "-P", strconv.Itoa(peertest.Ports(t, 1)), "-p", portOf(to)}, args...)
	cmd := exec.CommandContext(ctx, program, append(args, to.Addr().String())...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+cmd.Dir) // it keeps its sessions there
	said, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s does not end: %v\n%s", program, err, said)
	}
	return string(said)
}

// TestScannersFindNothing: svmap looks for SIP devices, svwar for extensions.
// From a trunk's own address svmap finds the gateway: it can.
func TestScannersFindNothing(t *testing.T) {
	t.Parallel()
	ts := serveOptions(t, Options{
		Listen: []ListenAddress{{"udp", netip.AddrPortFrom(loopback, 0)}, {"tcp", netip.AddrPortFrom(loopback, 0)}},
		Trunks: []Trunk{{Name: "pbx", From: prefixes("127.0.0.2/32")}},
	}, nil, nil)
	to := ts.addr("udp")
	for _, tt := range []struct {
		program, from, want string
		args                []string
	}{
		{"svmap", "127.0.0.2", "Afterbeep", nil},
		{"svmap", "127.0.0.3", "found nothing", nil},
		{"svmap", "127.0.0.3", "found nothing", []string{"-m", "INVITE"}},
		{"svmap", "127.0.0.3", "found nothing", []string{"-m", "REGISTER", "-e", "100"}},
		{"svwar", "127.0.0.3", "found nothing", []string{"--force", "-e", "100-110"}},
		{"svwar", "127.0.0.3", "found nothing", []string{"--force", "-e", "100-110", "-m", "OPTIONS"}},
		{"svwar", "127.0.0.3", "found nothing", []string{"--force", "-e", "100-110", "-m", "INVITE"}},
	} {
		t.Run(tt.program+" from "+tt.from+" "+strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			if said := scan(t, tt.program, tt.from, to, tt.args...); !strings.Contains(said, tt.want) || strings.Contains(said, "Afterbeep") != (tt.want == "Afterbeep") {
				t.Errorf("want %q, got:\n%s", tt.want, said)
			}
		})
	}
	t.Cleanup(func() { // it runs before the server closes, after the scans
		if got := ts.Stats(); got.Strangers < 6 || got.Calls != 0 {
			t.Errorf("%+v", got)
		}
	})
}

package sip

import (
	"bufio"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// openssl connects with OpenSSL's client, says an OPTIONS and returns all that
// came back: until the answer, or until the connection ended.
func (a *testCA) openssl(ts *testServer, from string, own pair, more ...string) string {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	peertest.Needs(a.t, "openssl")
	args := append([]string{
		"s_client", "-connect", ts.addr("tls").String(), "-bind", from, "-CAfile", a.file, "-verify_return_error",
		"-verify_hostname", "gw.example", "-ign_eof",
	}, more...)
	if own.certificate != "" {
		args = append(args, "-cert", own.certificate, "-key", own.key)
	}
	cmd := exec.CommandContext(ctx, "openssl", args...)
	cmd.Stdin = strings.NewReader(strings.Join([]string{
		"OPTIONS sip:gw.example SIP/2.0", "Via: SIP/2.0/TLS peer.invalid;branch=z9hG4bK1", "From: <sip:peer@peer.invalid>;tag=1",
		"To: <sip:gw.example>", "Call-ID: 1", "CSeq: 1 OPTIONS", "Max-Forwards: 70", "Content-Length: 0", "", "",
	}, "\r\n"))
	said, err := cmd.StdoutPipe()
	if err != nil {
		a.t.Fatal(err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	var all strings.Builder
	for lines := bufio.NewScanner(said); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "SIP/2.0") {
			cancel()
		}
	}
	_ = cmd.Wait() // it is ended when it was answered
	return all.String() + complaints.String()
}

// TestOpenSSL: a peer of another make, with no, a wrong and the right
// certificate, in both versions of TLS; an old one is not spoken.
func TestOpenSSL(t *testing.T) {
	t.Parallel()
	ca, other := newTestCA(t), newTestCA(t)
	ts := serveOptions(t, ca.securely(), nil, nil)
	right, foreign, wrong := ca.issue("sbc.example", nil), other.issue("sbc.example", nil), ca.issue("nobody.example", nil)
	for name, tt := range map[string]struct {
		from    string
		own     pair
		version string
		want    string
		served  bool
	}{
		"by its address":             {"127.0.0.1", pair{}, "-tls1_3", "SIP/2.0 200 OK", true},
		"right":                      {"127.0.0.9", right, "-tls1_3", "SIP/2.0 200 OK", true},
		"right, TLS 1.2":             {"127.0.0.9", right, "-tls1_2", "SIP/2.0 200 OK", true},
		"none":                       {"127.0.0.9", pair{}, "-tls1_3", "alert bad certificate", false},
		"none, TLS 1.2":              {"127.0.0.9", pair{}, "-tls1_2", "alert bad certificate", false},
		"signed by another":          {"127.0.0.9", foreign, "-tls1_3", "alert bad certificate", false},
		"another name":               {"127.0.0.9", wrong, "-tls1_2", "alert bad certificate", false},
		"an old version of TLS":      {"127.0.0.1", pair{}, "-tls1_1", "alert protocol version", false},
		"it is not told whose to be": {"127.0.0.9", right, "-tls1_3", "No client certificate CA names sent", true},
	} {
		t.Run(name, func(t *testing.T) {
			said := (&testCA{t: t, file: ca.file}).openssl(ts, tt.from, tt.own, tt.version, "-cipher", "DEFAULT@SECLEVEL=0")
			if !strings.Contains(said, tt.want) || strings.Contains(said, "SIP/2.0") != tt.served {
				t.Errorf("want %q; it heard:\n%s", tt.want, said)
			}
		})
	}
}

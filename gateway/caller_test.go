package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/afterbeep/afterbeep/sip"
)

func TestExplained(t *testing.T) {
	plain := errors.New("something else")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{
			&sip.SilentError{Addr: "127.0.0.1:17060", Wait: 8 * time.Second},
			"no answer from 127.0.0.1:17060 within 8 s: is the gateway running there, and is this machine's address in one of its sip.trunks[].from?",
		},
		{
			&sip.StatusError{Code: 480, Reason: "Temporarily Unavailable"},
			"480 Temporarily Unavailable: no mailbox takes this call: see mailboxes in the gateway's file, and limits.callees; the outcome stands in the gateway's log",
		},
		{
			&sip.StatusError{Code: 401, Reason: "Unauthorized"},
			"401 Unauthorized: this machine's trunk has a digest: give its user with --user, and its password in the environment as AFTERBEEP_PASSWORD",
		},
		{
			fmt.Errorf("%w: %w", &sip.StatusError{Code: 401, Reason: "Unauthorized"}, sip.ErrLogin),
			"401 Unauthorized: the user or the password is wrong: compare --user and AFTERBEEP_PASSWORD (or --password) with user and password of the trunk's digest",
		},
		{&sip.StatusError{Code: 482, Reason: "Loop Detected"}, "482 Loop Detected"},
		{
			fmt.Errorf("dial: %w", unix.ECONNREFUSED),
			"connection refused: is the gateway running there, and is this transport in its sip.listen?",
		},
		{
			&sip.ContactError{Contact: "gw.invalid:5060", Err: plain},
			"the gateway's Contact gw.invalid:5060 (its sip.advertise) cannot be reached from this machine: something else",
		},
		{
			&sip.ClosedError{Addr: "127.0.0.1:5061"},
			"127.0.0.1:5061 closed the connection: is this machine's address in one of the gateway's sip.trunks[].from, or the name of --certificate in a tls_name?",
		},
		{&tls.CertificateVerificationError{Err: plain}, "tls: failed to verify certificate: something else: name the CA that signed the gateway's certificate with --ca"},
		{plain, "something else"},
	} {
		if got := explained(tt.err); got.Error() != tt.want || !errors.Is(got, plain) && errors.Is(tt.err, plain) {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// TestCallArguments: what cannot be called is refused before anything is sent.
func TestCallArguments(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"call sips:101@127.0.0.1 --ca nowhere.pem", "nowhere.pem"},
		{"call sips:101@127.0.0.1 --certificate nowhere.pem", "nowhere.pem"},
		{"call tel:+4930123456", "is not a SIP address"},
		{"bench sip:200", "is not a SIP address"},
		{"call sip:101@127.0.0.1 --reason no-anser", "expected one of no-answer, user-busy, unavailable, unconditional, deflection"},
	} {
		cmd := root()
		cmd.SetArgs(strings.Fields(tt.args))
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.args, err, tt.want)
		}
	}
}

func TestProgram(t *testing.T) {
	if got := program(); !strings.Contains(got, "gateway") {
		t.Errorf("%q", got)
	}
	if got := dialled("sip:+4930123456@127.0.0.1:5060"); got != "+4930123456" {
		t.Errorf("%q", got)
	}
}

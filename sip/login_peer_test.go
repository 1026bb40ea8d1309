package sip

import (
	"errors"
	"fmt"
	"testing"
)

// A proxy logs in at a trunk that asks for a password by MD5, which is all that
// the uac module of Kamailio 5.6 knows.
func TestProxyLogsIn(t *testing.T) {
	t.Parallel()
	for password, refused := range map[string]uint64{"opensesame": 0, "other": 1} {
		ts := serveTest(t, func(s *Server) {
			s.trunks.find(loopback).Digest = &Digest{User: "pbx", Password: password, Algorithms: []DigestAlgorithm{"MD5"}}
		}, nil)
		proxy := newKamailio(t, "login.cfg", fmt.Sprintf(`GATEWAY="sip:%s"`, ts.addr("udp")))
		switch err := proxy.dial(t, "101"); {
		case refused == 0 && err != nil:
			t.Errorf("with the password: %v", err)
		case refused > 0 && !answered(err, 401):
			t.Errorf("without the password: %v", err)
		}
		if got := ts.Stats(); got.Logins != refused || got.Calls != 1-refused {
			t.Errorf("stats %+v", got)
		}
	}
}

// A client logs in at a proxy that asks with 407, by both algorithms.
func TestClientLogsInAtAProxy(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		p := newPBX(t, "CALLERS_LOG_IN", `ALGORITHM="`+algorithm+`"`)
		ts := serveAccount(t, p.extension("udp"), nil)
		ts.standing(t, "registered", registered)
		c := newTestClient(t)
		r := Request{Offer: []byte(testOffer), User: "101", Password: "sesame"}
		target := fmt.Sprintf("sip:500@%s", p.addr)
		if _, err := c.Invite(t.Context(), target, r); !answered(err, 407) || !errors.Is(err, ErrLogin) {
			t.Errorf("%s: a wrong password: %v", algorithm, err)
		}
		r.Password = "open sesame"
		d, err := c.Invite(t.Context(), target, r)
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		if err := d.Bye(t.Context()); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
		ts.ended(t, ErrCallerHungUp)
	}
}

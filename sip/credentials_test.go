package sip

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// A client logs in to a trunk with a digest, and tells a wrong password from none.
func TestClientLogsIn(t *testing.T) {
	for name, tt := range map[string]struct {
		algorithms     []DigestAlgorithm
		network        string
		user, password string
		refused, wrong bool
	}{
		"the best of both": {nil, "udp", "pbx", "open sesame", false, false},
		"SHA-256":          {[]DigestAlgorithm{"SHA-256"}, "tcp", "pbx", "open sesame", false, false},
		"MD5":              {[]DigestAlgorithm{"MD5"}, "udp", "pbx", "open sesame", false, false},
		"a wrong password": {nil, "udp", "pbx", "sesame", true, true},
		"another user":     {nil, "tcp", "pbx2", "open sesame", true, true},
		"no password":      {nil, "udp", "pbx", "", true, true},
		"no login":         {nil, "udp", "", "", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ts := serveTest(t, func(s *Server) {
				askPassword(s)
				s.trunks.find(loopback).Digest.Algorithms = tt.algorithms
			}, nil)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			d, err := newTestClient(t).Invite(ctx, "sip:101@"+ts.addr(tt.network).String(), Request{
				Offer: []byte(testOffer), Transport: tt.network, User: tt.user, Password: tt.password,
			})
			if tt.refused {
				if !answered(err, 401) || errors.Is(err, ErrLogin) != tt.wrong {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Bye(ctx); err != nil {
				t.Error(err)
			}
			ts.ended(t, ErrCallerHungUp)
			if got := ts.Stats(); got.Calls != 1 || got.Logins != 0 {
				t.Errorf("stats %+v", got)
			}
		})
	}
}

// A challenge that is not understood ends the call with words that say so.
func TestCredentials(t *testing.T) {
	for name, tt := range map[string]struct {
		answers []string
		want    string
	}{
		"a login of the past":  {[]string{"401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"pbx\""}, "not known here"},
		"asked without end":    {[]string{"407 Proxy Authentication Required\r\n" + strings.Replace(challengeMD5, "WWW", "Proxy", 1)}, ErrLogin.Error()},
		"no nonce is right":    {[]string{"401 Unauthorized\r\n" + challengeStale}, errEndless.Error()},
		"refused all the same": {[]string{"401 Unauthorized\r\n" + challengeMD5, "403 Forbidden"}, "403 Forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			registrar := newRegistrar(t, "127.0.0.1", tt.answers...)
			_, err := newTestClient(t).Invite(ctx, "sip:101@"+registrar.addr().String(), Request{Offer: []byte(testOffer), User: "500", Password: "sesame"})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

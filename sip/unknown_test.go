package sip

import (
	"context"
	"testing"
)

// TestUnknown: an unknown number gets what its trunk wants.
func TestUnknown(t *testing.T) {
	for name, tt := range map[string]struct {
		unknown       Unknown
		user          string
		code, contact string
	}{
		"nothing said":       {"", "+4930999", "480", ""},
		"480":                {"480", "+4930999", "480", ""},
		"the number back":    {"sip:{user}@pbx.example:5080;transport=tcp", "+4930999", "302", "<sip:+4930999@pbx.example:5080;transport=tcp>"},
		"an announcement":    {"sip:nobody@pbx.example", "+4930999", "302", "<sip:nobody@pbx.example>"},
		"a number to escape": {"sip:{user}@pbx.example", "a%20b%3Cc%40d", "302", "<sip:a%20b%3Cc%40d@pbx.example>"},
	} {
		t.Run(name, func(t *testing.T) {
			ts := serveTest(t, func(s *Server) { s.trunks.find(loopback).Unknown = tt.unknown }, func(_ context.Context, c *Call) {
				if err := c.RefuseUnknown(); err != nil {
					t.Error(err)
				}
				if err := c.RefuseUnknown(); err == nil {
					t.Error("refused twice")
				}
			})
			c := newRawPeer(t, ts, "127.0.0.1").newCall()
			c.user = tt.user
			c.send("INVITE")
			m := c.peer.expect("SIP/2.0 "+tt.code, "INVITE")
			c.toTag = m.toTag()
			c.send("ACK")
			if m.get("contact") != tt.contact {
				t.Errorf("Contact: %s, want %s", m.get("contact"), tt.contact)
			}
		})
	}
}

func TestUnknownOfNobody(t *testing.T) {
	if h, ok := Unknown("sip:{user}@pbx.example").contact(""); ok {
		t.Errorf("sent back to %s", h.Value())
	}
}

package sip

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// Changes that come close together are told in one NOTIFY, the last of them for
// certain.
func TestNotificationsAreHeld(t *testing.T) {
	t.Parallel()
	ts, lamps := serveLamps(t)
	p := newRawPeer(t, ts, "127.0.0.1")
	p.newSubscription("102").subscribe("200")
	p.notified("200 OK").tells(t, "active", "0/0")
	for n := range 7 {
		lamps.set("102", Messages{New: n + 1})
	}
	said := p.notified("200 OK")
	if !strings.Contains(said.body, "7/0") {
		said = p.notified("200 OK")
	}
	said.tells(t, "active", "7/0")
	if got := ts.Stats().Notified; got > 3 {
		t.Errorf("%d NOTIFYs for a burst", got)
	}
}

// The NOTIFY follows the routes and the Contact, the one of a refresh too (RFC
// 6665 section 4.4.1).
func TestNotifyFollowsTheRoute(t *testing.T) {
	t.Parallel()
	ts, _ := serveLamps(t)
	p, proxy := newRawPeer(t, ts, "127.0.0.1"), newRawPeer(t, ts, "127.0.0.2")
	c := p.newSubscription("101", "Record-Route: <sip:"+proxy.addr()+";lr>")
	c.contact = "<sip:phone@192.0.2.7>"
	c.subscribe("200")
	n := proxy.notified("200 OK")
	if n.start != "NOTIFY sip:phone@192.0.2.7 SIP/2.0" || n.get("route") != "<sip:"+proxy.addr()+";lr>" {
		t.Errorf("it goes %s by %s", n.start, n.get("route"))
	}
	c.contact, c.extra = "<sip:phone@192.0.2.8>", c.extra[:1]
	c.next().subscribe("200")
	if n := proxy.notified("200 OK"); n.start != "NOTIFY sip:phone@192.0.2.8 SIP/2.0" || n.get("cseq") != "2 NOTIFY" {
		t.Errorf("after the refresh %s, %s", n.start, n.get("cseq"))
	}
}

// Notify tells a PBX that did not subscribe, and says what became of it.
func TestNotifyUnasked(t *testing.T) {
	t.Parallel()
	ts, _ := serveLamps(t)
	p := newRawPeer(t, ts, "127.0.0.1")
	to := "sip:{mailbox}@" + p.addr()
	done := make(chan error, 1)
	go func() { done <- ts.Notify(t.Context(), to, "+4930123456", Messages{New: 3, Old: 1}) }()
	n := p.notified("200 OK")
	n.tells(t, "active", "3/1")
	for name, want := range map[string]string{
		"event": "message-summary", "to": "<sip:+4930123456@" + p.addr() + ">", "content-type": "application/simple-message-summary",
	} {
		if got := n.get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if n.start != "NOTIFY sip:+4930123456@"+p.addr()+" SIP/2.0" || !strings.Contains(n.get("via"), ts.addr("udp").String()) {
		t.Errorf("%s by %s", n.start, n.get("via"))
	}
	if err := next(t, done, "the result"); err != nil {
		t.Error(err)
	}

	go func() { done <- ts.Notify(t.Context(), to, "a#b@c:d", Messages{}) }()
	if n := p.notified("404 Not Found"); !strings.HasPrefix(n.start, "NOTIFY sip:a%23b%40c%3Ad@") {
		t.Errorf("%s", n.start)
	}
	var refused *StatusError
	if err := next(t, done, "the result"); !errors.As(err, &refused) || refused.Code != 404 {
		t.Errorf("%v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := ts.Notify(short, to, "101", Messages{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a PBX that is silent: %v", err)
	}
	for _, bad := range []string{"", "sip:101@192.0.2.1", "{mailbox}@192.0.2.1", "tel:{mailbox}", "sip:x@{mailbox}", "sip:{mailbox}@192.0.2.1;transport=sctp"} {
		if err := ts.Notify(t.Context(), bad, "101", Messages{}); err == nil {
			t.Errorf("%q is an address", bad)
		}
	}
}

// While a mailbox cannot be counted nothing is told, and then what there is.
func TestUncountedMailbox(t *testing.T) {
	t.Parallel()
	ts, lamps := serveLamps(t)
	p := newRawPeer(t, ts, "127.0.0.1")
	lamps.mu.Lock()
	lamps.fail = errors.New("the store is closed")
	lamps.mu.Unlock()
	p.newSubscription("101").subscribe("200")
	if m, heard := p.read(300 * time.Millisecond); heard {
		t.Errorf("it says %s", m.text)
	}
	lamps.mu.Lock()
	lamps.fail = nil
	lamps.mu.Unlock()
	lamps.set("101", Messages{})
	p.notified("200 OK").tells(t, "active", "0/0")
}

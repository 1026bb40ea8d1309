package sip

import (
	"fmt"
	"strings"
	"testing"

	sipmsg "github.com/emiago/sipgo/sip"
)

// FuzzSubscribe reads hostile headers of a SUBSCRIBE.
func FuzzSubscribe(f *testing.F) {
	f.Add("message-summary", "3600", "application/simple-message-summary")
	f.Add("message-summary;id=7", "0", "*/*")
	f.Add("presence", "-1", "text/plain, application/*;q=0")
	f.Add(";;id=\"\r\n", "99999999999999999999", "/")
	f.Fuzz(func(t *testing.T, event, expires, accept string) {
		req := invite(t, "sip:101@gw", "To: <sip:101@gw>", "From: <sip:1@pbx>;tag=1", "Contact: <sip:1@192.0.2.1>")
		for name, value := range map[string]string{"Event": event, "Expires": expires, "Accept": accept} {
			req.AppendHeader(sipmsg.NewHeader(name, value))
		}
		w, r := readInterest(req)
		switch {
		case r != nil && r.code < 400:
			t.Errorf("refused with %d", r.code)
		case r == nil && (w.expires < 0 || w.expires > longestSubscription || w.expires > 0 && w.expires < shortestSubscription):
			t.Errorf("granted %s", w.expires)
		case r == nil && strings.ContainsAny(w.event, "\r\n"):
			t.Errorf("the event is %q", w.event)
		}
	})
}

func TestSummary(t *testing.T) {
	got := string(summary("sip:101@pbx", Messages{New: 2, Old: 8}))
	if want := "Messages-Waiting: yes\r\nMessage-Account: sip:101@pbx\r\nVoice-Message: 2/8 (0/0)\r\n"; got != want {
		t.Errorf("got %q", got)
	}
	if got := fmt.Sprintf("%.20s", summary("", Messages{Old: 8})); got != "Messages-Waiting: no" {
		t.Errorf("got %q", got)
	}
}

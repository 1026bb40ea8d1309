package channel

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// The service's word that it took a note counts as the answer that was lost,
// until it gives the note back.
func TestWhatsAppTakenAfterALostAnswer(t *testing.T) {
	for name, tc := range map[string]struct {
		told []string // of the message whose answer was lost, and of its line
		kind delivery.Kind
		then string
	}{
		"nothing is told":    {nil, delivery.Voice, "text audio"},
		"it has it":          {[]string{"sent"}, delivery.Voice, ""},
		"he has it":          {[]string{"delivered"}, delivery.Voice, ""},
		"a missed call":      {[]string{"sent"}, delivery.Missed, ""},
		"it gave it back":    {[]string{"sent", "failed", "sent"}, delivery.Voice, "text audio"},
		"told the other way": {[]string{"failed", "sent"}, delivery.Voice, "text audio"},
		"its line alone":     {[]string{"sent.t"}, delivery.Voice, "text audio"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWhatsApp(t, func(o *WhatsAppOptions) { o.Ack = "read" })
			p, last := waParcel(waTo), "audio"
			if tc.kind == delivery.Missed {
				last, p.Note.Kind, p.Open = "text", delivery.Missed, nil
			}
			r.service.strike(last, waLost)
			_ = r.fails(p, delivery.Unknown)
			r.service.kinds()
			for _, told := range tc.told {
				status, line := strings.CutSuffix(told, partLine)
				data, code := p.Key, 0
				if line {
					data += partLine
				}
				if status == "failed" {
					code = 131000
				}
				r.post(r.status(status, "wamid.lost", data, code))
			}
			p.Attempt, p.Repeat = 2, true
			r.sends(p)
			r.wantSent(tc.then)
		})
	}
}

// What the service took is sent all the same when the operator drives the note
// again, whatever keeps the first attempt from it.
func TestWhatsAppTakenAndDrivenAgain(t *testing.T) {
	r := newWhatsApp(t, func(o *WhatsAppOptions) { o.Ack = "delivered" })
	p := waParcel(waTo)
	r.sends(p)
	r.wantSent("file text audio")
	r.service.strike("text", waFails(r.service, 429, 130429, 0))
	p.Repeat = true
	_ = r.fails(p, delivery.Retry)
	p.Attempt = 2
	r.sends(p)
	r.wantSent("text text audio")
}

// A failure that is told before the answer comes counts all the same.
func TestWhatsAppFailedBeforeTheAnswer(t *testing.T) {
	r := newWhatsApp(t, func(o *WhatsAppOptions) { o.Ack = "delivered" })
	p := waParcel(waTo)
	tell := func() {
		r.post(r.status("sent", "wamid.2", p.Key, 0), r.status("failed", "wamid.2", p.Key, 131000))
	}
	r.service.strike("audio", waLost, func(out http.ResponseWriter, _ *http.Request) {
		tell()
		_, _ = io.WriteString(out, `{"messaging_product":"whatsapp","contacts":[],"messages":[{"id":"wamid.2"}]}`)
	})
	_ = r.fails(p, delivery.Unknown)
	p.Attempt, p.Repeat = 2, true
	r.sends(p)
	r.wantTold("accepted "+p.Key, "bounced "+p.Key)
	r.service.kinds()
	p.Attempt = 3
	r.sends(p)
	r.wantSent("audio")
}

// A crash after the service's answer leaves a doubt in the job alone.
func TestWhatsAppTakenBeforeACrash(t *testing.T) {
	r := newWhatsApp(t, withTemplate)
	p := waParcel(waTo)
	r.post(r.text(waTo, "", "hello", 0))
	first := r.sends(p)
	r.wantSent("file text audio")
	if err := r.refused(t.Context(), []string{waTo}, time.Now()); err != nil { // nor is he invited to what he has
		t.Fatal(err)
	}
	p.Attempt, p.Repeat = 2, true
	if receipt := r.sends(p); receipt.ID != first.ID || receipt.Invited {
		t.Errorf("the receipt: %+v", receipt)
	}
	r.wantSent("")
}

package channel

import (
	"context"
	"errors"
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
	m := &meddled{Memory: r.env.Memory, away: true}
	r.env.Memory = m
	p.Repeat, p.Round = true, 1
	_ = r.fails(p, delivery.Retry)
	m.away = false
	r.service.strike("text", waFails(r.service, 429, 130429, 0))
	p.Attempt = 2
	_ = r.fails(p, delivery.Retry)
	p.Attempt = 3
	r.sends(p)
	r.wantSent("text text audio")
}

// meddled is a memory that may be away, and calls before it keeps an entry.
type meddled struct {
	delivery.Memory
	away  bool
	onPut func(delivery.Entry)
}

func (m *meddled) Get(ctx context.Context, key string) ([]byte, error) {
	if m.away {
		return nil, errors.New("the memory is away")
	}
	return m.Memory.Get(ctx, key)
}

func (m *meddled) Put(ctx context.Context, e delivery.Entry) error {
	if m.onPut != nil {
		m.onPut(e)
	}
	return m.Memory.Put(ctx, e)
}

// What the service gave back it does not have, though its word that it took it is
// heard while the failure is being told.
func TestWhatsAppSentBesideFailed(t *testing.T) {
	r := newWhatsApp(t, func(o *WhatsAppOptions) { o.Ack = "delivered" })
	m := &meddled{Memory: r.env.Memory}
	r.env.Memory = m
	p := waParcel(waTo)
	r.service.strike("audio", waLost)
	_ = r.fails(p, delivery.Unknown)
	r.service.kinds()
	m.onPut = func(e delivery.Entry) { // the failure is not yet done with
		if e.Key == keySeen+"wamid.lost/failed" {
			m.onPut = nil
			r.post(r.status("sent", "wamid.lost", p.Key, 0))
		}
	}
	r.post(r.status("failed", "wamid.lost", p.Key, 131000))
	p.Attempt, p.Repeat = 2, true
	r.sends(p)
	r.wantSent("text audio")
}

// An invitation that was given back is not waited for, in whatever order that is
// told.
func TestWhatsAppInvitationGivenBack(t *testing.T) {
	for name, before := range map[string]bool{"before its answer": true, "before it is told that it was sent": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWhatsApp(t, func(o *WhatsAppOptions) { withTemplate(o); o.Ack = "delivered" })
			p := waParcel(waTo)
			tell := func() { r.post(r.status("failed", "wamid.7", p.Key+partInvitation, 131000)) }
			r.service.strike("template", func(out http.ResponseWriter, _ *http.Request) {
				if before {
					tell()
				}
				_, _ = io.WriteString(out, `{"messaging_product":"whatsapp","contacts":[],"messages":[{"id":"wamid.7"}]}`)
			})
			r.sends(p)
			if !before {
				tell()
			}
			r.post(r.status("sent", "wamid.7", p.Key+partInvitation, 0))
			r.wantTold("bounced " + p.Key)
			p.Attempt = 2
			r.sends(p)
			r.wantSent("template template")
		})
	}
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

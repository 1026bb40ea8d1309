package channel

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// The whole table: each state, and what each event makes of it.
func TestWhatsAppWindow(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	open := window{heard: heard{ago(time.Hour), now.Add(23 * time.Hour)}}
	from := map[windowState]window{
		windowUnknown: {},
		windowOpen:    open,
		windowClosed:  {refused: ago(time.Minute)},
		windowInvited: {refused: ago(time.Minute), invited: []string{"a"}},
	}
	events := map[string]func(window) (window, time.Time){
		"writes":              func(w window) (window, time.Time) { return w.hear(now, now), now },
		"wrote an hour ago":   func(w window) (window, time.Time) { return w.hear(ago(time.Hour), now), now },
		"wrote two days ago":  func(w window) (window, time.Time) { return w.hear(ago(48*time.Hour), now), now },
		"is refused":          func(w window) (window, time.Time) { return w.refuse(now), now },
		"was refused before":  func(w window) (window, time.Time) { return w.refuse(ago(2 * time.Hour)), now },
		"is invited":          func(w window) (window, time.Time) { return w.invite("b"), now },
		"an hour passes":      func(w window) (window, time.Time) { return w, now.Add(time.Hour) },
		"23 hours pass":       func(w window) (window, time.Time) { return w, now.Add(23 * time.Hour) },
		"24 hours pass":       func(w window) (window, time.Time) { return w, now.Add(24 * time.Hour) },
		"refused, and writes": func(w window) (window, time.Time) { return w.refuse(now).hear(now, now), now },
		"writes, and is refused": func(w window) (window, time.Time) {
			return w.hear(now, now).refuse(now.Add(time.Second)), now.Add(time.Second)
		},
		"refused, an hour passes": func(w window) (window, time.Time) { return w.refuse(now), now.Add(time.Hour) },
	}
	const u, o, c, i = windowUnknown, windowOpen, windowClosed, windowInvited
	for event, to := range map[string][4]windowState{ // from unknown, open, closed, invited
		"writes":                  {o, o, o, o},
		"wrote an hour ago":       {o, o, o, o},
		"wrote two days ago":      {u, o, c, i},
		"is refused":              {c, c, c, i},
		"was refused before":      {u, o, c, i},
		"is invited":              {i, o, i, i}, // an open window needs no invitation
		"an hour passes":          {u, o, u, i},
		"23 hours pass":           {u, c, u, i},
		"24 hours pass":           {u, u, u, i},
		"refused, and writes":     {o, o, o, o},
		"writes, and is refused":  {c, c, c, i},
		"refused, an hour passes": {u, c, u, i}, // what was heard counts on: it is tried again when the refusal is forgotten
	} {
		for n, state := range []windowState{u, o, c, i} {
			w := from[state]
			if got := w.state(now); got != state {
				t.Fatalf("the sample for %s is %s", state, got)
			}
			next, at := events[event](w)
			if got := next.state(at); got != to[n] {
				t.Errorf("%s %s: %s, want %s", state, event, got, to[n])
			}
		}
	}
	if len(events) != 12 {
		t.Error("an event is not in the table")
	}
	if w := (window{}).invite("a").invite("b").invite("a"); !slices.Equal(w.invited, []string{"a", "b"}) {
		t.Errorf("invited: %q", w.invited)
	}
	var many window
	for n := range 2 * mostInvited {
		many = many.invite(fmt.Sprint(n))
	}
	if len(many.invited) != mostInvited || many.invited[0] != fmt.Sprint(mostInvited) {
		t.Errorf("of many invited: %q", many.invited)
	}
}

// Which way a note takes, for every state and setting.
func TestWhatsAppWays(t *testing.T) {
	for _, tc := range []struct {
		state                 windowState
		none, template        way
		assumed, assumedWithT way
	}{
		{windowUnknown, wayNote, wayInvite, wayNote, wayNote},
		{windowOpen, wayNote, wayNote, wayNote, wayNote},
		{windowClosed, wayNowhere, wayInvite, wayNowhere, wayInvite},
		{windowInvited, wayNote, wayInvite, wayNote, wayInvite},
	} {
		for n, want := range []way{tc.none, tc.template, tc.assumed, tc.assumedWithT} {
			o := &WhatsAppOptions{AssumeWindowOpen: n >= 2}
			if n%2 == 1 {
				withTemplate(o)
			}
			if got := (&whatsapp{o: o}).way(tc.state); got != want {
				t.Errorf("%s, setting %d: %d, want %d", tc.state, n, got, want)
			}
		}
	}
}

// A recipient of whom nothing is known gets the invitation; his tap brings the
// note, and all others that waited for it.
func TestWhatsAppInvitation(t *testing.T) {
	r := newWhatsApp(t, withTemplate)
	first, second := waParcel(waTo), waParcel(waTo)
	first.Note.Caller.Name = "Зоя\n\n   Ж"
	if receipt := r.sends(first); !receipt.Invited || receipt.ID != "wamid.1" {
		t.Errorf("the receipt: %+v", receipt)
	}
	m := r.service.last("template").message
	body, button := m.Template.Components[0].Parameters, m.Template.Components[1].Parameters
	if m.Callback != first.Key+".i" || m.Template.Name != "voice_note" || m.Template.Language.Code != "en" ||
		!strings.Contains(body[0].Text, "Зоя Ж (+33 6") || !strings.Contains(body[1].Text, "March") || button[0].Payload != first.Key {
		t.Errorf("the template: %+v", m.Template)
	}
	r.wantSent("template")
	r.sends(second)
	r.wantSent("template")

	r.post(r.tap(first.Key))
	r.wantTold("asked "+first.Key, "asked "+second.Key, "asked "+first.Key)
	for _, p := range []delivery.Parcel{first, second} {
		if receipt := r.sends(p); receipt.Invited {
			t.Errorf("the receipt: %+v", receipt)
		}
		r.wantSent("file text audio")
	}
	r.post(r.text(waTo, "", "hello", 0)) // nobody waits any more
	r.wantTold()
}

// Without a template the note is tried, and the refusal remembered for a while.
func TestWhatsAppClosed(t *testing.T) {
	r := newWhatsApp(t, nil)
	r.service.strike("text", waFails(r.service, 400, closedCode, 0))
	if failed := r.fails(waParcel(waTo), delivery.Dead); !strings.Contains(failed.Error(), "template") {
		t.Error(failed)
	}
	r.wantSent("file text")
	_ = r.fails(waParcel(waTo), delivery.Dead)
	r.wantSent("")
	r.post(r.call(waTo, "USER_INITIATED", 0))
	r.sends(waParcel(waTo))
	r.wantSent("file text audio")
}

// Where the window was believed open, the refusal leads to the invitation in
// the same attempt, whichever message meets it.
func TestWhatsAppRefusedOnTheWay(t *testing.T) {
	for _, kind := range []string{"text", "audio"} {
		r := newWhatsApp(t, func(o *WhatsAppOptions) { withTemplate(o); o.AssumeWindowOpen = true })
		r.service.strike(kind, waFails(r.service, 400, closedCode, 0))
		p := waParcel(waTo)
		if !r.sends(p).Invited {
			t.Error("no invitation")
		}
		r.wantSent(map[string]string{"text": "file text template", "audio": "file text audio template"}[kind])
		r.post(r.tap(p.Key))
		r.sends(p)
		r.wantSent(map[string]string{"text": "text audio", "audio": "audio"}[kind])
	}
}

// An invitation whose answer was lost is sent again only when no status says
// that it went out; the note after it is no repeat.
func TestWhatsAppInvitationLost(t *testing.T) {
	for _, heard := range []bool{false, true} {
		r := newWhatsApp(t, withTemplate)
		r.service.strike("template", waLost)
		p := waParcel(waTo)
		if failed := r.fails(p, delivery.Unknown); failed.After != time.Minute {
			t.Errorf("waits %v", failed.After)
		}
		r.wantSent("template")
		want := "template"
		if heard {
			r.post(r.status("delivered", "wamid.9", p.Key+".i", 0))
			want = ""
		}
		p.Attempt, p.Repeat = 2, true
		if !r.sends(p).Invited {
			t.Error("not invited")
		}
		r.wantSent(want)
		r.wantTold() // an invitation is not the note
		r.post(r.tap(p.Key))
		r.sends(p)
		if strings.Contains(r.service.last("text").message.Text.Body, "second copy") {
			t.Error("the note counts as a repeat, and was never sent")
		}
	}
}

// An invitation that the service took and could not deliver is sent once more,
// and when the note is driven again.
func TestWhatsAppInvitationFails(t *testing.T) {
	r := newWhatsApp(t, func(o *WhatsAppOptions) { withTemplate(o); o.Ack = "delivered" })
	p := waParcel(waTo)
	for _, want := range []string{"bounced ", "refused "} {
		receipt := r.sends(p)
		r.wantSent("template")
		r.post(r.status("failed", receipt.ID, p.Key+".i", 131000))
		r.wantTold(want + p.Key)
	}
	r.sends(p)
	r.wantSent("template")
}

// An invitation that fails late is nothing to who has the note.
func TestWhatsAppInvitationFailsLate(t *testing.T) {
	r := newWhatsApp(t, func(o *WhatsAppOptions) { withTemplate(o); o.Ack = "delivered" })
	p := waParcel(waTo)
	receipt := r.sends(p)
	r.post(r.text(waTo, "", "hello", 0))
	p.Attempt = 2
	r.sends(p)
	r.wantTold("asked " + p.Key)
	r.post(r.status("failed", receipt.ID, p.Key+".i", 131000))
	r.wantTold()
}

// A clock of ours that is wrong makes no tap an old one: what time it is at the
// service counts.
func TestWhatsAppOurClockIsWrong(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"two days ahead": 48 * time.Hour, "right": 0, "two hours behind": -2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWhatsApp(t, withTemplate)
			r.service.strike("about", func(out http.ResponseWriter, _ *http.Request) {
				out.Header().Set("Date", time.Now().Add(-ahead).UTC().Format(http.TimeFormat))
				http.Error(out, "no", http.StatusForbidden)
			})
			p := waParcel(waTo)
			r.sends(p)
			r.wantSent("template")
			p.Attempt = 2
			r.post(r.text(waTo, "", "hello", ahead+25*time.Hour))
			r.wantTold()
			r.sends(p)
			r.wantSent("about")
			r.post(r.incoming(waTo, "", `"type":"button","button":{"payload":"`+p.Key+`","text":"Play"}`, ahead+time.Minute))
			r.wantTold("asked "+p.Key, "asked "+p.Key)
			r.sends(p)
			r.wantSent("file text audio") // it was asked a moment ago
			if ahead < 0 {
				return // of two times to come nobody knows the order
			}

			r.post(r.statusAgo("failed", "wamid.0", delivery.NewID(), closedCode, ahead+30*time.Second))
			r.sends(waParcel(waTo))
			r.wantSent("file text audio") // refused before he was heard
			r.post(r.statusAgo("failed", "wamid.1", delivery.NewID(), closedCode, ahead-time.Second))
			r.sends(waParcel(waTo))
			r.wantSent("template")
		})
	}
}

// Windows run out by themselves: a day after the last word, and an hour later
// nothing is known any more.
func TestWhatsAppWindowRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &whatsapp{o: &WhatsAppOptions{}, env: testEnv(t)}
		state := func() windowState {
			known, err := w.window(t.Context(), waTo)
			if err != nil {
				t.Fatal(err)
			}
			return known.state(time.Now())
		}
		if err := w.heard(t.Context(), []string{waTo}, time.Now()); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			passes time.Duration
			want   windowState
		}{{0, windowOpen}, {23 * time.Hour, windowOpen}, {time.Hour, windowClosed}, {59 * time.Minute, windowClosed}, {time.Minute, windowUnknown}} {
			time.Sleep(step.passes)
			if got := state(); got != step.want {
				t.Errorf("%v later: %s, want %s", step.passes, got, step.want)
			}
		}
	})
}

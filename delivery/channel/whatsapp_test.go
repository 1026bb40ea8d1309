package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// waRig is a channel between a service and a gateway that can be looked at.
type waRig struct {
	t *testing.T
	*whatsapp
	service *waServer
	memory  *delivery.Scratch
	chats   *linkedChats

	mu      sync.Mutex
	reports []delivery.Report
	broken  error // what keeping a report fails with
}

func newWhatsApp(t *testing.T, change func(*WhatsAppOptions)) *waRig {
	t.Helper()
	r := &waRig{t: t, service: newWhatsAppServer(t), memory: new(delivery.Scratch), chats: newChats(map[string]string{})}
	o := whatsAppFor(r.service.url).(*WhatsAppOptions)
	if change != nil {
		change(o)
	}
	env := testEnv(t)
	env.Memory, env.Chats, env.Report = mindful{r.memory, t}, r.chats, r.keep
	r.whatsapp = openWith(t, o, env).(*whatsapp)
	return r
}

func withTemplate(o *WhatsAppOptions) {
	o.Template = &WhatsAppTemplate{Name: "voice_note", Language: "en"}
}

func (r *waRig) keep(_ context.Context, report delivery.Report) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken != nil {
		return r.broken
	}
	r.reports = append(r.reports, report)
	return nil
}

// told are the reports since the last call, as "what job".
func (r *waRig) told() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, report := range r.reports {
		all = append(all, string(report.What)+" "+report.Job)
	}
	r.reports = nil
	return all
}

func (r *waRig) wantTold(want ...string) {
	r.t.Helper()
	if got := r.told(); !slices.Equal(got, want) {
		r.t.Errorf("reports: %q, want %q", got, want)
	}
}

func (r *waRig) wantSent(want string) {
	r.t.Helper()
	if got := r.service.kinds(); got != want {
		r.t.Errorf("requests: %q, want %q", got, want)
	}
}

// sends makes an attempt that must go well.
func (r *waRig) sends(p delivery.Parcel) delivery.Receipt {
	r.t.Helper()
	receipt, err := r.Send(r.t.Context(), p)
	if err != nil {
		r.t.Fatalf("not sent: %v", err)
	}
	return receipt
}

// fails makes an attempt that must not.
func (r *waRig) fails(p delivery.Parcel, want delivery.Outcome) *delivery.SendError {
	r.t.Helper()
	receipt, err := r.Send(r.t.Context(), p)
	var failed *delivery.SendError
	if !errors.As(err, &failed) {
		r.t.Fatalf("error %v, want %s", err, want)
	}
	if failed.Outcome != want {
		r.t.Errorf("%v, want %s", failed, want)
	}
	whatsAppSubject().hides(r.t, failed.Error()+receipt.Detail, p.Note)
	return failed
}

func waParcel(address string) delivery.Parcel {
	p := parcelOf(sampleNote())
	p.Key, p.Address = delivery.NewID(), address
	return p
}

func TestWhatsAppVoice(t *testing.T) {
	r := newWhatsApp(t, nil)
	p := waParcel("+" + waTo)
	receipt := r.sends(p)
	text, voice, file := r.service.last("text").message, r.service.last("audio").message, r.service.last("file").file
	r.wantSent("file text audio") // the file is seen by nobody: it comes first
	if string(file) != string(speech) {
		t.Errorf("the file has %d bytes", len(file))
	}
	if text.To != waTo || text.Callback != p.Key+".t" || !strings.Contains(text.Text.Body, "Voice message from") || !strings.Contains(text.Text.Body, "0:12") {
		t.Errorf("the line: %+v %+v", text, text.Text)
	}
	if voice.To != waTo || voice.Callback != p.Key || !voice.Audio.Voice || voice.Context == nil || voice.Context.ID != "wamid.1" {
		t.Errorf("the voice message: %+v", voice)
	}
	if receipt.ID != "wamid.2" || receipt.Detail != "200 OK" || receipt.Invited {
		t.Errorf("the receipt: %+v", receipt)
	}
	if rate := r.Rate(); rate.Sends != 80 || rate.Per != 2*time.Second {
		t.Errorf("the rate: %v", rate)
	}
	if r.Ack() != delivery.WasAccepted || !r.Tells(delivery.WasPlayed) || r.Within() != 10*time.Minute {
		t.Error("what is acknowledged, and when")
	}
}

func TestWhatsAppKinds(t *testing.T) {
	missed, video, webm, large := waParcel(waTo), waParcel(waTo), waParcel(waTo), waParcel(waTo)
	missed.Note.Kind, missed.Note.Media, missed.Open = delivery.Missed, delivery.Media{}, nil
	video.Note.Kind, video.Note.Media.Type = delivery.Video, "video/mp4"
	webm.Note.Kind, webm.Note.Media.Type = delivery.Video, "video/webm"
	large.Note.Media.Bytes = 600 << 10 // the app shows no play button until it is loaded
	large.Open = func(context.Context) (io.ReadSeekCloser, error) {
		return file{bytes.NewReader(make([]byte, 600<<10))}, nil
	}

	r := newWhatsApp(t, nil)
	r.sends(missed)
	if m := r.service.last("text").message; m.Callback != missed.Key || !strings.Contains(m.Text.Body, "Missed call from") {
		t.Errorf("a missed call: %+v", m.Text)
	}
	r.wantSent("text")
	r.sends(video)
	if m := r.service.last("video").message; m.Callback != video.Key || !strings.Contains(m.Video.Caption, "Video message from") {
		t.Errorf("a video: %+v", m.Video)
	}
	r.wantSent("file video")
	r.sends(large)
	r.wantSent("file text audio")
	if failed := r.fails(webm, delivery.Dead); !strings.Contains(failed.Error(), "video/webm") {
		t.Error(failed)
	}
	r.wantSent("")
}

func TestWhatsAppRecipients(t *testing.T) {
	const scoped = "DE.13491208655302741918"
	r := newWhatsApp(t, nil)
	r.sends(waParcel(scoped))
	for _, kind := range []string{"text", "audio"} {
		if m := r.service.last(kind).message; m.Recipient != scoped || m.To != "" {
			t.Errorf("%s to %q and %q", kind, m.To, m.Recipient)
		}
	}
	r.service.kinds()

	linked := waParcel("")
	r.sends(linked) // not linked: the mailbox's own number
	if m := r.service.last("audio").message; m.To != "4930123456" {
		t.Errorf("not linked: to %q", m.To)
	}
	r.service.kinds()
	r.chats.of[linked.Note.Recipient.Number] = scoped
	r.sends(waParcel(""))
	if m := r.service.last("audio").message; m.Recipient != scoped {
		t.Errorf("linked: to %q", m.Recipient)
	}
	r.service.kinds()
	extension := waParcel("")
	extension.Note.Recipient.Number = "101"
	if failed := r.fails(extension, delivery.Dead); !strings.Contains(failed.Error(), "inbox page") {
		t.Error(failed)
	}
	_ = r.fails(waParcel("nobody"), delivery.Dead)
	r.chats.failing = errors.New("disk")
	_ = r.fails(waParcel(""), delivery.Retry)
	r.wantSent("")
}

// Where the service fails in the middle, what arrived is not sent again.
func TestWhatsAppGoesOnWhereItWas(t *testing.T) {
	const busy = 130429
	for name, tc := range map[string]struct {
		strike    string
		handler   func(*waServer) http.HandlerFunc
		outcome   delivery.Outcome
		told      string // the part whose status comes before the next attempt
		first     string
		then      string
		wantTwice bool // the next line says that the note may be there
	}{
		"the file is refused":                     {"file", waFailing(429, busy), delivery.Retry, "", "file", "file text audio", false},
		"the file's answer is lost":               {"file", waLosing, delivery.Retry, "", "file", "file text audio", false},
		"the line is refused":                     {"text", waFailing(429, busy), delivery.Retry, "", "file text", "text audio", false},
		"the line's answer is lost":               {"text", waLosing, delivery.Retry, "", "file text", "text audio", true},
		"the line's answer is lost, not its news": {"text", waLosing, delivery.Retry, ".t", "file text", "audio", false},
		"the note is refused":                     {"audio", waFailing(429, busy), delivery.Retry, "", "file text audio", "audio", false},
		"the note's answer is lost":               {"audio", waLosing, delivery.Unknown, "", "file text audio", "text audio", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newWhatsApp(t, nil)
			r.service.strike(tc.strike, tc.handler(r.service))
			p := waParcel(waTo)
			failed := r.fails(p, tc.outcome)
			if failed.Outcome == delivery.Unknown && failed.After != time.Minute {
				t.Errorf("waits %v for the status", failed.After)
			}
			r.wantSent(tc.first)
			if tc.told != "" {
				r.post(r.status("sent", "wamid.lost", p.Key+tc.told, 0))
			}
			r.wantTold()
			p.Attempt, p.Repeat = 2, tc.outcome == delivery.Unknown
			r.sends(p)
			if strings.Contains(tc.then, "text") {
				if twice := strings.Contains(r.service.last("text").message.Text.Body, "second copy"); twice != tc.wantTwice {
					t.Errorf("the line says that it may be a second copy: %v", twice)
				}
			}
			if m := r.service.last("audio").message; m.Context == nil || (tc.told != "" && m.Context.ID != "wamid.lost") {
				t.Errorf("a reply to %+v", m.Context)
			}
			r.wantSent(tc.then)
		})
	}
}

func waFailing(status, code int) func(*waServer) http.HandlerFunc {
	return func(s *waServer) http.HandlerFunc { return waFails(s, status, code, 0) }
}

func waLosing(*waServer) http.HandlerFunc { return waLost }

// A missed call is one message: it is marked by itself.
func TestWhatsAppMissedTwice(t *testing.T) {
	r := newWhatsApp(t, nil)
	p := waParcel(waTo)
	p.Note.Kind, p.Open = delivery.Missed, nil
	r.service.strike("text", waLost)
	_ = r.fails(p, delivery.Unknown)
	p.Attempt, p.Repeat = 2, true
	r.sends(p)
	if !strings.Contains(r.service.last("text").message.Text.Body, "second copy") {
		t.Error("the repeat is not marked")
	}
}

// A file that the service has lost meanwhile is brought anew; one that it does
// not want is not.
func TestWhatsAppFileIsGone(t *testing.T) {
	r := newWhatsApp(t, nil)
	p := waParcel(waTo)
	r.service.strike("audio", waFails(r.service, 429, 130429, 0), waFails(r.service, 400, 131053, 0), waFails(r.service, 400, 131053, 0))
	_ = r.fails(p, delivery.Retry)
	r.wantSent("file text audio")
	_ = r.fails(p, delivery.Retry)
	r.wantSent("audio")
	_ = r.fails(p, delivery.Dead)
	r.wantSent("file audio")
}

// The next target of a chain starts anew.
func TestWhatsAppNextTarget(t *testing.T) {
	r := newWhatsApp(t, nil)
	p := waParcel(waTo)
	r.service.strike("audio", waFails(r.service, 400, 131026, 0))
	_ = r.fails(p, delivery.Dead)
	r.wantSent("file text audio")
	p.Address = "4915187654321"
	r.service.strike("text", waLost)
	_ = r.fails(p, delivery.Retry)
	r.post(r.status("sent", "wamid.1", p.Key+".t", 0)) // the line to the target before
	r.sends(p)
	r.wantSent("text text audio")
}

// The voice message replies to the line that stands above it, whatever is told
// of an older one.
func TestWhatsAppRepliesToItsLine(t *testing.T) {
	r := newWhatsApp(t, nil)
	p := waParcel(waTo)
	r.service.strike("audio", waFails(r.service, 429, 130429, 0))
	_ = r.fails(p, delivery.Retry)
	r.post(r.status("sent", "wamid.other", p.Key+".t", 0))
	r.sends(p)
	if m := r.service.last("audio").message; m.Context.ID != "wamid.1" {
		t.Errorf("a reply to %s", m.Context.ID)
	}
}

// Every code does what its row says, whatever it comes with.
func TestWhatsAppCodes(t *testing.T) {
	r := newWhatsApp(t, nil)
	for i, c := range whatsappCodes {
		for n, code := range []int{c.first, c.last} {
			e := waError{Code: code, Sub: c.sub}
			if first, _ := e.rule(); first != c {
				t.Errorf("row %d is never reached for %d", i, code)
			}
			r.service.strike("text", waFails(r.service, 400, code, c.sub))
			p := waParcel(waTo)
			p.Note.Kind, p.Open, p.Attempt = delivery.Missed, nil, 3
			p.Address = fmt.Sprintf("49151%d%06d", n, code) // each his own window
			failed := r.fails(p, c.outcome)
			wait := time.Duration(0)
			if code == pairCode {
				wait = 64 * time.Second
			}
			if failed.Credentials != c.credentials || failed.Status != 400 || failed.After != wait || !strings.Contains(failed.Error(), c.hint) || !strings.Contains(failed.Error(), fmt.Sprint(code)) {
				t.Errorf("%d: %+v", code, failed)
			}
		}
	}
	for code, want := range map[int]delivery.Outcome{999999: delivery.Dead, 5: delivery.Dead} {
		r.service.strike("text", waFails(r.service, 400, code, 0))
		p := waParcel(waTo)
		p.Note.Kind, p.Open = delivery.Missed, nil
		if failed := r.fails(p, want); !strings.Contains(failed.Error(), fmt.Sprint(code)) {
			t.Errorf("%d: %v", code, failed)
		}
	}
}

// A number that the service knows in another form has one window.
func TestWhatsAppOtherForm(t *testing.T) {
	const given, known = "5511987654321", "551187654321" // Brazil's ninth digit
	r := newWhatsApp(t, withTemplate)
	r.service.user = known
	r.post(r.text(known, "", "hello", 0))
	r.sends(waParcel(given)) // only the answer tells that the window is open
	r.wantSent("template file text audio")
	r.sends(waParcel(given))
	r.wantSent("file text audio")
}

func TestWhatsAppMemoryFails(t *testing.T) {
	r := newWhatsApp(t, nil)
	r.env.Memory = waForgets{}
	_ = r.fails(waParcel(waTo), delivery.Retry)
	r.wantSent("")
}

// waForgets is a memory out of reach.
type waForgets struct{ delivery.Memory }

func (waForgets) Get(context.Context, string) ([]byte, error) { return nil, errors.New("disk") }

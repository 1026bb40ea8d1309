package channel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// waMost is how large a file may be, audio or video (Cloud API, "Media"). Above
// 512 KB a voice message shows no play button until it is loaded: it is sent
// all the same.
const waMost = 16 << 20

// waTypes are the files that the recipients' apps play, and the type of message
// that each makes.
var waTypes = map[string]string{".ogg": "audio", ".mp4": "video"}

// waAttempt is one attempt at one recipient.
type waAttempt struct {
	*whatsapp
	p     delivery.Parcel
	words *text.Texts
	user  string // where it goes
	known string // the user as the service names him, by whom his window is kept
	begun time.Time
	fresh bool // nothing is known of earlier attempts at this recipient
	done  progress
}

// Send makes one attempt: at the note itself, or outside the recipient's window
// at an invitation to it.
func (w *whatsapp) Send(ctx context.Context, p delivery.Parcel) (delivery.Receipt, error) {
	if err := sendable(p.Note); err != nil {
		return delivery.Receipt{}, err
	}
	a, open, err := w.begin(ctx, p)
	if err != nil {
		return delivery.Receipt{}, err
	}
	if a.taken() {
		return delivery.Receipt{ID: a.done.Note, Detail: "not sent again: the service has it from an earlier attempt"}, nil
	}
	switch w.way(open.state(a.begun)) {
	case wayInvite:
		return a.invite(ctx)
	case wayNowhere:
		return delivery.Receipt{}, &delivery.SendError{Outcome: delivery.Dead, Err: errClosed}
	case wayNote:
	}
	receipt, err := a.note(ctx)
	if !errors.Is(err, errClosed) {
		return receipt, err
	}
	if kept := w.refused(ctx, []string{a.known}, a.begun); kept != nil {
		return receipt, unkept(kept)
	}
	if w.o.Template == nil {
		return receipt, err
	}
	return a.invite(ctx)
}

// sendable says why a note's file cannot be sent at all.
func sendable(n delivery.Note) error {
	dead := &delivery.SendError{Outcome: delivery.Dead}
	switch {
	case n.Kind == delivery.Missed:
		return nil
	case waTypes[extension(n.Media.Type)] == "":
		dead.Err = fmt.Errorf("WhatsApp plays no %s", n.Media.Type)
	case n.Media.Bytes > waMost:
		dead.Err = fmt.Errorf("the file has %d bytes, WhatsApp takes %d; lower media.max_duration", n.Media.Bytes, waMost)
	default:
		return nil
	}
	return dead
}

// begin finds out where a parcel goes and what is known of it.
func (w *whatsapp) begin(ctx context.Context, p delivery.Parcel) (*waAttempt, window, error) {
	a := &waAttempt{whatsapp: w, p: p, words: text.For(p.Note.Recipient.Language), begun: time.Now()}
	var err error
	if a.user, err = w.recipient(ctx, p); err != nil {
		return nil, window{}, err
	}
	a.known = a.user
	_, err = w.env.recallJSON(ctx, keyUser+a.user, &a.known)
	if err == nil {
		a.done, err = w.progressOf(ctx, p.Key)
	}
	if a.done.To != a.user { // none, or of the target before
		a.fresh, a.done = true, progress{
			waTarget: waTarget{To: a.user}, Others: a.done.others(a.user), Mailbox: p.Note.Recipient.Number, Of: p.Note.ID,
		}
	}
	var open window
	if err == nil {
		open, err = w.window(ctx, a.known)
	}
	if err == nil {
		err = w.stopped(ctx, a.user, a.known)
	}
	return a, open, err
}

// recipient is where a parcel goes: its address, else the chat that the mailbox
// is linked to, else the mailbox's own number.
func (w *whatsapp) recipient(ctx context.Context, p delivery.Parcel) (string, error) {
	address, own := p.Address, p.Note.Recipient.Number
	if address == "" {
		var err error
		address, err = w.env.linkedChat(ctx, own, "+4930123456")
		if errors.Is(err, errUnlinked) && strings.HasPrefix(own, "+") {
			address, err = own, nil
		}
		if err != nil {
			return "", err
		}
	}
	user, ok := waUser(address)
	if !ok {
		return "", &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("the target's address: %w", errWhatsAppUser)}
	}
	return user, nil
}

// note sends the note itself. The file goes first, as nobody sees it: then the
// line and the voice message come together.
func (a *waAttempt) note(ctx context.Context) (delivery.Receipt, error) {
	caption := a.words.Caption(a.p.Note, a.repeat())
	if a.p.Note.Kind == delivery.Missed {
		return a.main(ctx, textTo(a.user, caption.Plain()))
	}
	file, reused, err := a.file(ctx)
	if err != nil {
		return delivery.Receipt{Detail: file.detail}, err
	}
	m := messageTo(a.user, waTypes[extension(a.p.Note.Media.Type)])
	if m.Type == "video" {
		m.Video = &waVideo{file.id, clipRunes(caption.Plain(), 1024)}
	} else {
		m.Audio = &waAudio{ID: file.id, Voice: true}
		line, err := a.line(ctx, caption.Plain())
		if err != nil {
			return delivery.Receipt{Detail: line.detail}, err
		}
		if line.id != "" {
			m.Context = &waContext{line.id}
		}
	}
	receipt, err := a.main(ctx, m)
	var failed *delivery.SendError
	if reused && errors.As(err, &failed) && failed.Outcome == delivery.Dead && !errors.Is(err, errClosed) {
		// The file of an earlier attempt may be gone: the next one brings it anew.
		if err := a.env.Memory.Delete(ctx, keyFile+a.p.Note.ID); err != nil {
			return receipt, unkept(err)
		}
		failed.Outcome = delivery.Retry
	}
	return receipt, err
}

// taken says that the note is not to be sent again: the service has it from an
// attempt of whose outcome the job knows nothing. One that is driven again is sent
// all the same.
func (a *waAttempt) taken() bool {
	return a.done.Took && a.p.Repeat && a.done.Round == a.p.Round
}

// repeat says that the note, or the line before it, may be there already.
func (a *waAttempt) repeat() bool {
	return a.done.Lost || (a.p.Repeat && (a.done.Begun || a.fresh))
}

// file gives the service the note's file, unless it has it.
func (a *waAttempt) file(ctx context.Context) (file waReply, reused bool, err error) {
	reused, err = a.env.recallJSON(ctx, keyFile+a.p.Note.ID, &file.id)
	switch {
	case err != nil:
		return file, false, err
	case reused:
		return file, true, nil
	}
	file, err = a.upload(ctx, a.p)
	if err != nil {
		return file, false, err
	}
	e := delivery.Entry{Key: keyFile + a.p.Note.ID, For: 24 * time.Hour, Mailbox: a.p.Note.Recipient.Number, Note: a.p.Note.ID}
	return file, false, a.env.keepJSON(ctx, e, file.id)
}

// line sends the text that the voice message replies to, once; again only when
// the voice message may have arrived and the line does not say so.
func (a *waAttempt) line(ctx context.Context, words string) (waReply, error) {
	marked := a.repeat()
	if a.done.Line != "" && (!marked || a.done.Marked) {
		return waReply{id: a.done.Line}, nil
	}
	m := textTo(a.user, words)
	m.Callback = a.p.Key + partLine
	// Before it is sent: its status may tell the id when its answer is lost.
	if err := a.keep(ctx, func(*progress) {}); err != nil {
		return waReply{}, err
	}
	said, err := a.post(ctx, m, a.p.Note, a.p.Attempt)
	var failed *delivery.SendError
	if errors.As(err, &failed) && failed.Outcome == delivery.Unknown {
		if err := a.keep(ctx, func(p *progress) { p.Lost = p.Line == "" }); err != nil {
			return said, err
		}
	}
	if err != nil {
		return said, unsent(err)
	}
	return said, a.keep(ctx, func(p *progress) {
		p.Line, p.Lost, p.Marked, p.Begun = said.id, false, marked, true
	})
}

// main sends the message that is the note.
func (a *waAttempt) main(ctx context.Context, m waMessage) (delivery.Receipt, error) {
	if !a.done.Begun || a.done.Note != "" || a.done.Took || a.done.Round != a.p.Round {
		if err := a.keep(ctx, func(p *progress) { p.Begun, p.Note, p.Took, p.Round = true, "", false, a.p.Round }); err != nil {
			return delivery.Receipt{}, err
		}
	}
	m.Callback = a.p.Key
	said, err := a.post(ctx, m, a.p.Note, a.p.Attempt)
	if err != nil {
		return delivery.Receipt{Detail: said.detail}, err
	}
	a.accepted(ctx, func(p *progress) { p.Note, p.Took = said.id, !p.gaveBack(said.id) }, said.user)
	return delivery.Receipt{ID: said.id, Detail: said.detail}, nil
}

// invite sends the template that asks the recipient to play the note. His tap
// comes back with the job's id and opens the window.
func (a *waAttempt) invite(ctx context.Context) (delivery.Receipt, error) {
	if time.Now().Before(a.done.Invited) {
		return delivery.Receipt{Detail: "the invitation is out", Invited: true}, nil
	}
	if err := a.invites(ctx, a.known, a.p); err != nil {
		return delivery.Receipt{}, err
	}
	if err := a.keep(ctx, func(*progress) {}); err != nil {
		return delivery.Receipt{}, err
	}
	said, err := a.post(ctx, a.template(), a.p.Note, a.p.Attempt)
	if err != nil {
		return delivery.Receipt{Detail: said.detail}, err
	}
	a.accepted(ctx, func(p *progress) {
		if !p.gaveBack(said.id) {
			p.Invited = time.Now().Add(a.o.Within)
		}
	}, said.user)
	// He may have tapped before the job waits for it.
	if open, err := a.window(ctx, a.known); err == nil && open.state(time.Now()) == windowOpen {
		return a.note(ctx)
	}
	return delivery.Receipt{ID: said.id, Detail: said.detail + ", invited", Invited: true}, nil
}

func (a *waAttempt) template() waMessage {
	m := messageTo(a.user, "template")
	m.Callback = a.p.Key + partInvitation
	m.Template = &waTemplate{Name: a.o.Template.Name, Language: waLanguage{a.o.Template.Language}, Components: []waComponent{
		{Type: "body", Parameters: []waParameter{
			{Type: "text", Text: parameter(a.words.Who(a.p.Note.Caller))},
			{Type: "text", Text: parameter(a.words.When(a.p.Note))},
		}},
		{Type: "button", SubType: "quick_reply", Index: "0", Parameters: []waParameter{{Type: "payload", Payload: a.p.Key}}},
	}}
	return m
}

// parameter is a text in the form that templates take: one line, no runs of
// spaces, not long.
func parameter(s string) string { return clipRunes(strings.Join(strings.Fields(s), " "), 200) }

package channel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"maunium.net/go/mautrix"
	mevent "maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/afterbeep/afterbeep/delivery"
)

// TestMatrixPeer is the channel on a real homeserver, each test with an account
// of its own.
func TestMatrixPeer(t *testing.T) {
	service := &MatrixOptions{User: "@x:localhost", Appservice: &MatrixAppservice{Token: "as-token-of-the-test", HSToken: "hs-token-of-the-test"}}
	d := startDendrite(t, service.Registration())
	for name, test := range map[string]func(*testing.T, *dendrite){
		"room":          matrixRoom,
		"direct":        matrixDirect,
		"caller":        matrixCaller,
		"read":          matrixRead,
		"linking":       matrixLinking,
		"new login":     matrixNewLogin,
		"lost answer":   matrixLostAnswer,
		"too large":     matrixTooLarge,
		"check":         matrixCheck,
		"encrypted":     matrixEncrypted,
		"keys are gone": matrixKeysGone,
	} {
		// One after the other: a request that its client gives up makes this homeserver fail others.
		t.Run(name, func(t *testing.T) { test(t, d) })
	}
}

// clearRoom is a room of a person's with the account in it.
func clearRoom(t *testing.T, person *mautrix.Client, b *bot) id.RoomID {
	t.Helper()
	made, err := person.CreateRoom(t.Context(), &mautrix.ReqCreateRoom{Preset: "private_chat", Invite: []id.UserID{b.user}})
	if err != nil {
		t.Fatal(err)
	}
	return made.RoomID
}

// A voice message in a clear room is what the specifications of voice messages
// say, and the next of the same caller is a reply to it.
func matrixRoom(t *testing.T, d *dendrite) {
	b, person := d.bot(t, "room-bot", nil), d.account(t, "room-person")
	room := clearRoom(t, person, b)
	n := recentNote()
	first := b.send(t, to(room.String(), n))
	second := recentNote()
	second.Kind, second.Media, second.Duration = delivery.Missed, delivery.Media{}, 0
	b.send(t, to(room.String(), second))

	messages := writtenIn(t, person, room, 2)
	missed, voice := content(t, messages[0]), content(t, messages[1])
	if voice.MsgType != mevent.MsgAudio || voice.FileName != "voice-message.ogg" || !strings.Contains(voice.Body, "+33 6 12 34 56 78") ||
		!strings.Contains(voice.FormattedBody, `<a href="tel:+33612345678">`) || !strings.HasPrefix(voice.FormattedBody, "<strong>") {
		t.Errorf("content %+v", voice)
	}
	if voice.Info.MimeType != "audio/ogg" || voice.Info.Duration != 12_340 || voice.Info.Size != len(speech) || voice.MSC3245Voice == nil ||
		len(voice.MSC1767Audio.Waveform) != 64 || voice.MSC1767Audio.Waveform[63] != 252*1024/255 || voice.Mentions == nil {
		t.Errorf("content %+v, audio %+v", voice, voice.MSC1767Audio)
	}
	uri, err := voice.URL.Parse()
	if err != nil {
		t.Fatal(err)
	}
	if played, err := person.DownloadBytes(t.Context(), uri); err != nil || !bytes.Equal(played, speech) {
		t.Errorf("%d bytes of the file, error %v", len(played), err)
	}
	if missed.MsgType != mevent.MsgText || missed.RelatesTo.GetReplyTo().String() != first.ID {
		t.Errorf("content %+v, relates to %+v", missed, missed.RelatesTo)
	}
}

func content(t *testing.T, e *mevent.Event) *mevent.MessageEventContent {
	t.Helper()
	e.Type.Class = mevent.MessageEventType
	if err := e.Content.ParseRaw(e.Type); err != nil && !errors.Is(err, mevent.ErrContentAlreadyParsed) {
		t.Fatal(err)
	}
	return e.Content.AsMessage()
}

// A user is reached by a direct chat, which is made once, and again when the
// user has left it.
func matrixDirect(t *testing.T, d *dendrite) {
	b, person := d.bot(t, "direct-bot", nil), d.account(t, "direct-person")
	b.env.Folder = "" // in clear
	b.reopen(t)
	b.send(t, to(person.UserID.String(), recentNote()))
	b.send(t, to(person.UserID.String(), recentNote()))
	room := invitation(t, person)
	writtenIn(t, person, room, 2)
	if _, err := person.LeaveRoom(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	b.send(t, to(person.UserID.String(), recentNote()))
	if again := invitation(t, person); again == room {
		t.Error("the note went into the room that the user had left")
	}
	_, err := b.Send(t.Context(), to("@nobody-at-all:localhost", recentNote()))
	if failed := (*delivery.SendError)(nil); !errors.As(err, &failed) || failed.Outcome != delivery.Dead {
		t.Errorf("a user that does not exist: %v", err)
	}
}

// With an application service each caller writes as a user of their own.
func matrixCaller(t *testing.T, d *dendrite) {
	b := d.bot(t, "caller-bot", func(o *MatrixOptions) {
		o.Appservice = &MatrixAppservice{Token: "as-token-of-the-test", HSToken: "hs-token-of-the-test"}
	})
	person := d.account(t, "caller-person")
	b.listening(t)
	n := recentNote()
	n.Caller.Name = "Maria K."
	first := to(person.UserID.String(), n)
	b.send(t, first)
	room := invitation(t, person)
	messages := writtenIn(t, person, room, 1)
	if !strings.HasPrefix(messages[0].Sender.String(), "@afterbeep_") {
		t.Fatalf("messages %+v", messages)
	}
	name, err := person.GetDisplayName(t.Context(), messages[0].Sender)
	if err != nil || name.DisplayName != "Maria K. (+33 6 12 34 56 78)" {
		t.Errorf("name %+v, error %v", name, err)
	}
	// The account is there to hear of what was read.
	if err := person.MarkRead(t.Context(), room, messages[0].ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the receipt", func() bool { return b.reports.of(first.Key) == 1 })

	// Into a room of others the account brings the caller, if it may.
	shared := clearRoom(t, person, b)
	b.send(t, to(shared.String(), n))
	if messages := writtenIn(t, person, shared, 1); !strings.HasPrefix(messages[0].Sender.String(), "@afterbeep_") {
		t.Errorf("messages %+v", messages)
	}
	// A private caller has no user.
	n.Caller = delivery.Caller{Private: true}
	b.send(t, to(shared.String(), n))
	if messages := writtenIn(t, person, shared, 2); messages[0].Sender != b.user {
		t.Errorf("messages %+v", messages)
	}
	// With callers about, a chat of two is one still.
	say(t, person, shared, "help", "To link this chat")
	b.o.Appservice.Token = "not-registered"
	b.reopen(t)
	_, err = b.Send(t.Context(), to(person.UserID.String(), recentNote()))
	if failed := (*delivery.SendError)(nil); !errors.As(err, &failed) || !failed.Credentials {
		t.Errorf("an application service that is not registered: %v", err)
	}
}

// A receipt at the last message says that those before it were read too.
func matrixRead(t *testing.T, d *dendrite) {
	b, person := d.bot(t, "read-bot", nil), d.account(t, "read-person")
	room := clearRoom(t, person, b)
	first, second := to(room.String(), recentNote()), to(room.String(), recentNote())
	b.send(t, first)
	b.send(t, second)
	b.listening(t)
	sent, err := person.SendText(t.Context(), room, "On my way")
	if err != nil {
		t.Fatal(err)
	}
	if err := person.MarkRead(t.Context(), room, sent.EventID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both receipts", func() bool { return b.reports.of(first.Key) == 1 && b.reports.of(second.Key) == 1 })
	third := to(room.String(), recentNote())
	receipt := b.send(t, third)
	if err := person.MarkRead(t.Context(), room, id.EventID(receipt.ID)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the third receipt", func() bool { return b.reports.of(third.Key) == 1 })
	if b.reports.of(first.Key) != 1 || b.reports.of(second.Key) != 1 {
		t.Error("a receipt was reported twice")
	}
}

// A chat is linked by a code, told so, and unlinked again.
func matrixLinking(t *testing.T, d *dendrite) {
	b, person := d.bot(t, "link-bot", nil), d.account(t, "link-person")
	b.listening(t)
	made, err := person.CreateRoom(t.Context(), &mautrix.ReqCreateRoom{Preset: "trusted_private_chat", IsDirect: true, Invite: []id.UserID{b.user}})
	if err != nil {
		t.Fatal(err)
	}
	room := made.RoomID
	for _, turn := range []struct{ says, answer string }{
		{"hello?", "To link this chat"},
		{"link wrong", "not valid"},
		{"link CODE", "+49 30 123456"},
		{"/start CODE", "not valid"}, // single use
	} {
		say(t, person, room, turn.says, turn.answer)
	}
	n := recentNote()
	b.send(t, to("", n))
	if last := content(t, writtenIn(t, person, room, 9)[0]); last.MsgType != mevent.MsgAudio {
		t.Errorf("the note is not there: %+v", last)
	}
	// Among others only what is meant for a machine counts.
	another := d.account(t, "link-another")
	if _, err := person.InviteUser(t.Context(), room, &mautrix.ReqInviteUser{UserID: another.UserID}); err != nil {
		t.Fatal(err)
	}
	if _, err := another.JoinRoomByID(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	if _, err := another.SendText(t.Context(), room, "stop"); err != nil {
		t.Fatal(err)
	}
	writtenIn(t, person, room, 10)
	say(t, person, room, "!stop", "No more voice messages")
	_, err = b.Send(t.Context(), to("", n))
	if failed := (*delivery.SendError)(nil); !errors.As(err, &failed) || failed.Outcome != delivery.Dead || !strings.Contains(err.Error(), "inbox page") {
		t.Errorf("a mailbox that is not linked: %v", err)
	}
	if link, what, err := b.DeepLink(t.Context(), "abc"); err != nil || link != "https://matrix.to/#/@link-bot:localhost" || what != "link abc" {
		t.Errorf("deep link %q %q %v", link, what, err)
	}
}

func say(t *testing.T, person *mautrix.Client, room id.RoomID, says, answer string) {
	t.Helper()
	before := len(history(t, person, room))
	if _, err := person.SendText(t.Context(), room, says); err != nil {
		t.Fatal(err)
	}
	eventually(t, answer, func() bool {
		messages := history(t, person, room)
		return len(messages) == before+2 && strings.Contains(content(t, messages[0]).Body, answer)
	})
}

// A restarted homeserver has forgotten the transactions, an ended login is
// renewed as the same device: the note is there once all the same.
func matrixNewLogin(t *testing.T, d *dendrite) {
	b, person := d.bot(t, "login-bot", nil), d.account(t, "login-person")
	room := clearRoom(t, person, b)
	p := to(room.String(), recentNote())
	b.send(t, p)
	device := b.device.DeviceID
	b.reopen(t)
	writtenIn(t, person, room, 1) // what nobody has seen yet, a homeserver that is killed may lose
	d.stop(t)
	d.start(t)
	p.Attempt, p.Repeat = 2, true
	if receipt := b.send(t, p); !strings.Contains(receipt.Detail, "had arrived") {
		t.Errorf("receipt %+v", receipt)
	}
	if b.device.DeviceID != device {
		t.Errorf("device %q, was %q", b.device.DeviceID, device)
	}
	writtenIn(t, person, room, 1)

	// The kept token is spoilt, and so is that of a login in use.
	kept := b.kept()
	kept.Token = "no-longer-valid"
	if err := b.keep(kept); err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
	b.send(t, to(room.String(), recentNote()))
	b.send(t, to(room.String(), recentNote()))
	if b.device.DeviceID != device {
		t.Errorf("device %q, was %q", b.device.DeviceID, device)
	}
	mode, err := os.Stat(filepath.Join(b.env.Folder, "device.json"))
	if err != nil || mode.Mode().Perm() != 0o600 {
		t.Errorf("the kept device: %v %v", mode.Mode(), err)
	}
}

// losing is a way to the homeserver that swallows answers to what carries a
// note.
func losing(t *testing.T, d *dendrite) (address string, lose *atomic.Int32, uploads *atomic.Int32) {
	t.Helper()
	target, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	lose, uploads = new(atomic.Int32), new(atomic.Int32)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_matrix/media/") {
			uploads.Add(1)
		}
		if strings.Contains(r.URL.Path, "/send/m.room.") && lose.Add(-1) >= 0 {
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		proxy.Transport.(*http.Transport).CloseIdleConnections()
	})
	return server.URL, lose, uploads
}

// A lost answer leaves it open whether the note arrived; the next attempt finds
// out, uploads nothing, and doubles nothing: with and without a restart.
func matrixLostAnswer(t *testing.T, d *dendrite) {
	b, person := d.bot(t, "lost-bot", nil), d.account(t, "lost-person")
	room := clearRoom(t, person, b)
	address, lose, uploads := losing(t, d)
	b.o.APIURL = address
	b.reopen(t)
	for name, restart := range map[string]func(){
		"same login": func() {},
		"new login": func() {
			_ = os.Remove(b.deviceFile())
			b.reopen(t)
		},
	} {
		before := len(history(t, person, room))
		p := to(room.String(), recentNote())
		uploads.Store(0)
		lose.Store(1)
		_, err := b.Send(t.Context(), p)
		if failed := (*delivery.SendError)(nil); !errors.As(err, &failed) || failed.Outcome != delivery.Unknown {
			t.Fatalf("%s: a lost answer is %v", name, err)
		}
		restart()
		p.Attempt, p.Repeat = 2, true
		b.send(t, p)
		writtenIn(t, person, room, before+1)
		if uploads.Load() != 1 {
			t.Errorf("%s: %d uploads", name, uploads.Load())
		}
	}
	lose.Store(0)
	p := to(room.String(), recentNote())
	p.Attempt, p.Repeat = 2, true // it never arrived: nothing to warn of
	b.send(t, p)
	if last := content(t, writtenIn(t, person, room, 3)[0]); strings.Contains(last.Body, "second copy") {
		t.Errorf("a note that was looked for is marked: %q", last.Body)
	}
}

func matrixTooLarge(t *testing.T, d *dendrite) {
	b, person := d.bot(t, "large-bot", nil), d.account(t, "large-person")
	room := clearRoom(t, person, b)
	n := recentNote()
	p := to(room.String(), n)
	big := bytes.Repeat([]byte("x"), dendriteFiles+1)
	p.Note.Media.Bytes = int64(len(big))
	p.Open = opener(big)
	_, err := b.Send(t.Context(), p)
	if failed := (*delivery.SendError)(nil); !errors.As(err, &failed) || failed.Outcome != delivery.Dead || failed.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("got %v, want dead by 413", err)
	}
	foreign, err := person.CreateRoom(t.Context(), &mautrix.ReqCreateRoom{Preset: "private_chat"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Send(t.Context(), to(foreign.RoomID.String(), n))
	if failed := (*delivery.SendError)(nil); !errors.As(err, &failed) || failed.Outcome != delivery.Dead || !strings.Contains(err.Error(), "invite") {
		t.Errorf("a room of others: %v", err)
	}
}

// A check leaves no device behind.
func matrixCheck(t *testing.T, d *dendrite) {
	b, person := d.bot(t, "check-bot", nil), d.account(t, "check-person")
	again := d.login(t, "check-bot")
	b.env.Folder = ""
	b.reopen(t)
	if err := b.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	devices, err := again.GetDevicesInfo(t.Context())
	if err != nil || len(devices.Devices) != 2 { // of the account's making, and this login's
		t.Errorf("devices %+v, error %v", devices, err)
	}
	b.o.Token, b.o.Password = person.AccessToken, ""
	b.reopen(t)
	if err := b.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "another account") {
		t.Errorf("another account's token: %v", err)
	}
	b.o.Token, b.o.Password = "", "wrong-password"
	b.reopen(t)
	if err := b.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "see user and password") || strings.Contains(err.Error(), "wrong-password") {
		t.Errorf("a wrong password: %v", err)
	}
}

func opener(content []byte) func(context.Context) (io.ReadSeekCloser, error) {
	return func(context.Context) (io.ReadSeekCloser, error) { return file{bytes.NewReader(content)}, nil }
}

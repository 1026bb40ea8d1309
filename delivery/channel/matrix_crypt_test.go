//go:build goolm

package channel

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"maunium.net/go/mautrix"
	mevent "maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/afterbeep/afterbeep/delivery"
)

// encryptedRoom is a room of a person's, encrypted, with the account in it, and
// the person's own keys: they are those of a channel's device, for the client's
// side of the same protocol.
func sealedRoom(t *testing.T, d *dendrite, name string) (b, person *bot, room id.RoomID) {
	t.Helper()
	b, person = d.bot(t, name+"-bot", nil), d.bot(t, name+"-person", nil)
	device, err := person.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	made, err := device.CreateRoom(t.Context(), &mautrix.ReqCreateRoom{
		Preset: "private_chat", Invite: []id.UserID{b.user}, InitialState: []*mevent.Event{{
			Type:    mevent.StateEncryption,
			Content: mevent.Content{Parsed: &mevent.EncryptionEventContent{Algorithm: id.AlgorithmMegolmV1}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b, person, made.RoomID
}

// opened decrypts a message with a person's keys.
func opened(t *testing.T, person *bot, sealed *mevent.Event, since *string) *mevent.MessageEventContent {
	t.Helper()
	if sealed.Type.Type != mevent.EventEncrypted.Type {
		t.Fatalf("a %s in an encrypted room", sealed.Type.Type)
	}
	readable(sealed, sealed.RoomID, mevent.MessageEventType)
	var plain *mevent.Event
	eventually(t, "the key", func() bool {
		answer, err := person.device.FullSyncRequest(t.Context(), mautrix.ReqSync{Since: *since})
		if err != nil {
			t.Log(err)
			return false
		}
		person.device.crypt.heard(t.Context(), answer, *since)
		*since = answer.NextBatch
		plain, err = person.device.crypt.decrypt(t.Context(), sealed)
		return err == nil
	})
	return content(t, plain)
}

// In an encrypted room another's client decrypts identical bytes, and sees a
// device that its owner has signed; after a restart too.
func matrixEncrypted(t *testing.T, d *dendrite) {
	b, person, room := sealedRoom(t, d, "sealed")
	since := ""
	for round, n := range []delivery.Note{recentNote(), recentNote()} {
		b.send(t, to(room.String(), n))
		message := writtenIn(t, person.device.Client, room, round+1)[0]
		voice := opened(t, person, message, &since)
		if voice.MsgType != mevent.MsgAudio || voice.URL != "" || voice.File == nil || voice.MSC3245Voice == nil || voice.Info.MimeType != "audio/ogg" {
			t.Fatalf("content %+v", voice)
		}
		uri, err := voice.File.URL.Parse()
		if err != nil {
			t.Fatal(err)
		}
		bytesThere, err := person.device.DownloadBytes(t.Context(), uri)
		if err != nil || bytes.Contains(bytesThere, speech[:100]) {
			t.Fatalf("the file on the server: error %v, or in clear", err)
		}
		if err := voice.File.DecryptInPlace(bytesThere); err != nil || !bytes.Equal(bytesThere, speech) {
			t.Errorf("%d bytes, error %v", len(bytesThere), err)
		}
		if round == 1 && voice.RelatesTo.GetReplyTo() == "" {
			t.Error("the second note is no reply to the first")
		}
		sealedBy, err := person.device.crypt.machine.GetOrFetchDevice(t.Context(), b.user, b.device.DeviceID)
		if err != nil {
			t.Fatal(err)
		}
		trust, err := person.device.crypt.machine.ResolveTrustContext(t.Context(), sealedBy)
		if err != nil || trust < id.TrustStateCrossSignedTOFU {
			t.Errorf("the device is %s, error %v", trust, err)
		}
		b.reopen(t)
	}
	key, err := os.Stat(filepath.Join(b.env.Folder, "recovery-key"))
	if err != nil || key.Mode().Perm() != 0o600 {
		t.Errorf("the recovery key: %v", err)
	}

	// A repeat is found by what stays readable of the event.
	p := to(room.String(), recentNote())
	b.send(t, p)
	p.Attempt, p.Repeat = 2, true
	b.reopen(t)
	b.send(t, p)
	writtenIn(t, person.device.Client, room, 3)

	// Another machine of the fleet signs its device with the same key.
	second := *b
	second.matrix, second.env.Folder = nil, t.TempDir()
	second.reopen(t)
	t.Cleanup(func() { _ = second.Close() })
	second.send(t, to(room.String(), recentNote()))
	if second.device.DeviceID == b.device.DeviceID {
		t.Fatal("two machines are one device")
	}
	opened(t, person, writtenIn(t, person.device.Client, room, 4)[0], &since)
	_, verified, err := second.device.crypt.machine.GetOwnVerificationStatus(t.Context())
	if err != nil || !verified {
		t.Errorf("the second machine's device is not verified: %v", err)
	}

	// A person links the chat by encrypted words, and is answered so.
	b.listening(t)
	write := matrixPlace{room: room, encrypted: true, device: person.device}
	ask := &matrixEvent{MessageEventContent: &mevent.MessageEventContent{MsgType: mevent.MsgText, Body: "link CODE"}}
	if _, err := write.put(t.Context(), ask, "ask"); err != nil {
		t.Fatal(err)
	}
	answer := opened(t, person, writtenIn(t, person.device.Client, room, 6)[0], &since)
	linked, err := b.links.Of(t.Context(), "+4930123456")
	if answer.MsgType != mevent.MsgNotice || err != nil || linked != room.String() {
		t.Errorf("answer %+v", answer)
	}
}

// A device whose keys are gone goes on as a new one.
func matrixKeysGone(t *testing.T, d *dendrite) {
	b, person, room := sealedRoom(t, d, "gone")
	b.send(t, to(room.String(), recentNote()))
	since := ""
	for round, lose := range []func() error{
		func() error { // here
			return errors.Join(b.Close(), os.Remove(filepath.Join(b.env.Folder, "keys-"+string(b.kept().Device)+".db")))
		},
		func() error { // at the server
			_, err := b.device.Logout(t.Context())
			return err
		},
	} {
		old := b.kept().Device
		if err := lose(); err != nil {
			t.Fatal(err)
		}
		b.send(t, to(room.String(), recentNote()))
		if b.device.DeviceID == old {
			t.Errorf("round %d: the device is still %s", round, old)
		}
		opened(t, person, writtenIn(t, person.device.Client, room, 2+round)[0], &since)
	}
	devices, err := b.device.GetDevicesInfo(t.Context())
	if err != nil || len(devices.Devices) != 2 { // of the account's making, and the last
		t.Errorf("devices %+v, error %v", devices, err)
	}
}

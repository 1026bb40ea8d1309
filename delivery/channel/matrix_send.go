package channel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto/attachment"
	mevent "maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/afterbeep/afterbeep/delivery"
)

// Send writes the note into its room. What can be mended at once is, one time:
// a login that the server has ended, a room that the account was invited into
// again.
func (m *matrix) Send(ctx context.Context, p delivery.Parcel) (delivery.Receipt, error) {
	d, err := m.open(ctx)
	var receipt delivery.Receipt
	if err == nil {
		receipt, err = m.write(ctx, d, p)
		_, out := errors.AsType[notInRoomError](err)
		switch {
		case m.o.Password != "" && refused(err, mautrix.MUnknownToken):
			if d, err = m.renew(ctx, d); err == nil {
				receipt, err = m.write(ctx, d, p)
			}
		case out:
			receipt, err = m.write(ctx, d, p)
		}
	}
	if err != nil {
		receipt, failed := m.failed(err, p.Note)
		return receipt, failed
	}
	return receipt, nil
}

// write is one attempt. A repeat looks first whether the note is there already:
// a server knows transactions only while it runs and the login lasts.
func (m *matrix) write(ctx context.Context, d *matrixDevice, p delivery.Parcel) (delivery.Receipt, error) {
	to, err := m.place(ctx, d, p)
	if err != nil {
		return delivery.Receipt{}, err
	}
	doubtful := false
	if p.Repeat || p.Attempt > 1 {
		found, sure, err := m.find(ctx, d, to.room, p)
		if err != nil {
			return delivery.Receipt{}, err
		}
		if found != "" {
			return delivery.Receipt{ID: found.String(), Detail: "an earlier attempt had arrived"}, nil
		}
		doubtful = p.Repeat && !sure
	}
	message := matrixMessage(p.Note, doubtful)
	message.Job = p.Key
	if err := m.attach(ctx, to, p, message); err != nil {
		return delivery.Receipt{}, err
	}
	if err := m.follow(ctx, to, p.Note, message); err != nil {
		return delivery.Receipt{}, err
	}
	// Before the note: its read receipt may be quicker than the answer.
	m.env.remember(ctx, delivery.Entry{Key: matrixKey("unread", to.room.String()), Value: []byte(p.Key), For: matrixLife, Mailbox: p.Note.Recipient.Number, Note: p.Note.ID})
	sent, err := to.put(ctx, message, p.Key)
	if err != nil {
		return delivery.Receipt{}, err
	}
	if sent != "" && to.ghost == nil {
		m.env.remember(ctx, delivery.Entry{Key: callerKey(to, p.Note), Value: []byte(sent), For: matrixLife, Mailbox: p.Note.Recipient.Number, Note: p.Note.ID})
	}
	return delivery.Receipt{ID: sent.String(), Detail: "200 OK"}, nil
}

// put writes a message into the room, encrypted where the room is. The same
// transaction is one event, as long as the server runs and the login lasts.
func (to matrixPlace) put(ctx context.Context, message *matrixEvent, transaction string) (id.EventID, error) {
	kind, content := mevent.EventMessage, any(message)
	if to.encrypted {
		sealed, err := to.device.crypt.encrypt(ctx, to.device, to.room, message)
		if err != nil {
			return "", err
		}
		// The job's id stays readable: it says nothing, and finds the event again.
		sealed["app.afterbeep.job"] = message.Job
		kind, content = mevent.EventEncrypted, sealed
	}
	sent, err := to.sender().SendMessageEvent(ctx, to.room, kind, content, mautrix.ReqSendEvent{TransactionID: transaction, DontEncrypt: true})
	answered, _ := errors.AsType[mautrix.HTTPError](err)
	_, garbled := errors.AsType[*json.SyntaxError](err)
	switch well := answered.Response != nil && answered.Response.StatusCode == http.StatusOK; {
	case err == nil && sent.EventID == "", well && garbled:
		return "", &delivery.SendError{
			Outcome: delivery.Retry, Status: http.StatusOK, Credentials: true, Err: errors.New("what answers there is no homeserver; see homeserver"),
		}
	case well:
		return "", nil // the status has decided; an answer that breaks off changes nothing
	}
	if refused(err, mautrix.MForbidden) && to.ghost == nil {
		return "", to.device.thrownOut(to.room, err)
	}
	if err != nil {
		return "", carryingError{to.blame(err)}
	}
	return sent.EventID, nil
}

// find looks for the event of an earlier attempt, back to before the note was
// made. sure says that it would have been seen.
func (m *matrix) find(ctx context.Context, d *matrixDevice, room id.RoomID, p delivery.Parcel) (found id.EventID, sure bool, err error) {
	const (
		pages  = 20
		size   = 100
		clocks = time.Hour // by how much the server's may differ from ours
	)
	from := ""
	for range pages {
		page, err := d.Messages(ctx, room, from, "", mautrix.DirectionBackward, nil, size)
		if err != nil {
			return "", false, err
		}
		for _, e := range page.Chunk {
			if m.jobOf(e) == p.Key {
				return e.ID, true, nil
			}
			if at := sentAt(e); !at.IsZero() && !p.Note.EndedAt.IsZero() && at.Before(p.Note.EndedAt.Add(-clocks)) {
				return "", true, nil
			}
		}
		if len(page.Chunk) == 0 || page.End == "" || page.End == from {
			return "", true, nil
		}
		from = page.End
	}
	return "", false, nil
}

// sentAt is when the server took an event; zero when it does not say.
func sentAt(e *mevent.Event) time.Time {
	if e == nil || e.Timestamp == 0 {
		return time.Time{}
	}
	return time.UnixMilli(e.Timestamp)
}

// jobOf is the job whose note an event of ours carries; "" for all others.
func (m *matrix) jobOf(e *mevent.Event) string {
	if e == nil {
		return ""
	}
	job, _ := e.Content.Raw["app.afterbeep.job"].(string)
	if !m.ours(e.Sender) || !delivery.ValidID(job) {
		return ""
	}
	return job
}

// upload is where a note's file lies on the server.
type upload struct {
	URL  id.ContentURIString       `json:"url,omitempty"`
	File *attachment.EncryptedFile `json:"file,omitempty"` // its key, in an encrypted room
}

// maxMatrixFile is how much of a file is held in memory; a server's own limit
// is often 50 or 100 MB.
const maxMatrixFile = 100 << 20

// attach puts the note's file on the server, once for all attempts of a day,
// and into the message.
func (m *matrix) attach(ctx context.Context, to matrixPlace, p delivery.Parcel, message *matrixEvent) error {
	if p.Note.Kind == delivery.Missed {
		return nil
	}
	key := matrixKey("upload", p.Note.ID, to.room.String())
	known, err := m.env.recall(ctx, key)
	if err != nil {
		return err
	}
	var u upload
	if known == "" || json.Unmarshal([]byte(known), &u) != nil || u.URL == "" || (u.File != nil) != to.encrypted {
		if u, err = to.upload(ctx, p); err != nil {
			return err
		}
		text, err := json.Marshal(u)
		if err != nil {
			return fmt.Errorf("an upload cannot be remembered: %w", err)
		}
		m.env.remember(ctx, delivery.Entry{Key: key, Value: text, For: 24 * time.Hour, Mailbox: p.Note.Recipient.Number, Note: p.Note.ID})
	}
	if u.File != nil {
		message.File = &mevent.EncryptedFileInfo{EncryptedFile: *u.File, URL: u.URL}
		return nil
	}
	message.URL = u.URL
	return nil
}

// upload sends the note's file to the server.
func (to matrixPlace) upload(ctx context.Context, p delivery.Parcel) (upload, error) {
	if p.Note.Media.Bytes > maxMatrixFile {
		return upload{}, &delivery.SendError{Outcome: delivery.Dead, Err: fmt.Errorf("the file has %d bytes, at most %d are sent", p.Note.Media.Bytes, maxMatrixFile)}
	}
	content, err := readNote(ctx, p)
	if err != nil {
		return upload{}, err
	}
	var u upload
	kind := bareType(p.Note.Media.Type)
	if to.encrypted {
		u.File = attachment.NewEncryptedFile()
		u.File.EncryptInPlace(content)
		kind = "application/octet-stream"
	}
	answer, err := to.sender().UploadBytes(ctx, content, kind)
	if err != nil {
		return upload{}, to.blame(err)
	}
	if u.URL = answer.ContentURI.CUString(); u.URL == "" {
		return upload{}, &delivery.SendError{Outcome: delivery.Retry, Status: http.StatusOK, Err: errors.New("the homeserver took the file and gave it no address")}
	}
	return u, nil
}

// follow makes a caller's notes a chain of replies, where the caller has no
// user of their own.
func (m *matrix) follow(ctx context.Context, to matrixPlace, n delivery.Note, message *matrixEvent) error {
	if to.ghost != nil || n.Caller.Private || n.Caller.Number == "" {
		return nil
	}
	last, err := m.env.recall(ctx, callerKey(to, n))
	if err == nil && last != "" {
		message.RelatesTo = (&mevent.RelatesTo{}).SetReplyTo(id.EventID(last))
	}
	return err
}

func callerKey(to matrixPlace, n delivery.Note) string {
	return matrixKey("caller", to.room.String(), n.Caller.Number)
}

package channel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"maunium.net/go/mautrix"
	mevent "maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/afterbeep/afterbeep/delivery"
)

// How long a sync waits for news, the first for all there is, and the listener
// after a failure.
const (
	syncFirst    = 5 * time.Minute
	syncPatience = 30 * time.Second
	syncPause    = 2 * time.Second
	syncMaxPause = time.Minute
)

// syncFilter leaves out what is not listened to (Client-Server API 6.2).
const syncFilter = `{"presence":{"not_types":["*"]},"room":{"timeline":{"limit":50},"ephemeral":{"types":["m.receipt"]},"account_data":{"not_types":["*"]}}}`

// Run listens to the account's rooms: to read receipts, invitations, and what
// people write to it. Each machine of a fleet listens with its own device.
func (m *matrix) Run(ctx context.Context) error {
	pause := syncPause
	for ctx.Err() == nil {
		began := time.Now()
		if err := m.listen(ctx); ctx.Err() == nil {
			m.env.Log.Warn("matrix: listening failed, trying again", "channel", m.env.Name, "error", m.failure(err))
		}
		if time.Since(began) > syncMaxPause {
			pause = syncPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, syncMaxPause)
	}
	return nil
}

// listen follows one login until something fails.
func (m *matrix) listen(ctx context.Context) error {
	d, err := m.open(ctx)
	if err != nil {
		return err
	}
	key := matrixKey("sync", d.DeviceID.String())
	since, err := m.recall(ctx, key)
	if err != nil {
		return err
	}
	ear := &matrixEar{matrix: m, device: d}
	for {
		answer, err := ear.ask(ctx, since)
		if refused(err, mautrix.MUnknownToken) && m.o.Password != "" {
			_, err := m.renew(ctx, d)
			return errors.Join(errors.New("the login had ended"), err)
		}
		if err != nil {
			return err
		}
		if err := ear.hear(ctx, answer, since); err != nil {
			return err
		}
		// Only now: what was not kept is told again.
		if err := m.env.Memory.Put(ctx, delivery.Entry{Key: key, Value: []byte(answer.NextBatch)}); err != nil {
			return fmt.Errorf("the place in the sync cannot be kept: %w", err)
		}
		since = answer.NextBatch
	}
}

// matrixEar hears one login.
type matrixEar struct {
	*matrix
	device *matrixDevice
	locked []lockedEvent // whose keys have not come yet
}

// lockedEvent is a message that is tried again with each answer, for a minute.
type lockedEvent struct {
	*mevent.Event
	until time.Time
}

// ask waits for news since a point of the sync; "" asks for all there is.
func (e *matrixEar) ask(ctx context.Context, since string) (*mautrix.RespSync, error) {
	patience := syncFirst
	request := mautrix.ReqSync{Since: since, FilterID: syncFilter, SetPresence: mevent.PresenceOffline}
	if since != "" {
		patience = 2 * syncPatience
		request.Timeout = int(syncPatience.Milliseconds())
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return e.device.FullSyncRequest(ctx, request)
}

// hear goes through an answer. Its error means that something was not kept,
// and has to be heard again; nothing is done twice by that.
func (e *matrixEar) hear(ctx context.Context, answer *mautrix.RespSync, since string) error {
	tidy(answer)
	e.device.crypt.heard(ctx, answer, since)
	for room, invited := range answer.Rooms.Invite {
		if err := e.invited(ctx, room, invited.State.Events); err != nil {
			return err
		}
	}
	waiting := e.locked
	e.locked = nil
	for _, locked := range waiting {
		if err := e.message(ctx, locked.Event, locked.until); err != nil {
			return err
		}
	}
	for room, joined := range answer.Rooms.Join {
		if err := e.room(ctx, room, joined, since == ""); err != nil {
			return err
		}
	}
	return nil
}

// room goes through what came in one room. At the first sync that may be its
// history.
func (e *matrixEar) room(ctx context.Context, room id.RoomID, joined *mautrix.SyncJoinedRoom, first bool) error {
	for _, message := range joined.Timeline.Events {
		old := first && time.Since(sentAt(message)) > 10*time.Minute
		if old || message.StateKey != nil || !readable(message, room, mevent.MessageEventType) {
			continue
		}
		if err := e.message(ctx, message, time.Now().Add(time.Minute)); err != nil {
			return err
		}
	}
	for _, receipt := range joined.Ephemeral.Events {
		if receipt.Type.Type != mevent.EphemeralEventReceipt.Type || !readable(receipt, room, mevent.EphemeralEventType) {
			continue
		}
		if err := e.receipts(ctx, room, receipt); err != nil {
			return err
		}
	}
	return nil
}

// tidy takes the nulls out of an answer: what stays can be looked at.
func tidy(answer *mautrix.RespSync) {
	null := func(e *mevent.Event) bool { return e == nil }
	answer.ToDevice.Events = slices.DeleteFunc(answer.ToDevice.Events, null)
	maps.DeleteFunc(answer.Rooms.Join, func(_ id.RoomID, r *mautrix.SyncJoinedRoom) bool { return r == nil })
	maps.DeleteFunc(answer.Rooms.Invite, func(_ id.RoomID, r *mautrix.SyncInvitedRoom) bool { return r == nil })
	for _, r := range answer.Rooms.Join {
		r.State.Events = slices.DeleteFunc(r.State.Events, null)
		r.Timeline.Events = slices.DeleteFunc(r.Timeline.Events, null)
		r.Ephemeral.Events = slices.DeleteFunc(r.Ephemeral.Events, null)
	}
	for _, r := range answer.Rooms.Invite {
		r.State.Events = slices.DeleteFunc(r.State.Events, null)
	}
}

// readable completes an event that came by sync, and parses its content.
func readable(e *mevent.Event, room id.RoomID, class mevent.TypeClass) bool {
	e.RoomID, e.Type.Class = room, class
	err := e.Content.ParseRaw(e.Type)
	return err == nil || errors.Is(err, mevent.ErrContentAlreadyParsed)
}

// invited joins a direct chat: that is how people reach the account. Into
// other rooms it goes when a note is for them.
func (e *matrixEar) invited(ctx context.Context, room id.RoomID, state []*mevent.Event) error {
	for _, s := range state {
		if s.Type.Type != mevent.StateMember.Type || s.GetStateKey() != e.user.String() || !readable(s, room, mevent.StateEventType) {
			continue
		}
		member := s.Content.AsMember()
		if !member.IsDirect || member.Membership != mevent.MembershipInvite || e.ours(s.Sender) {
			continue
		}
		if _, err := e.device.JoinRoomByID(ctx, room); err != nil {
			if saysNo(err) {
				e.env.Log.Warn("matrix: an invitation could not be accepted", "channel", e.env.Name, "error", e.failure(err))
				continue
			}
			return err
		}
		e.device.joined.Store(room, true)
		err := e.env.Memory.Put(ctx, delivery.Entry{Key: directKey(s.Sender, e.user), Value: []byte(room)})
		if err != nil {
			return fmt.Errorf("a direct chat cannot be remembered: %w", err)
		}
	}
	return nil
}

// receipts reports what was read in a room. A receipt stands at one event, and
// says that all before it was read too.
func (e *matrixEar) receipts(ctx context.Context, room id.RoomID, receipt *mevent.Event) error {
	unread, err := e.recall(ctx, matrixKey("unread", room.String()))
	if err != nil || unread == "" {
		return err
	}
	for at, kinds := range *receipt.Content.AsReceipt() {
		for user, read := range kinds[mevent.ReceiptTypeRead] {
			if e.ours(user) {
				continue
			}
			if err := e.read(ctx, room, at, read.Timestamp, unread); err != nil {
				return err
			}
			break // one reader is enough
		}
	}
	return nil
}

// read reports the notes at an event and before it, back to the last that was
// reported.
func (e *matrixEar) read(ctx context.Context, room id.RoomID, at id.EventID, when time.Time, unread string) error {
	around, err := e.device.Context(ctx, room, at, nil, 100)
	if err != nil {
		if saysNo(err) {
			e.env.Log.Warn("matrix: what was read could not be looked up", "channel", e.env.Name, "error", e.failure(err))
			return nil
		}
		return err
	}
	for _, message := range append([]*mevent.Event{around.Event}, around.EventsBefore...) { // the newest first
		if e.jobOf(message) == "" {
			continue
		}
		job, key := e.jobOf(message), matrixKey("read", message.ID.String())
		if known, err := e.recall(ctx, key); err != nil || known != "" {
			return err
		}
		err := e.env.Report(ctx, delivery.Report{Job: job, What: delivery.WasRead, At: when})
		if err != nil && !errors.Is(err, delivery.ErrNotFound) {
			return fmt.Errorf("a read receipt is not kept: %w", err)
		}
		if err := e.env.Memory.Put(ctx, delivery.Entry{Key: key, Value: []byte("1"), For: matrixLife}); err != nil {
			return fmt.Errorf("a read receipt is not remembered: %w", err)
		}
		if job == unread {
			if err := e.env.Memory.Delete(ctx, matrixKey("unread", room.String())); err != nil {
				return fmt.Errorf("a read receipt is not remembered: %w", err)
			}
		}
	}
	return nil
}

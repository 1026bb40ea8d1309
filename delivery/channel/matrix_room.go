package channel

import (
	"context"
	"errors"
	"fmt"

	"maunium.net/go/mautrix"
	mevent "maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/afterbeep/afterbeep/delivery"
)

// matrixPlace is a room, and who writes there.
type matrixPlace struct {
	room      id.RoomID
	encrypted bool
	device    *matrixDevice
	ghost     *mautrix.Client // the caller's own user; nil for the account itself
}

func (to matrixPlace) sender() *mautrix.Client {
	if to.ghost != nil {
		return to.ghost
	}
	return to.device.Client
}

// blame names the application service where it was refused.
func (to matrixPlace) blame(err error) error {
	if to.ghost != nil {
		return asService(err)
	}
	return err
}

// place is where a parcel goes.
func (m *matrix) place(ctx context.Context, d *matrixDevice, p delivery.Parcel) (matrixPlace, error) {
	address := p.Address
	if address == "" {
		var err error
		if address, err = m.env.linkedChat(ctx, p.Note.Recipient.Number, "@maria:example.org"); err != nil {
			return matrixPlace{}, err
		}
		if !matrixAddress.MatchString(address) {
			return matrixPlace{}, &delivery.SendError{Outcome: delivery.Dead, Err: errors.New("the chat that the mailbox has linked is not of Matrix; link one anew on its inbox page")}
		}
	}
	to := matrixPlace{device: d, room: id.RoomID(address)}
	ghost := m.ghost(p.Note)
	var err error
	switch address[0] {
	case '@':
		to.ghost = ghost
		to.room, err = m.chatWith(ctx, to, id.UserID(address), p.Note)
	case '#':
		var found *mautrix.RespAliasResolve
		if found, err = d.ResolveAlias(ctx, id.RoomAlias(address)); err == nil {
			to.room = found.RoomID
		}
	}
	if err != nil {
		return to, err
	}
	if to.encrypted, err = encryptedRoom(ctx, d, to.room); err != nil {
		return to, err
	}
	switch {
	case to.encrypted && d.crypt == nil:
		return to, &delivery.SendError{Outcome: delivery.Dead, Err: d.clearOnly}
	case to.encrypted:
		to.ghost = nil // its keys would be one more device to trust
	case ghost != nil && to.ghost == nil:
		to.ghost, err = m.enterAs(ctx, d, ghost, to.room, p.Note)
	}
	return to, err
}

// encryptedRoom asks for each note: nothing must go in clear into a room that
// was encrypted meanwhile. An invitation that waits is accepted before: what a
// server tells of a room to those who are not in it is not to be trusted.
func encryptedRoom(ctx context.Context, d *matrixDevice, room id.RoomID) (bool, error) {
	if _, joined := d.joined.Load(room); !joined {
		if _, err := d.JoinRoomByID(ctx, room); err != nil {
			return false, err
		}
		d.joined.Store(room, true)
	}
	encrypted, err := encryptionOf(ctx, d, room)
	if refused(err, mautrix.MForbidden) {
		err = d.thrownOut(room, err)
	}
	return encrypted, err
}

// thrownOut forgets that the account is in a room that refuses it: it may have
// been invited anew. The error says to try once more.
func (d *matrixDevice) thrownOut(room id.RoomID, err error) error {
	d.joined.Delete(room)
	return notInRoomError{err}
}

// notInRoomError is the error of a room that the account is no longer in.
type notInRoomError struct{ error }

func (n notInRoomError) Unwrap() error { return n.error }

func encryptionOf(ctx context.Context, d *matrixDevice, room id.RoomID) (bool, error) {
	var content mevent.EncryptionEventContent
	err := d.StateEvent(ctx, room, mevent.StateEncryption, "", &content)
	if refused(err, mautrix.MNotFound) {
		return false, nil
	}
	return err == nil, err
}

// chatWith is the direct chat with a user, made where there is none that the
// user has not left: the account's one, or the ghost's.
func (m *matrix) chatWith(ctx context.Context, to matrixPlace, user id.UserID, n delivery.Note) (id.RoomID, error) {
	room, err := m.knownChat(ctx, to, user)
	if room != "" || err != nil {
		return room, err
	}
	if err := m.making.take(ctx); err != nil {
		return "", err
	}
	defer m.making.giveBack()
	room, err = m.knownChat(ctx, to, user) // another may have been quicker
	if room != "" || err != nil {
		return room, err
	}
	if _, err := to.sender().GetProfile(ctx, user); refused(err, mautrix.MNotFound) {
		return "", err // a server would invite whom it does not have
	}
	request := &mautrix.ReqCreateRoom{Preset: "trusted_private_chat", IsDirect: true, Invite: []id.UserID{user}}
	if to.ghost != nil {
		if err := m.register(ctx, to.ghost, n); err != nil {
			return "", err
		}
		request.Name = ghostName(n)
		request.Invite = append(request.Invite, m.user) // to hear of what was read
	} else if to.device.crypt != nil {
		request.InitialState = []*mevent.Event{{
			Type:    mevent.StateEncryption,
			Content: mevent.Content{Parsed: &mevent.EncryptionEventContent{Algorithm: id.AlgorithmMegolmV1}},
		}}
	}
	made, err := to.sender().CreateRoom(ctx, request)
	if err != nil {
		return "", to.blame(err)
	}
	chat := delivery.Entry{Key: directKey(user, to.sender().UserID), Value: []byte(made.RoomID)}
	if to.ghost != nil {
		chat.Mailbox, chat.Note = n.Recipient.Number, n.ID
	}
	if err := m.env.Memory.Put(ctx, chat); err != nil {
		return "", fmt.Errorf("the new chat cannot be remembered: %w", err)
	}
	return made.RoomID, nil
}

// knownChat is the direct chat that is remembered, "" when there is none or the
// user has left it.
func (m *matrix) knownChat(ctx context.Context, to matrixPlace, user id.UserID) (id.RoomID, error) {
	known, err := m.env.recall(ctx, directKey(user, to.sender().UserID))
	if err != nil || known == "" {
		return "", err
	}
	there, err := stays(ctx, to.device, id.RoomID(known), user)
	if err != nil || !there {
		return "", err
	}
	return id.RoomID(known), nil
}

func directKey(user, writer id.UserID) string {
	return matrixKey("direct", user.String(), writer.String())
}

// stays says that a user is in a room, or invited into it. The account joins
// what it was invited into to find out.
func stays(ctx context.Context, d *matrixDevice, room id.RoomID, user id.UserID) (bool, error) {
	if _, err := encryptedRoom(ctx, d, room); err != nil {
		if refused(err, mautrix.MForbidden) || refused(err, mautrix.MNotFound) {
			return false, nil
		}
		return false, err
	}
	var member mevent.MemberEventContent
	err := d.StateEvent(ctx, room, mevent.StateMember, user.String(), &member)
	if refused(err, mautrix.MNotFound) {
		return false, nil
	}
	return member.Membership == mevent.MembershipJoin || member.Membership == mevent.MembershipInvite, err
}

package channel

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	mevent "maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/afterbeep/afterbeep/delivery"
)

// directInvite is an invitation to a direct chat: that is how people reach the account.
// Into other rooms it goes when a note is for them.
type directInvite struct {
	room id.RoomID
	from id.UserID // as the room says it, which anybody's server may have written
}

// Anybody can invite the account, as often as he likes, into rooms of servers
// that never answer: this is what is done about it beside the listening.
const (
	mostInvitations = 100 // that wait; what is over is left alone
	acceptWithin    = 30 * time.Second
	acceptApart     = time.Second
	acceptTries     = 3
)

// invited queues an invitation to a direct chat.
func (e *matrixEar) invited(room id.RoomID, state []*mevent.Event) {
	for _, s := range state {
		if s.Type.Type != mevent.StateMember.Type || s.GetStateKey() != e.user.String() || !readable(s, room, mevent.StateEventType) {
			continue
		}
		member := s.Content.AsMember()
		if !member.IsDirect || member.Membership != mevent.MembershipInvite || e.ours(s.Sender) {
			continue
		}
		select {
		case e.invitations <- directInvite{room, s.Sender}:
		default:
			e.env.Log.Warn("there are more invitations than can be accepted; one is left alone")
		}
	}
}

// acceptAll accepts what is queued until ctx ends.
func (e *matrixEar) acceptAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case i := <-e.invitations:
			_ = e.unharmed(func() error { e.accept(ctx, i); return nil })
			rest(ctx, acceptApart)
		}
	}
}

// accept joins a room, with some patience for a server that is busy.
func (e *matrixEar) accept(ctx context.Context, i directInvite) {
	for try := 1; ; try++ {
		err := e.join(ctx, i)
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case try == acceptTries || saysNo(err):
			e.env.Log.Warn("an invitation could not be accepted", "error", e.failure(err))
			return
		}
		rest(ctx, time.Duration(try)*5*acceptApart)
	}
}

// join makes a room that its creator has invited the account into their direct
// chat. Who invites is not enough: a server can say that it was another's user,
// whose notes would go there.
func (e *matrixEar) join(ctx context.Context, i directInvite) error {
	ctx, cancel := context.WithTimeout(ctx, acceptWithin)
	defer cancel()
	if _, err := e.device.JoinRoomByID(ctx, i.room); err != nil {
		return err
	}
	e.device.joined.Store(i.room, true)
	created, err := e.device.FullStateEvent(ctx, i.room, mevent.StateCreate, "")
	if err != nil {
		return err
	}
	if created == nil || created.Sender != i.from {
		return nil
	}
	if err := e.env.Memory.Put(ctx, delivery.Entry{Key: directKey(i.from, e.user), Value: []byte(i.room)}); err != nil {
		return fmt.Errorf("a direct chat cannot be remembered: %w", err)
	}
	return nil
}

// unharmed goes on after a panic over what came from outside: heard again it
// would do the same.
func (e *matrixEar) unharmed(do func() error) error {
	defer func() {
		if recover() != nil { // its value may quote what was heard
			e.env.Log.Error("something that was heard caused a panic; it is passed over", "stack", string(debug.Stack()))
		}
	}()
	return do()
}

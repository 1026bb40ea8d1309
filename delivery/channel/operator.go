package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// OperatorOptions are the settings of the webhook that tells the operator what
// became of notes.
type OperatorOptions struct {
	URL    string `yaml:"url" required:"true" secret:"true" help:"where the operator is told, like a monitoring system's webhook" example:"https://ops.example/afterbeep"`
	Secret string `yaml:"secret" required:"true" secret:"true" help:"signs each request: whsec_ and the base64 of 24 to 64 random bytes" example:"${OPERATOR_SECRET}"`
	Events Events `yaml:"events" help:"what is told: note.dead, note.delivered, note.read, note.played (default all)" example:"[note.dead]"`
	HTTP   `hidden:"api_url|ack|within"`
}

// Events are what the operator wants to be told of; none of them stands for
// all.
type Events []string

// All are the events that are told.
func (e Events) All() []string {
	if len(e) == 0 {
		return operatorEvents()
	}
	return e
}

// operatorEvents are all events that there are.
func operatorEvents() []string {
	return []string{delivery.EventDead, delivery.EventDelivered, delivery.EventRead, delivery.EventPlayed}
}

// check returns what is wrong with the events, or nil.
func (e Events) check() error {
	for _, event := range e {
		if !slices.Contains(operatorEvents(), event) {
			return &settingError{"events", fmt.Sprintf("%q is no event: take any of %s", event, strings.Join(operatorEvents(), ", "))}
		}
	}
	return nil
}

// Validate returns everything that is wrong with the settings, joined, or nil.
func (o *OperatorOptions) Validate() error {
	return errors.Join(append(checkHook(o.URL, o.Secret, o.HTTP), o.Events.check())...)
}

// Open makes the channel.
func (o *OperatorOptions) Open(env Env) (delivery.Channel, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	h, err := openHook(o.URL, o.Secret, o.HTTP, env)
	if err != nil {
		return nil, err
	}
	return &operator{h}, nil
}

// operator tells what happened to a note: neither its audio nor who called.
type operator struct{ *hook }

// notice is what the operator's receiver reads.
type notice struct {
	Type      string     `json:"type"`      // what happened, like note.dead
	Timestamp time.Time  `json:"timestamp"` // RFC 3339, when it happened
	Data      noticeNote `json:"data"`
}

type noticeNote struct {
	ID       string        `json:"id"`
	Kind     delivery.Kind `json:"kind"`
	Mailbox  string        `json:"mailbox"`
	CalledAt time.Time     `json:"called_at"` // RFC 3339, when the INVITE came
	Channel  string        `json:"channel"`   // where it happened, like the last of a chain
}

// Send posts the notice that the parcel's address, EVENT/CHANNEL, asks for.
func (o *operator) Send(ctx context.Context, p delivery.Parcel) (delivery.Receipt, error) {
	happened, where, _ := strings.Cut(p.Address, "/")
	at := delivery.MintedAt(p.Key) // the job was made by the commit that this tells of
	var body bytes.Buffer
	err := encodeJSON(&body, notice{happened, milliseconds(at), noticeNote{
		ID: p.Note.ID, Kind: p.Note.Kind, Mailbox: clip(p.Note.Recipient.Number), CalledAt: milliseconds(p.Note.CalledAt), Channel: where,
	}})
	if err != nil {
		return delivery.Receipt{}, &delivery.SendError{Outcome: delivery.Dead, Err: err}
	}
	return o.post(ctx, p, body.Bytes(), "application/json")
}

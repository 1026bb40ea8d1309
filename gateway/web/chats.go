package web

import "github.com/afterbeep/afterbeep/delivery"

// Linkable is a channel whose chats mailboxes can link to themselves.
type Linkable struct {
	delivery.Linkable                // the channel
	Chats             delivery.Chats // what is linked at it
	Type              string         // of the channel, like "telegram"
}

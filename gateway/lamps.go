package main

import (
	"context"

	"github.com/afterbeep/afterbeep/gateway/lamp"
)

// lampMemory is where the machines agree on who tells a lamp again. No channel
// of the configuration file can have this name.
const lampMemory = "lamp:refresh"

// tellLamps tells the trunks that want it what waits in the mailboxes, until
// ctx ends.
func (g *gateway) tellLamps(ctx context.Context) {
	g.lamps.Run(ctx, lamp.Rooms{
		Inbox: g.store, Recipients: g.store.Recipients, Memory: g.store.Memory(lampMemory), Notify: g.sip.Notify,
	})
}

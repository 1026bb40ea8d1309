package main

import (
	"context"

	"github.com/afterbeep/afterbeep/gateway/lamp"
	"github.com/afterbeep/afterbeep/gateway/web"
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

// readLamps wires what the metrics tell of message lamps.
func (g *gateway) readLamps() {
	g.metrics.ReadFunc(web.LampPeers, func(context.Context) (map[string]float64, error) {
		return map[string]float64{"": float64(g.sip.Stats().Subscriptions)}, nil
	})
	g.metrics.ReadFunc(web.LampNotices, func(context.Context) (map[string]float64, error) {
		stats := g.sip.Stats()
		return map[string]float64{"taken": float64(stats.Notified), "failed": float64(stats.Unnotified)}, nil
	})
}

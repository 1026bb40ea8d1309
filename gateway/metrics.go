package main

import (
	"context"

	"github.com/afterbeep/afterbeep/delivery/store"
	"github.com/afterbeep/afterbeep/gateway/call"
	"github.com/afterbeep/afterbeep/gateway/web"
	"github.com/afterbeep/afterbeep/media"
)

// readMetrics wires what is read when the metrics are asked for.
func (g *gateway) readMetrics() {
	one := func(read func() float64) func(context.Context) (map[string]float64, error) {
		return func(context.Context) (map[string]float64, error) { return map[string]float64{"": read()}, nil }
	}
	g.metrics.ReadFunc(web.ActiveCalls, one(func() float64 { return float64(g.sip.Active()) }))
	g.metrics.ReadFunc(web.Strangers, one(func() float64 { return float64(g.sip.Stats().Strangers) }))
	g.metrics.ReadFunc(web.LateInvites, one(func() float64 { return float64(g.sip.Stats().Late) }))
	g.metrics.ReadFunc(web.LoginsRefused, one(func() float64 { return float64(g.sip.Stats().Logins) }))
	g.metrics.ReadFunc(web.AccountUp, g.accountsUp)
	g.metrics.ReadFunc(web.TurnedAway, func(context.Context) (map[string]float64, error) {
		return numbers(g.sip.Stats().TurnedAway), nil
	})
	g.readLamps()
	g.metrics.ReadFunc(web.Unready, one(func() float64 { return float64(g.sip.Stats().Unready) }))
	g.metrics.ReadFunc(web.HeldUp, one(func() float64 { return float64(g.path.HeldUp() + g.store.Stuck()) }))
	g.metrics.ReadFunc(web.Mailboxes, one(func() float64 { return float64(g.directory.Standing().Mailboxes) }))
	g.metrics.ReadFunc(web.DirectoryUp, one(func() float64 { return flag(g.directory.Standing().Up) }))
	g.metrics.ReadFunc(web.Questions, func(context.Context) (map[string]float64, error) {
		s := g.directory.Standing()
		return map[string]float64{"found": float64(s.Found), "none": float64(s.None), "failed": float64(s.Failed)}, nil
	})
	g.metrics.ReadFunc(web.StoreFree, func(context.Context) (map[string]float64, error) {
		free, err := g.store.Free()
		return map[string]float64{"": float64(free)}, err
	})
	g.metrics.ReadFunc(web.StoreFailed, one(func() float64 { return flag(g.store.Failed()) }))
	if g.fleet != nil {
		g.readShared()
	}
	g.metrics.ReadFunc(web.QueueDepth, func(ctx context.Context) (map[string]float64, error) {
		depth, err := g.store.Depth(ctx)
		return numbers(depth), err
	})
}

// readShared wires how this machine stands with the others.
func (g *gateway) readShared() {
	for name, value := range map[string]func(store.Standing) float64{
		web.SharedUp:          func(s store.Standing) float64 { return flag(s.Up) },
		web.SharedGate:        func(s store.Standing) float64 { return flag(s.Gate) },
		web.SharedMachines:    func(s store.Standing) float64 { return float64(s.Machines) },
		web.SharedUnpublished: func(s store.Standing) float64 { return float64(s.Unpublished) },
	} {
		g.metrics.ReadFunc(name, func(ctx context.Context) (map[string]float64, error) {
			s, err := g.fleet.Standing(ctx)
			return map[string]float64{"": value(s)}, err
		})
	}
}

// numbers are counts as metrics have them.
func numbers[N int | uint64](counts map[string]N) map[string]float64 {
	out := make(map[string]float64, len(counts))
	for label, n := range counts {
		out[label] = float64(n)
	}
	return out
}

func flag(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// callMetrics tells the metrics what becomes of calls.
type callMetrics struct{ *web.Metrics }

func (m callMetrics) CallEnded(o call.Outcome) { m.Metrics.CallEnded(string(o)) }

func (m callMetrics) Received(s media.Stats) {
	m.Metrics.Received(web.Reception{Bytes: s.Bytes, Foreign: s.Foreign, Invalid: s.Invalid, Excess: s.Excess})
}

func (m callMetrics) Rendered(f media.Facts) {
	m.Metrics.Rendered(web.Rendering{
		Packets: f.Packets, Lost: f.Lost, Late: f.Late, Concealed: f.Concealed, Frames: f.Frames, Encoder: f.Encoder, Lag: f.Lag,
	})
}

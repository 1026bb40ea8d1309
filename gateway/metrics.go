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
	g.metrics.ReadFunc(web.Unready, one(func() float64 { return float64(g.sip.Stats().Unready) }))
	g.metrics.ReadFunc(web.HeldUp, one(func() float64 { return float64(g.path.HeldUp()) }))
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
		out := map[string]float64{}
		for state, n := range depth {
			out[state] = float64(n)
		}
		return out, err
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
	m.Metrics.Received(web.Reception{Bytes: s.Bytes, Foreign: s.Foreign, Invalid: s.Invalid})
}

func (m callMetrics) Rendered(f media.Facts) {
	m.Metrics.Rendered(web.Rendering{
		Packets: f.Packets, Lost: f.Lost, Late: f.Late, Concealed: f.Concealed, Frames: f.Frames, Encoder: f.Encoder, Lag: f.Lag,
	})
}

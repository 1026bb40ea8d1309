package sip

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"
)

// BenchmarkCall places INVITE, 200, ACK, BYE, 200 over loopback, both ends in
// this process.
func BenchmarkCall(b *testing.B) {
	for _, network := range []string{"udp", "tcp"} {
		b.Run(network, func(b *testing.B) {
			s, err := Listen(Options{
				Listen: []ListenAddress{{network, netip.AddrPortFrom(loopback, 0)}},
				Trunks: []Trunk{{Name: "bench", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}},
				NewID:  func() string { return "id" },
			}, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			m := &media{}
			served := make(chan error, 1)
			go func() {
				served <- s.Serve(context.WithoutCancel(b.Context()), func(ctx context.Context, c *Call) {
					if c.Answer([]byte(testAnswer), m) == nil {
						<-ctx.Done()
					}
				})
			}()
			client := newTestClient(b)
			target := "sip:+4930123456@" + s.Addrs()[0].Addr.String()
			request := Request{Offer: []byte(testOffer), From: "+4940999", Transport: network}
			b.ReportAllocs()
			var slowest time.Duration
			for b.Loop() {
				d, err := client.Invite(b.Context(), target, request)
				if err != nil {
					b.Fatal(err)
				}
				if err := d.Bye(b.Context()); err != nil {
					b.Fatal(err)
				}
				slowest = max(slowest, d.Timing().Answer)
			}
			b.ReportMetric(float64(slowest.Microseconds()), "µs/slowest-answer")
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			if err := <-served; err != nil {
				b.Fatal(err)
			}
		})
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/sip"
)

func demoCommand() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use: "demo", Short: "Show it all on this machine: a call, and its note in the inbox", Args: arguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return demo(cmd.Context(), cmd.OutOrStdout(), once) },
	}
	cmd.Flags().BoolVar(&once, "once", false, "end when the note is delivered")
	return cmd
}

// The people of the demo; the numbers are set aside for fiction.
const (
	demoMailbox = "+493055501234"
	demoCaller  = "+491705550101"
)

// demo runs a gateway on loopback with its data in a temporary folder, calls
// it, and shows each step up to the note in the inbox. It stays up unless once.
func demo(ctx context.Context, out io.Writer, once bool) (err error) {
	dir, err := os.MkdirTemp("", "afterbeep-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	g, err := open(ctx, demoConfig(ctx, dir), log)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(g.run(running, running.Done()), g.close()) }()

	err = showDemo(ctx, out, g, once)
	stop()
	return errors.Join(err, <-ended)
}

// demoConfig listens on the usual ports, or on free ones where those are taken.
func demoConfig(ctx context.Context, dir string) *config.Config {
	cfg := config.Default()
	for i, l := range cfg.SIP.Listen {
		if tryListen(ctx, l.Network, l.Addr.String()) != nil {
			cfg.SIP.Listen[i].Addr = netip.AddrPortFrom(l.Addr.Addr(), 0)
		}
	}
	if tryListen(ctx, "tcp", cfg.HTTP.Listen.String()) != nil {
		cfg.HTTP.Listen = netip.AddrPortFrom(cfg.HTTP.Listen.Addr(), 0)
	}
	cfg.Store.Path = dir
	cfg.SIP.Trunks = []sip.Trunk{{Name: "demo", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Country: "DE"}}
	cfg.Mailboxes = []config.Mailbox{{
		Number: demoMailbox, Name: "Reception", Deliver: delivery.Chain{{Channel: config.Inbox}},
	}}
	return &cfg
}

func showDemo(ctx context.Context, out io.Writer, g *gateway, once bool) error {
	show := newSteps(out)
	_, _ = fmt.Fprint(out, "\nMaria calls Reception. Nobody answers, so the phone system forwards the call here.\n\n")
	show.say("gateway", "SIP on %s, inbox on http://%s", g.sip.Addrs()[0], g.http.Addr())

	said, err := loadSound("")
	if err != nil {
		return err
	}
	c, err := newCaller(g.sip.Addrs()[0].Addr.Addr(), []string{"PCMA", "PCMU"}, sip.ClientTLS{}, g.log)
	if err != nil {
		return err
	}
	defer func() { _ = c.close() }()

	target := fmt.Sprintf("sip:%s@%s", demoMailbox, g.sip.Addrs()[0].Addr)
	who := identity{from: demoCaller, name: "Maria", diversion: demoMailbox, reason: "no-answer"}
	hungUp, err := c.leaveMessage(ctx, out, target, who.request(), said)
	if err != nil {
		return fmt.Errorf("the call failed: %w", err)
	}
	note, at, err := g.awaitNote(ctx)
	if err != nil {
		return err
	}
	show.say("rendered", "%s of Ogg/Opus, %d bytes", length(note.Duration), note.Media.Bytes)
	show.say("delivered", "%s after the caller hung up", millis(at.Sub(hungUp)))
	_, _ = fmt.Fprintf(out, "\ndelivered note=%s duration=%.2f bytes=%d\n", note.ID, note.Duration.Seconds(), note.Media.Bytes)
	if once {
		return nil
	}
	token, err := g.store.LinkFor(ctx, demoMailbox)
	if err != nil {
		return err
	}
	g.cfg.HTTP.Listen = netip.MustParseAddrPort(g.http.Addr().String())
	_, _ = fmt.Fprintf(out, "\n  Listen to it:    %s\n  Call it again:   %s call %s --diversion %s\n  End the demo:    Ctrl-C\n\n",
		inboxURL(g.cfg, token), program(), target, demoMailbox)
	<-ctx.Done()
	return nil
}

// awaitNote waits until the demo's note is delivered, and says when it was.
func (g *gateway) awaitNote(ctx context.Context) (delivery.Note, time.Time, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 15*time.Second, errors.New("the note did not arrive within 15 s"))
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		notes, err := g.store.List(ctx, delivery.Filter{State: string(delivery.JobDelivered), Limit: 1})
		if err == nil && len(notes) == 1 {
			life, err := g.store.Life(ctx, notes[0].Note.ID)
			return life.Note, life.Events[len(life.Events)-1].At, err
		}
		select {
		case <-ctx.Done():
			return delivery.Note{}, time.Time{}, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

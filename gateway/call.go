package main

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/afterbeep/afterbeep/media"
	"github.com/afterbeep/afterbeep/sip"
)

// identity is who a test call comes from, and why it was forwarded.
type identity struct {
	from, name, diversion, reason string
}

func (i *identity) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&i.from, "from", "+491705550101", "who calls: a number or a SIP URI")
	cmd.Flags().StringVar(&i.name, "from-name", "", "the caller's display name")
	cmd.Flags().StringVar(&i.diversion, "diversion", "", "the number that did not answer, sent as a Diversion header")
	cmd.Flags().StringVar(&i.reason, "reason", "no-answer", "why it was forwarded: no-answer, user-busy, unavailable, unconditional, deflection")
}

func (i *identity) request() sip.Request {
	r := sip.Request{From: i.from, FromName: i.name}
	if i.diversion != "" {
		r.Headers = map[string][]string{"Diversion": {"<sip:" + i.diversion + "@pbx.invalid>;reason=" + i.reason + ";counter=1"}}
	}
	return r
}

func callCommand() *cobra.Command {
	var who identity
	var audio, codecName string
	cmd := &cobra.Command{
		Use: "call SIP-URI", Short: "Place one test call, play a WAV file and print what happens", Args: cobra.ExactArgs(1),
		Example: "  afterbeep call sip:+4930123456@127.0.0.1:5060 --audio message.wav",
	}
	who.flags(cmd)
	cmd.Flags().StringVar(&audio, "audio", "", "the WAV file to play (default: a sample inside the program)")
	cmd.Flags().StringVar(&codecName, "codec", "", "offer only this codec: opus, G722, PCMU or PCMA")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		said, err := loadSound(audio)
		if err != nil {
			return err
		}
		local, err := localFor(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		var codecs []string
		if codecName != "" {
			codecs = []string{codecName}
		}
		c, err := newCaller(local, codecs, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		defer func() { _ = c.close() }()
		_, err = c.leaveMessage(cmd.Context(), cmd.OutOrStdout(), args[0], who.request(), said)
		return err
	}
	return cmd
}

// leaveMessage places a call, says everything and hangs up, printing each
// step. It returns when the BYE was sent.
func (c *caller) leaveMessage(ctx context.Context, out io.Writer, target string, r sip.Request, said *sound) (hungUp time.Time, err error) {
	show := newSteps(out)
	show.say("calling", "%s", target)
	talk, err := c.dial(ctx, target, r)
	if err != nil {
		return hungUp, err
	}
	show.say("answered", "200 OK after %s, %s to %s", millis(talk.dialog.Timing().Answer), talk.format.Name, talk.leg.Remote())
	playing, err := talk.speak(said, 0)
	if err != nil {
		return hungUp, err
	}
	sent, err := watch(ctx, show, talk, playing, said)
	if err != nil {
		return hungUp, err
	}
	show.say("spoke", "%d packets, %.2f s", sent.Sent, float64(sent.Sent)/50)
	hungUp = time.Now()
	select {
	case <-talk.dialog.Done():
		show.say("ended", "the gateway hung up first")
		return hungUp, talk.leg.Close()
	default:
	}
	if err := talk.hangUp(ctx); err != nil {
		return hungUp, err
	}
	show.say("hung up", "BYE answered after %s", millis(talk.dialog.Timing().Bye))
	return hungUp, nil
}

// watch shows how far a message has come, until it is said.
func watch(ctx context.Context, show *steps, talk *conversation, playing *media.Playing, said *sound) (media.Played, error) {
	length := float64(len(said.audio.Samples)) / float64(said.audio.Rate)
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	over := talk.dialog.Done()
	for {
		select {
		case <-tick.C:
			gone := min(length, time.Since(began).Seconds())
			show.progress("speaking", "%s %4.1f / %.1f s", bar(gone/length), gone, length)
		case <-over:
			over = nil
			playing.Stop()
		case <-ctx.Done():
			playing.Stop()
			<-playing.Done()
			_ = talk.hangUp(context.WithoutCancel(ctx))
			return media.Played{}, ctx.Err()
		case <-playing.Done():
			sent := playing.Result()
			if sent.Sent == 0 {
				return sent, sent.Err
			}
			return sent, nil
		}
	}
}

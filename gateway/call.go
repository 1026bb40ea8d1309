package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/afterbeep/afterbeep/media"
	"github.com/afterbeep/afterbeep/sip"
)

// identity is who a test call comes from, why it was forwarded, how it logs in,
// what a TLS server is shown, and whether anybody may listen in.
type identity struct {
	from, name, diversion string
	reason                forwarding
	user, password        string
	tls                   sip.ClientTLS
	srtp                  bool
}

// passwordVariable holds a password which the list of processes does not show.
const passwordVariable = "AFTERBEEP_PASSWORD"

// forwarding is why a call was forwarded, as a Diversion says it (RFC 5806).
type forwarding string

// forwardings are those that a note tells apart.
var forwardings = []string{"no-answer", "user-busy", "unavailable", "unconditional", "deflection"}

func (f *forwarding) String() string { return string(*f) }

// Type is the name of the value in the help text.
func (f *forwarding) Type() string { return "reason" }

// Set takes one of forwardings.
func (f *forwarding) Set(s string) error {
	if !slices.Contains(forwardings, s) {
		return fmt.Errorf("expected one of %s", strings.Join(forwardings, ", "))
	}
	*f = forwarding(s)
	return nil
}

func (i *identity) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&i.from, "from", "+491705550101", "who calls: a number or a SIP URI")
	cmd.Flags().StringVar(&i.name, "from-name", "", "the caller's display name")
	cmd.Flags().StringVar(&i.diversion, "diversion", "", "the number that did not answer, and with it why (--reason), as a Diversion header")
	i.reason = "no-answer"
	cmd.Flags().StringVar(&i.user, "user", "", "the user of the trunk's digest, where it has one")
	cmd.Flags().StringVar(&i.password, "password", "", "its password; better in the environment as "+passwordVariable+", which nobody else on this machine sees")
	cmd.Flags().StringVar(&i.tls.CA, "ca", "", "for a target by sips: or ;transport=tls: the CA that signed the gateway's certificate (PEM), where the system does not know it")
	cmd.Flags().StringVar(&i.tls.Certificate, "certificate", "", "the certificate (PEM) to show a gateway whose trunk has a tls_name")
	cmd.Flags().StringVar(&i.tls.Key, "key", "", "the certificate's private key (PEM)")
	cmd.Flags().Var(&i.reason, "reason", "why it was forwarded: "+strings.Join(forwardings, ", "))
	cmd.Flags().BoolVar(&i.srtp, "srtp", false, "offer encrypted audio alone (RTP/SAVP, with keys by SDES)")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("reason") && i.diversion == "" {
			return errors.New("the reason travels with the number that did not answer: give --diversion NUMBER too")
		}
		return nil
	}
}

// media is how the options of the caller's audio differ.
func (i *identity) media(o *media.Options) {
	if i.srtp {
		o.SRTP = media.SRTPRequired
	}
}

func (i *identity) request() sip.Request {
	r := sip.Request{From: i.from, FromName: i.name, User: i.user, Password: cmp.Or(i.password, os.Getenv(passwordVariable))}
	if i.diversion != "" {
		r.Headers = map[string][]string{"Diversion": {"<sip:" + i.diversion + "@pbx.invalid>;reason=" + string(i.reason) + ";counter=1"}}
	}
	return r
}

func callCommand() *cobra.Command {
	var who identity
	var audio, codecName string
	cmd := &cobra.Command{
		Use: "call SIP-URI", Short: "Place one test call, play a WAV file and print what happens", Args: arguments,
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
		local, err := sip.LocalFor(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		var codecs []string
		if codecName != "" {
			codecs = []string{codecName}
		}
		c, err := newCaller(local, codecs, who.tls, slog.New(slog.DiscardHandler), who.media)
		if err != nil {
			return err
		}
		defer func() { _ = c.close() }()
		if _, err = c.leaveMessage(cmd.Context(), cmd.OutOrStdout(), args[0], who.request(), said); err != nil {
			return err
		}
		newSteps(cmd.OutOrStdout()).say("see it", "on the gateway's machine: %s link %s --config FILE", program(), cmp.Or(who.diversion, dialled(args[0])))
		return nil
	}
	return cmd
}

// dialled is the number in a target.
func dialled(target string) string {
	user, _, _ := strings.Cut(target, "@")
	_, number, _ := strings.Cut(user, ":")
	return number
}

// program is how this program was started, to be typed again.
func program() string {
	if strings.Contains(os.Args[0], "go-build") { // a file of `go run`, gone when it ends
		return "go run ./gateway"
	}
	return os.Args[0]
}

// patience is how long a person at a terminal waits for a gateway that is silent.
const patience = 8 * time.Second

// leaveMessage places a call, says everything and hangs up, printing each
// step. It returns when the BYE was sent.
func (c *caller) leaveMessage(ctx context.Context, out io.Writer, target string, r sip.Request, said *sound) (hungUp time.Time, err error) {
	show := newSteps(out)
	show.say("calling", "%s", target)
	r.Patience = patience
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

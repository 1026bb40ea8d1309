package main

import (
	"bytes"
	"context"
	"crypto/tls"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/afterbeep/afterbeep/media"
	"github.com/afterbeep/afterbeep/media/codec"
	"github.com/afterbeep/afterbeep/sip"
)

// speechSample is what the demo's caller says; its origin and licence stand in
// sample/README.md.
//
//go:embed sample/speech.wav
var speechSample []byte

// caller places test calls: demo, call and bench use it.
type caller struct {
	client *sip.Client
	engine *media.Engine
	pacer  *media.Pacer
	stop   context.CancelFunc
	pacing sync.WaitGroup
}

// newCaller calls from the local address, offering the codecs in their order.
func newCaller(local netip.Addr, codecs []string, certificates sip.ClientTLS, log *slog.Logger, change ...func(*media.Options)) (*caller, error) {
	options := media.DefaultOptions()
	options.Address, options.Beep, options.Codecs = local, false, codecs
	options.Ports = media.PortRange{First: 40000, Last: 49999}
	for _, c := range change {
		c(&options)
	}
	engine, err := media.NewEngine(options, log)
	if err != nil {
		return nil, err
	}
	client, err := sip.NewClient(sip.ClientOptions{Local: netip.AddrPortFrom(local, 0), TLS: certificates}, log)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &caller{client: client, engine: engine, pacer: media.NewPacer(), stop: stop}
	c.pacing.Go(func() { c.pacer.Run(ctx) })
	return c, nil
}

func (c *caller) close() error {
	c.stop()
	c.pacing.Wait()
	return c.client.Close()
}

// conversation is a call that was answered.
type conversation struct {
	dialog *sip.Dialog
	leg    *media.Leg
	format media.Format // what the gateway wants to hear
	pacer  *media.Pacer
}

// dial places a call; the request's offer is made here.
func (c *caller) dial(ctx context.Context, target string, r sip.Request) (*conversation, error) {
	leg, err := c.engine.Open(nil, nil)
	if err != nil {
		return nil, err
	}
	r.Offer = leg.Description()
	dialog, err := c.client.Invite(ctx, target, r)
	if err != nil {
		return nil, errors.Join(explained(err), leg.Close())
	}
	if err := leg.Answered(dialog.Answer); err != nil {
		return nil, errors.Join(err, dialog.Bye(ctx), leg.Close())
	}
	return &conversation{dialog: dialog, leg: leg, format: leg.Formats()[0], pacer: c.pacer}, nil
}

// speak plays count packets of the sound, which goes round; 0 plays it once.
func (v *conversation) speak(s *sound, count int) (*media.Playing, error) {
	frames, err := s.in(v.format)
	if err != nil {
		return nil, err
	}
	return v.pacer.Start(media.Stream{
		Conn: v.leg.Conn(), To: v.leg.Remote(), PayloadType: v.format.PayloadType, ClockRate: v.format.ClockRate,
		SSRC: rand.Uint32(), Sequence: uint16(rand.Uint32()), Timestamp: rand.Uint32(), //nolint:gosec // RFC 3550 §5.1 asks for random, not for secret
		Frames: frames, Count: count,
	}), nil
}

// hangUp ends the call.
func (v *conversation) hangUp(ctx context.Context) error {
	return errors.Join(v.dialog.Bye(ctx), v.leg.Close())
}

// sound is what a caller says, encoded once for each codec.
type sound struct {
	audio media.Audio
	mu    sync.Mutex
	coded map[string][][]byte
}

// loadSound reads a WAV file; "" is the sample inside the program.
func loadSound(path string) (*sound, error) {
	content := speechSample
	if path != "" {
		var err error
		if content, err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	audio, err := media.ReadWAV(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &sound{audio: audio, coded: map[string][][]byte{}}, nil
}

// in is the sound as payloads of 20 ms.
func (s *sound) in(f media.Format) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if frames, ok := s.coded[f.Name]; ok {
		return frames, nil
	}
	c, ok := codec.Find(f.Name, f.ClockRate)
	if !ok {
		return nil, fmt.Errorf("the gateway wants %s, which this caller does not speak", f.Name)
	}
	frames, err := media.Frames(s.audio, c)
	if err != nil {
		return nil, err
	}
	s.coded[f.Name] = frames
	return frames, nil
}

// noMailbox is what 480 means, and 302 where the trunk sends such calls back.
const noMailbox = "no mailbox takes this call: see mailboxes in the gateway's file, and limits.callees; the outcome stands in the gateway's log"

// noLogin is what 401 means to a call that has no user.
const noLogin = "this machine's trunk has a digest: give its user with --user, and its password in the environment as " + passwordVariable

// refusals say what to look at in the gateway's file when a call is refused.
var refusals = map[int]string{
	302: noMailbox, 480: noMailbox,
	401: noLogin, 407: noLogin,
	433: "the trunk refuses callers without a number, see its anonymous",
	488: "the gateway cannot use what was offered: with media.srtp required it wants --srtp, with off none",
	503: "the gateway drains, is at one of its limits, or cannot keep a recording: its log says which",
}

// explained says what to look at when a call fails.
func explained(err error) error {
	var (
		silent  *sip.SilentError
		refused *sip.StatusError
		contact *sip.ContactError
		closed  *sip.ClosedError
		foreign *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, sip.ErrLogin):
		return fmt.Errorf("%w: compare --user and "+passwordVariable+" (or --password) with user and password of the trunk's digest", err)
	case errors.As(err, &foreign):
		return fmt.Errorf("%w: name the CA that signed the gateway's certificate with --ca", err)
	case errors.As(err, &silent):
		return fmt.Errorf("%w: is the gateway running there, and is this machine's address in one of its sip.trunks[].from?", err)
	case errors.As(err, &closed):
		return fmt.Errorf("%w: is this machine's address in one of the gateway's sip.trunks[].from, or the name of --certificate in a tls_name?", err)
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("%w: is the gateway running there, and is this transport in its sip.listen?", unix.ECONNREFUSED) // without the libraries' own words
	case errors.As(err, &refused) && refusals[refused.Code] != "":
		return fmt.Errorf("%w: %s", err, refusals[refused.Code])
	case errors.As(err, &contact):
		return fmt.Errorf("the gateway's Contact %s (its sip.advertise) cannot be reached from this machine: %w", contact.Contact, contact.Err)
	}
	return err
}

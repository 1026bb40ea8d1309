package media

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"

	"github.com/afterbeep/afterbeep/media/codec"
)

// Engine opens the legs of calls. It owns the pool of RTP ports.
type Engine struct {
	options  Options
	log      *slog.Logger
	told     netip.Addr // our address in session descriptions
	ports    *ports
	formats  []Format            // that can be agreed on, best first
	beeps    map[string][][]byte // payloads by codec name, shared by all legs
	batches  batches
	identity *identity // of DTLS handshakes; nil where nothing is encrypted
}

// NewEngine checks the options and prepares what all legs share.
func NewEngine(o Options, log *slog.Logger) (*Engine, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	codecs, err := pick(o.Codecs)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		options: o,
		log:     log,
		told:    o.advertised(),
		ports:   newPorts(o.Ports),
		formats: ours(codecs),
		beeps:   make(map[string][][]byte, len(codecs)),
		batches: make(batches, runtime.GOMAXPROCS(0)),
	}
	if o.SRTP != SRTPOff {
		if e.identity, err = newIdentity(); err != nil {
			return nil, fmt.Errorf("media: make a certificate for DTLS: %w", err)
		}
	}
	if !o.Beep {
		return e, nil
	}
	for _, c := range codecs {
		if e.beeps[c.Name], err = Frames(Audio{Rate: c.SampleRate, Samples: Beep(c.SampleRate)}, c); err != nil {
			return nil, fmt.Errorf("media: encode the beep as %s: %w", c.Name, err)
		}
	}
	return e, nil
}

// pick finds the codecs of these names, in this order; no names, all codecs.
func pick(names []string) ([]codec.Codec, error) {
	all := codec.Codecs()
	if len(names) == 0 {
		return all, nil
	}
	var picked []codec.Codec
	for _, name := range names {
		i := slices.IndexFunc(all, func(c codec.Codec) bool { return strings.EqualFold(c.Name, name) })
		if i < 0 {
			return nil, fmt.Errorf("media: no codec is called %q: expected opus, G722, PCMU or PCMA", name)
		}
		picked = append(picked, all[i])
	}
	return picked, nil
}

// Ports counts the RTP ports.
func (e *Engine) Ports() PortStats { return e.ports.stats() }

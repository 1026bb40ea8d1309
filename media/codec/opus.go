package codec

import (
	"errors"
	"fmt"
	"slices"

	"github.com/thesyncim/gopus"
)

const (
	opusRate      = 48000               // of every timestamp and granule position, Hz (RFC 7587 §4.1)
	opusLongest   = opusRate * 12 / 100 // a packet holds at most 120 ms (RFC 6716 §3.2.5)
	opusMaxFrame  = 1275                // bytes (RFC 6716 §3.2.1)
	opusMaxPacket = 6 * opusMaxFrame    // 120 ms of 20 ms frames, bytes
)

// opus is Opus over RTP, whose rtpmap always says 48000/2 (RFC 7587 §7). The
// decoder serves 8, 12, 16, 24 and 48 kHz, mono whatever was sent.
func opus() Codec {
	const rate = 16000
	return Codec{
		Name: "opus", PayloadType: -1, ClockRate: opusRate, Channels: 2, SampleRate: rate,
		NewDecoder: newOpusDecoder,
		NewEncoder: func() (Encoder, error) {
			return newOpusEncoder(rate, rate/50, 24000, 5)
		},
	}
}

type opusDecoder struct {
	state      *gopus.Decoder
	sampleRate int
}

func newOpusDecoder(sampleRate int) (Decoder, error) {
	state, err := gopus.NewDecoder(gopus.DecoderConfig{
		SampleRate:       sampleRate,
		Channels:         1,
		MaxPacketSamples: sampleRate * opusLongest / opusRate,
		MaxPacketBytes:   opusMaxPacket,
	})
	if err != nil {
		return nil, rateError("opus", sampleRate)
	}
	return &opusDecoder{state, sampleRate}, nil
}

func (d *opusDecoder) Decode(pcm []int16, payload []byte) ([]int16, error) {
	length, err := PacketDuration(payload)
	if err != nil {
		return pcm, err
	}
	n, want := len(pcm), length*d.sampleRate/opusRate
	pcm = slices.Grow(pcm, want)
	got, err := d.state.DecodeInt16(payload, pcm[n:n+want])
	if err != nil {
		return pcm[:n], fmt.Errorf("%w: %w", ErrPayload, err)
	}
	return pcm[:n+got], nil
}

type opusEncoder struct{ state *gopus.Encoder }

// newOpusEncoder makes a mono encoder for speech. frame is in samples of
// sampleRate, bitrate in bit/s.
func newOpusEncoder(sampleRate, frame, bitrate, complexity int) (*opusEncoder, error) {
	state, err := gopus.NewEncoder(gopus.EncoderConfig{
		SampleRate: sampleRate, Channels: 1, Application: gopus.ApplicationVoIP,
	})
	if err != nil {
		return nil, fmt.Errorf("codec: opus at %d Hz: %w", sampleRate, err)
	}
	err = errors.Join(
		state.SetFrameSize(frame),
		state.SetBitrate(bitrate),
		state.SetBitrateMode(gopus.BitrateModeVBR),
		state.SetSignal(gopus.SignalVoice),
		state.SetComplexity(complexity),
	)
	if err != nil {
		return nil, fmt.Errorf("codec: opus at %d Hz, %d bit/s: %w", sampleRate, bitrate, err)
	}
	state.SetDTX(false)
	return &opusEncoder{state}, nil
}

func (e *opusEncoder) Encode(payload []byte, pcm []int16) ([]byte, error) {
	if len(pcm) != e.state.FrameSize() {
		return payload, frameError("opus", len(pcm))
	}
	n := len(payload)
	payload = slices.Grow(payload, opusMaxPacket)
	got, err := e.state.EncodeInt16(pcm, payload[n:n+opusMaxPacket])
	if err != nil {
		return payload[:n], fmt.Errorf("codec: opus: %w", err)
	}
	return payload[:n+got], nil
}

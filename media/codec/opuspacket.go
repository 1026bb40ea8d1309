package codec

import "fmt"

// opusFrames is the length of a frame, in samples of 48 kHz, by the five upper
// bits of the TOC byte (RFC 6716 §3.1, table 2).
var opusFrames = [32]int{
	480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 1920, 2880, // SILK: NB, MB, WB
	480, 960, 480, 960, // hybrid: SWB, FB
	120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960, // CELT: NB, WB, SWB, FB
}

// opusCELT is the first CELT configuration of the same bandwidth; medium band,
// which CELT lacks, becomes wideband (RFC 7845 §4.1).
var opusCELT = [32]int{
	16, 16, 16, 16, 20, 20, 20, 20, 20, 20, 20, 20,
	24, 24, 28, 28,
	16, 16, 16, 16, 20, 20, 20, 20, 24, 24, 24, 24, 28, 28, 28, 28,
}

// PacketDuration is how much audio an Opus packet stands for, in samples of 48
// kHz: 120 to 5760. It looks at the first two bytes alone; a packet that is
// empty, holds no frame or lasts over 120 ms is [ErrPayload].
func PacketDuration(packet []byte) (samples48k int, err error) {
	if len(packet) == 0 {
		return 0, fmt.Errorf("%w: an Opus packet has at least its TOC byte", ErrPayload) // RFC 6716 §3.4 [R1]
	}
	frames := 1
	switch packet[0] & 3 { // RFC 6716 §3.2
	case 1, 2:
		frames = 2
	case 3:
		if len(packet) < 2 {
			return 0, fmt.Errorf("%w: an Opus packet lacks its frame count", ErrPayload) // [R6], [R7]
		}
		frames = int(packet[1] & 0x3f)
	}
	samples48k = frames * opusFrames[packet[0]>>3]
	if samples48k == 0 || samples48k > opusLongest { // [R5]
		return 0, fmt.Errorf("%w: an Opus packet of %d frames", ErrPayload, frames)
	}
	return samples48k, nil
}

// LostPacket appends to packet an Opus packet of empty frames, which makes a
// decoder conceal: what to put into a file where packets never came (RFC 7845
// §4.1). It lasts samples48k samples of 48 kHz, a multiple of 120 (2.5 ms) up to
// 5760 (120 ms), and continues a stream whose last packet began with toc, with
// CELT frames only where no frame of its own kind is short enough.
func LostPacket(packet []byte, toc byte, samples48k int) ([]byte, error) {
	if samples48k <= 0 || samples48k > opusLongest || samples48k%120 != 0 {
		return packet, fmt.Errorf("codec: no Opus packet lasts %d samples", samples48k)
	}
	config, frames := gapFrames(int(toc>>3), samples48k)
	toc = byte(config)<<3 | toc&4 // mono or stereo, as before
	if frames == 1 {
		return append(packet, toc), nil // code 0: one frame, here of no bytes
	}
	return append(packet, toc|3, byte(frames)), nil // code 3: so many frames of one size
}

// gapFrames finds the configuration with the longest frames that fill a gap
// exactly, and how many they are.
func gapFrames(config, samples48k int) (same, frames int) {
	first, last := config&^3, config|3
	if config >= 12 && config < 16 { // hybrid knows two lengths, the others four
		first, last = config&^1, config|1
	}
	for c := last; c >= first; c-- {
		if samples48k%opusFrames[c] == 0 {
			return c, samples48k / opusFrames[c]
		}
	}
	return gapFrames(opusCELT[config], samples48k) // ends there: 2.5 ms divide every gap
}

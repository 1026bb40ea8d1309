package media

import "math/rand/v2"

// noteSink makes a file of the sound of a note, which comes in order and without
// gaps.
type noteSink interface {
	// sound takes PCM at the note's rate; packet is the Opus packet it was
	// decoded from, or nil.
	sound(pcm []int16, packet []byte) error
	// gap takes PCM that was made up, at most 20 ms, because nothing came.
	gap(pcm []int16) error
	// close completes the file, which lasts as long as the PCM that was
	// taken, and says what was encoded for it. At least one sample was taken
	// before.
	close() (encoded, error)
}

// oggSerial is the number of the only stream of a file: any will do (RFC 3533
// §4), and players that join files want them to differ.
func oggSerial() uint32 {
	return rand.Uint32() //nolint:gosec // no secret
}

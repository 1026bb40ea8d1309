package media

import "time"

// Facts is what rendering found out about a note.
type Facts struct {
	Duration time.Duration // exact length of the file
	Codec    string        // what the caller sent, its first codec by SDP name
	Waveform []byte        // 64 points, 0 to 255, linear in amplitude, the loudest near 255
	Loudness float64       // dBFS, RMS over the frames above SpeechFloor; -inf becomes -96
	Speech   time.Duration // how much of it lay above SpeechFloor

	Packets    int // audio packets that came
	Lost       int // packets that never came
	Late       int // came after their place had been filled
	Duplicates int
	Concealed  time.Duration // audio made up for what was lost
	Digits     string        // DTMF, by telephone-event
	Frames     map[int]int   // frames encoded by Opus complexity
	Lag        time.Duration // the longest a record waited for its turn to be encoded
}

// SpeechFloor is the level in dBFS above which a frame counts as audio that a
// caller made, and SpeechLeast how much of it makes a message: a real message
// must never be taken for silence.
const (
	SpeechFloor = -55.0
	SpeechLeast = 300 * time.Millisecond
)

// Spoken says whether the caller left a message.
func (f Facts) Spoken() bool { return f.Speech >= SpeechLeast }

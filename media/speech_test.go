package media

import (
	"bytes"
	"os"
	"testing"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// recorded is a real voice at 8 kHz, if the package
// asterisk-core-sounds-en-wav is installed.
func recorded(tb testing.TB) (Audio, bool) {
	tb.Helper()
	b, err := os.ReadFile("/usr/share/asterisk/sounds/en_US_f_Allison/demo-congrats.wav")
	if err != nil {
		return Audio{}, false
	}
	audio, err := ReadWAV(bytes.NewReader(b))
	if err != nil {
		tb.Fatal(err)
	}
	return audio, true
}

// Real speech, through G.711 and the whole of rendering, is what it was.
func TestRenderSpeech(t *testing.T) {
	audio, ok := recorded(t)
	if !ok {
		peertest.Missing(t, "real speech")
	}
	c := newCaller(t, allCodecs)
	said := c.play(audio.Samples[:5*audio.Rate])
	facts, file := renderFile(t, c.tape(), RenderOptions{})
	heard := decodeFile(t, file, audio.Rate)
	if len(heard) != len(said) || !facts.Spoken() {
		t.Fatalf("%d samples for %d, %+v", len(heard), len(said), facts)
	}
	alike, s := envelopes(said, heard, audio.Rate), snr(said, heard)
	t.Logf("envelope correlation %.4f, %.1f dB, %d bytes, %.1f dBFS, %v of speech", alike, s, len(file), facts.Loudness, facts.Speech)
	if alike < 0.99 || s < 10 {
		t.Errorf("envelope correlation %.4f, %.1f dB", alike, s)
	}
}

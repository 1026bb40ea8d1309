package media

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// opusinfo, ffprobe and ffmpeg find no fault in a note, whatever the call was
// like, and its length exact.
func TestRenderPeers(t *testing.T) {
	for name, call := range map[string]func(c *caller){
		"plain": func(c *caller) { c.say(1500) },
		"lossy": func(c *caller) {
			c.say(1500)
			c.arrivals = slices.DeleteFunc(c.arrivals, func(a arrival) bool { return a.at%100 == 40 && a.at > 100 })
		},
		"wideband": func(c *caller) { c.use(9); c.say(990) },
		"copied":   func(c *caller) { c.use(111); c.say(1500) },
		"copied with gaps": func(c *caller) {
			c.use(111)
			c.say(500)
			c.wait(3333)
			c.say(500)
			c.arrivals = slices.Delete(c.arrivals, 10, 14)
		},
		"copied and encoded": func(c *caller) {
			c.use(111)
			c.say(500)
			c.use(0)
			c.say(500)
			c.use(111)
			c.say(500)
		},
		"copied to the end of a digit": func(c *caller) {
			c.use(111)
			c.say(500)
			c.press(1, 100)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCaller(t, allCodecs)
			call(c)
			facts, note := renderFile(t, c.tape(), cheap)
			file := filepath.Join(t.TempDir(), "note.ogg")
			if err := os.WriteFile(file, note, 0o600); err != nil {
				t.Fatal(err)
			}
			if info := run(t, "opusinfo", file); strings.Contains(info, "WARNING") || strings.Contains(info, "ERROR") {
				t.Errorf("opusinfo:\n%s", info)
			}
			if out := run(t, "ffprobe", "-v", "warning", file); out != "" {
				t.Errorf("ffprobe: %s", out)
			}
			raw := file + ".raw"
			if out := run(t, "ffmpeg", "-v", "warning", "-i", file, "-f", "s16le", "-ar", "48000", raw); out != "" {
				t.Errorf("ffmpeg: %s", out)
			}
			stat, err := os.Stat(raw)
			if err != nil {
				t.Fatal(err)
			}
			if got := duration(stat.Size() / 2); got != facts.Duration {
				t.Errorf("ffmpeg decodes %v, the note lasts %v", got, facts.Duration)
			}
		})
	}
}

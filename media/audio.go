package media

import (
	"bytes"
	"fmt"
	"io"
)

// RenderAudio writes sound as a note's file, as long as o allows. Its rate is
// one that Opus takes: 8, 12, 16, 24 or 48 kHz.
func RenderAudio(a Audio, out io.Writer, o RenderOptions) (Facts, error) {
	o = o.withDefaults()
	var file bytes.Buffer
	sink, err := newEncodeSink(&file, a.Rate, o)
	if err != nil {
		return Facts{}, err
	}
	n := newNote(a.Rate, sink)
	longest := int(o.MaxDuration.Seconds() * float64(a.Rate))
	if err := n.sound(a.Samples[:min(longest, len(a.Samples))], nil); err != nil {
		return Facts{}, err
	}
	if _, err := sink.close(); err != nil {
		return Facts{}, err
	}
	facts := Facts{Duration: n.duration(), Bytes: int64(file.Len())}
	n.meter.facts(&facts)
	if _, err := file.WriteTo(out); err != nil {
		return facts, fmt.Errorf("media: writing the note: %w", err)
	}
	return facts, nil
}

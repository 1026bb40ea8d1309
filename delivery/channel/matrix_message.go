package channel

import (
	"html"
	"mime"
	"strings"

	mevent "maunium.net/go/mautrix/event"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// matrixEvent is the content of an event of ours.
type matrixEvent struct {
	*mevent.MessageEventContent
	Job string `json:"app.afterbeep.job,omitempty"` // finds the event after an answer was lost
}

// matrixMessage is what is said with a note, and how it is played (MSC1767,
// MSC3245); its file is missing yet.
func matrixMessage(n delivery.Note, repeat bool) *matrixEvent {
	t := text.For(n.Recipient.Language)
	caption := t.Caption(n, repeat)
	message := &mevent.MessageEventContent{
		MsgType: mevent.MsgText, Body: caption.Plain(),
		Format: mevent.FormatHTML, FormattedBody: captionHTML(caption, t),
		Mentions: &mevent.Mentions{},
	}
	if n.Kind == delivery.Missed {
		return &matrixEvent{MessageEventContent: message}
	}
	message.Info = &mevent.FileInfo{MimeType: mimeType(n), Size: int(n.Media.Bytes), Duration: int(n.Duration.Milliseconds())}
	if n.Kind == delivery.Video {
		message.MsgType, message.FileName = mevent.MsgVideo, "video-message.mp4"
		return &matrixEvent{MessageEventContent: message}
	}
	message.MsgType, message.FileName = mevent.MsgAudio, "voice-message.ogg"
	message.MSC3245Voice = &mevent.MSC3245Voice{}
	message.MSC1767Audio = &mevent.MSC1767Audio{Duration: int(n.Duration.Milliseconds()), Waveform: waveform1024(n.Waveform)}
	return &matrixEvent{MessageEventContent: message}
}

// waveform1024 stretches points of 0 to 255 to 0 to 1024 (MSC1767).
func waveform1024(points []byte) []int {
	stretched := make([]int, len(points))
	for i, p := range points {
		stretched[i] = int(p) * 1024 / 255
	}
	return stretched
}

// mimeType is the type of a note's file without parameters: servers and clients
// of Matrix know audio/ogg alone.
func mimeType(n delivery.Note) string {
	if kind, _, err := mime.ParseMediaType(n.Media.Type); err == nil {
		return kind
	}
	return n.Media.Type
}

// captionHTML is the caption with its title in bold and the number to be
// called by a tap.
func captionHTML(c text.Caption, t *text.Texts) string {
	lines := []string{"<strong>" + html.EscapeString(c.Title) + "</strong>", html.EscapeString(c.Line)}
	for _, hint := range c.Hints {
		lines = append(lines, html.EscapeString(hint))
	}
	if c.Number != "" {
		lines = append(lines, html.EscapeString(t.CallBack)+` <a href="`+html.EscapeString(c.URI)+`">`+html.EscapeString(c.Number)+"</a>")
	}
	return strings.Join(lines, "<br/>")
}

package sip

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// quietPause is how long a message of sipgo stays unsaid after it was said.
const quietPause = time.Second

// maxQuiet bounds how many different messages are told apart.
const maxQuiet = 256

// quietAttrs are the attributes of sipgo's log lines that pass. All others may
// carry a message, a phone number or a Call-ID.
var quietAttrs = []string{"caller", "network", "addr", "laddr", "raddr", "dur", "method"}

// benign are lines of sipgo's at ERROR that tell of nothing wrong: a final
// response was quicker than the 100.
var benign = []string{"send '100 Trying' response failed"}

// quietHandler stands between sipgo's loggers and ours: sipgo logs a malformed
// message whole, at ERROR, each time. It lets known attributes through and
// each message once a second, with the number of those left out meanwhile.
type quietHandler struct {
	next  slog.Handler
	lines *quietLines
}

// quietLines is what a handler and its descendants have said.
type quietLines struct {
	mu   sync.Mutex
	said map[string]*quietLine
}

// quietLine is one message.
type quietLine struct {
	at         time.Time // when it was last said
	suppressed int64     // how often it was not, since
}

func newQuietHandler(next slog.Handler) *quietHandler {
	return &quietHandler{next, &quietLines{said: make(map[string]*quietLine)}}
}

// Enabled asks the handler behind.
func (h *quietHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle passes a record on without what it must not say, or drops it.
func (h *quietHandler) Handle(ctx context.Context, r slog.Record) error {
	if slices.Contains(benign, r.Message) {
		return nil
	}
	suppressed, ok := h.lines.pass(r.Message, r.Time)
	if !ok {
		return nil
	}
	quiet := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		quiet.AddAttrs(harmless(a)...)
		return true
	})
	if suppressed > 0 {
		quiet.AddAttrs(slog.Int64("suppressed", suppressed))
	}
	return h.next.Handle(ctx, quiet)
}

// WithAttrs keeps the harmless ones.
func (h *quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var kept []slog.Attr
	for _, a := range attrs {
		kept = append(kept, harmless(a)...)
	}
	return &quietHandler{h.next.WithAttrs(kept), h.lines}
}

// WithGroup opens a group in the handler behind.
func (h *quietHandler) WithGroup(name string) slog.Handler {
	return &quietHandler{h.next.WithGroup(name), h.lines}
}

// pass says whether a message may be said at now, and how often it was not
// since the last time.
func (q *quietLines) pass(message string, now time.Time) (suppressed int64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	line := q.said[message]
	if line == nil {
		if len(q.said) >= maxQuiet {
			clear(q.said)
		}
		q.said[message] = &quietLine{at: now}
		return 0, true
	}
	if now.Sub(line.at) < quietPause {
		line.suppressed++
		return 0, false
	}
	suppressed = line.suppressed
	*line = quietLine{at: now}
	return suppressed, true
}

// harmless returns the attribute as it may be logged, or nothing. Of an error
// only what the network said remains: a parser's error quotes the message.
func harmless(a slog.Attr) []slog.Attr {
	if slices.Contains(quietAttrs, a.Key) {
		return []slog.Attr{a}
	}
	err, isErr := a.Value.Any().(error)
	var network *net.OpError
	if isErr && errors.As(err, &network) {
		return []slog.Attr{slog.String(a.Key, network.Error())}
	}
	return nil
}

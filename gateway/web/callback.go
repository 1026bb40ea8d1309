package web

import (
	"net/http"
	"runtime/debug"
)

// callbackMost is how much a chat service may tell at once, in bytes: WhatsApp
// up to 3 MB. A channel may be stricter.
const callbackMost = 4 << 20

// callback hands what a chat service tells to its channel, which proves that it
// is the service: there is no browser behind it, and no secret in the address.
func (s *Server) callback(w http.ResponseWriter, r *http.Request) {
	channel, ok := s.o.Callbacks[r.PathValue("name")]
	if !ok {
		s.notFound(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, callbackMost)
	out := &statusWriter{ResponseWriter: w}
	defer s.caught(out, r)
	channel.ServeHTTP(out, r)
}

// caught answers for a channel that panicked. What it threw may quote what it
// was told: only where it did is logged.
func (s *Server) caught(w *statusWriter, r *http.Request) {
	switch failed := recover(); {
	case failed == nil:
	case failed == http.ErrAbortHandler || w.status != 0: //nolint:errorlint // this very value (net/http)
		panic(http.ErrAbortHandler)
	default:
		s.log.ErrorContext(r.Context(), "channel failed at a callback", "route", r.Pattern, "channel", r.PathValue("name"), "stack", string(debug.Stack()))
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}

package web

import (
	"net/http"
	"runtime/debug"
	"time"
)

// callbackMost and callbackWithin are how much a chat service may tell at once,
// in bytes, and in what time. A channel may be stricter.
const (
	callbackMost   = 1 << 20
	callbackWithin = 10 * time.Second
)

// callback hands what a chat service tells to its channel, which proves that it
// is the service: there is no browser behind it, and no secret in the address.
func (s *Server) callback(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	channel, ok := s.o.Callbacks[name]
	if !ok {
		s.notFound(w, r)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(callbackWithin)) // none where the connection has no deadlines
	r.Body = http.MaxBytesReader(w, r.Body, callbackMost)
	out := &statusWriter{ResponseWriter: w}
	defer func() {
		switch failed := recover(); {
		case failed == nil:
		case out.status == 0 && failed != http.ErrAbortHandler: //nolint:errorlint // the value itself is thrown (net/http)
			// What was thrown may quote the message: where it was thrown must do.
			s.log.ErrorContext(r.Context(), "channel failed at a callback", "route", r.Pattern, "channel", name, "stack", string(debug.Stack()))
			http.Error(w, "internal error", http.StatusInternalServerError)
		default:
			panic(http.ErrAbortHandler)
		}
	}()
	channel.ServeHTTP(out, r)
}

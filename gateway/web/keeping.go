package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// Keeper hands out and erases what is kept of a mailbox.
type Keeper interface {
	// Export writes all of it as a zip, see delivery.Export.
	Export(ctx context.Context, mailbox string, w io.Writer) error
	// Erase erases its notes and says what they were.
	Erase(ctx context.Context, mailbox string) (delivery.Erasure, error)
}

// export answers with the zip of a mailbox as it is written. One that cannot be
// finished is cut off, so that nobody takes it for whole.
func (s *Server) export(w http.ResponseWriter, r *http.Request, mailbox string) {
	out := &zipWriter{w: w}
	err := s.o.Keeper.Export(r.Context(), mailbox, out)
	switch {
	case err == nil:
	case errors.Is(err, delivery.ErrIncomplete): // its notes.json says so
		s.log.WarnContext(r.Context(), "export lacks files", "route", r.Pattern, "error", err)
	case out.begun:
		s.log.WarnContext(r.Context(), "export was cut off", "route", r.Pattern, "error", err)
		panic(http.ErrAbortHandler)
	case errors.Is(err, delivery.ErrNotFound):
		s.notFound(w, r)
	default:
		s.unavailable(w, r, err)
	}
}

// exportPace is how long a reader may take for what is written at once, a
// note's file at most.
const exportPace = time.Minute

// zipWriter begins the answer with the first byte of a zip, and gives its
// reader time for as long as it reads.
type zipWriter struct {
	w     http.ResponseWriter
	begun bool
}

func (z *zipWriter) Write(b []byte) (int, error) {
	if !z.begun {
		z.begun = true
		z.w.Header().Set("Content-Type", "application/zip")
		z.w.Header().Set("Content-Disposition", `attachment; filename="mailbox.zip"`)
	}
	_ = http.NewResponseController(z.w).SetWriteDeadline(time.Now().Add(exportPace)) // else the server's own holds
	return z.w.Write(b)
}

// erase erases a mailbox's notes and answers with the proof, even if who asked
// does not wait for it.
func (s *Server) erase(w http.ResponseWriter, r *http.Request, mailbox string) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	erased, err := s.o.Keeper.Erase(context.WithoutCancel(r.Context()), mailbox)
	if err != nil {
		s.unavailable(w, r, err)
		return
	}
	s.json(w, r, erased)
}

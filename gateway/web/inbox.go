package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// noteView is a note as the page's script reads it.
type noteView struct {
	ID         string        `json:"id"`
	Kind       delivery.Kind `json:"kind"`
	Caller     callerView    `json:"caller"`
	Reason     string        `json:"reason,omitempty"`
	CalledAt   time.Time     `json:"called_at"`
	DurationMS int64         `json:"duration_ms"`
	Partial    bool          `json:"partial"`
	Waveform   []int         `json:"waveform"`       // 0 to 255
	Media      *mediaView    `json:"media"`          // null when there is nothing to play
	Gone       bool          `json:"gone,omitempty"` // there was something: its time is over
	Read       bool          `json:"read"`           // or played
	Played     bool          `json:"played"`
	ReadAt     time.Time     `json:"read_at,omitzero"`
	PlayedAt   time.Time     `json:"played_at,omitzero"`
}

type callerView struct {
	Number  string `json:"number,omitempty"`
	Display string `json:"display,omitempty"` // the number as people write it
	Name    string `json:"name,omitempty"`
	Private bool   `json:"private"`
	Trust   string `json:"trust,omitempty"` // verified or doubtful
}

type mediaView struct {
	Type  string `json:"type"`
	Bytes int64  `json:"bytes"`
}

// threadView is one page of a mailbox's notes, newest first.
type threadView struct {
	Notes []noteView `json:"notes"`
	More  bool       `json:"more"` // older ones can be asked for
}

// pageLimit is how many notes come at once unless told, pageMost at most.
const (
	pageLimit = 50
	pageMost  = 200
)

// thread lists the mailbox's notes: ?before=ID&limit=N.
func (s *Server) thread(w http.ResponseWriter, r *http.Request, mailbox string) {
	before := r.URL.Query().Get("before")
	if before != "" && !delivery.ValidID(before) {
		s.notFound(w, r)
		return
	}
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 {
		limit = pageLimit
	}
	limit = min(limit, pageMost)
	notes, err := s.o.Inbox.Thread(r.Context(), mailbox, before, limit+1)
	if err != nil {
		s.unavailable(w, r, err)
		return
	}
	view := threadView{Notes: []noteView{}, More: len(notes) > limit}
	for _, n := range notes[:min(limit, len(notes))] {
		view.Notes = append(view.Notes, viewOf(n))
	}
	s.json(w, r, view)
}

func viewOf(n delivery.Note) noteView {
	v := noteView{
		ID:         n.ID,
		Kind:       n.Kind,
		Caller:     callerView{Private: n.Caller.Private},
		Reason:     n.Reason,
		CalledAt:   n.CalledAt.UTC(),
		DurationMS: n.Duration.Milliseconds(),
		Partial:    n.Partial,
		Waveform:   make([]int, len(n.Waveform)),
		Read:       !n.ReadAt.IsZero() || !n.PlayedAt.IsZero(),
		Played:     !n.PlayedAt.IsZero(),
		ReadAt:     n.ReadAt.UTC(),
		PlayedAt:   n.PlayedAt.UTC(),
	}
	if !n.Caller.Private {
		v.Caller.Number, v.Caller.Name = n.Caller.Number, n.Caller.Name
		v.Caller.Display, v.Caller.Trust = text.Display(n.Caller.Number), n.Caller.Trust
	}
	for i, level := range n.Waveform {
		v.Waveform[i] = int(level)
	}
	v.Gone = n.Media.Gone
	if n.Media.Type != "" && !v.Gone {
		v.Media = &mediaView{Type: n.Media.Type, Bytes: n.Media.Bytes}
	}
	return v
}

// mark keeps that a note was read or played: POST …/notes/ID/read.
func (s *Server) mark(w http.ResponseWriter, r *http.Request, mailbox string) {
	id, mark := r.PathValue("id"), delivery.Mark(r.PathValue("mark"))
	if !delivery.ValidID(id) || (mark != delivery.MarkRead && mark != delivery.MarkPlayed) {
		s.notFound(w, r)
		return
	}
	s.keepMark(w, r, mailbox, id, mark)
}

func (s *Server) keepMark(w http.ResponseWriter, r *http.Request, mailbox, id string, mark delivery.Mark) {
	err := s.o.Inbox.Mark(r.Context(), mailbox, id, mark)
	switch {
	case errors.Is(err, delivery.ErrNotFound):
		s.notFound(w, r)
	case err != nil:
		s.unavailable(w, r, err)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// sendWithin is how long an event may take to leave before its reader is given up.
const sendWithin = 10 * time.Second

// events tells the page when to read the thread again, as server-sent events
// (WHATWG HTML section 9.2): `note` with an id for each change, and `beat` when
// there was none, so that both ends notice a dead connection. Nothing is kept
// for a reader that was away: it reads the thread again when it is back.
func (s *Server) events(w http.ResponseWriter, r *http.Request, mailbox string) {
	changes := s.o.Inbox.Watch(r.Context(), mailbox) // before the first event: what comes after it is told
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	out := http.NewResponseController(w)
	send := func(event, data string) error {
		if err := out.SetWriteDeadline(time.Now().Add(sendWithin)); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, data); err != nil {
			return err
		}
		return out.Flush()
	}
	beat := time.NewTicker(s.o.Heartbeat)
	defer beat.Stop()
	err := send("beat", "-") // an event without data is none
	for err == nil {
		select {
		case id, watching := <-changes:
			if !watching {
				return
			}
			err = send("note", cmp.Or(id, "-"))
		case <-beat.C:
			err = send("beat", "-")
		case <-r.Context().Done():
			return
		case <-s.closing:
			return
		}
	}
}

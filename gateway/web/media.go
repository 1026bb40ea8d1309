package web

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// Link signs a URL to a note's file that works until it expires, for a chat
// service to fetch; "" when the server has no public URL. The signature is
// HMAC-SHA256 over the id and the expiry, under a key for such links alone.
func (s *Server) Link(id string, expires time.Time) string {
	return s.signed("/media/", s.linkKey, id, expires)
}

// Page signs a URL to a page that plays the note, as Link does.
func (s *Server) Page(id string, expires time.Time) string {
	return s.signed("/note/", s.pageKey, id, expires)
}

func (s *Server) signed(path string, key []byte, id string, expires time.Time) string {
	if s.public.Host == "" {
		return ""
	}
	return s.public.String() + path + id + "?" + signedQuery(key, id, strconv.FormatInt(expires.Unix(), 10))
}

// signedQuery lets in who has it, to what the key and id stand for, until the
// Unix time exp.
func signedQuery(key []byte, id, exp string) string {
	return "exp=" + exp + "&sig=" + sign(key, id, exp)
}

// linkedMedia serves the file that a signed link names.
func (s *Server) linkedMedia(w http.ResponseWriter, r *http.Request) {
	id, query := r.PathValue("id"), r.URL.Query()
	exp := query.Get("exp")
	if !verify(s.linkKey, query.Get("sig"), id, exp) || past(exp) {
		s.notFound(w, r)
		return
	}
	s.media(w, r, id, func(delivery.Note) bool {
		w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin") // the link is made to be used elsewhere
		return true
	})
}

// noteMedia serves the file of one of the mailbox's notes.
func (s *Server) noteMedia(w http.ResponseWriter, r *http.Request, mailbox string) {
	s.media(w, r, r.PathValue("id"), func(n delivery.Note) bool { return n.Recipient.Number == mailbox })
}

// media serves a note's file, whole or in ranges (RFC 9110 section 14), if
// may allows it; with ?as=mp3 as an MP3 file, where there is one.
func (s *Server) media(w http.ResponseWriter, r *http.Request, id string, may func(delivery.Note) bool) {
	if !delivery.ValidID(id) {
		s.notFound(w, r)
		return
	}
	file, note, err := s.o.Notes.Open(r.Context(), id)
	if errors.Is(err, delivery.ErrNotFound) {
		s.notFound(w, r)
		return
	}
	if err != nil {
		s.unavailable(w, r, err)
		return
	}
	defer func() { _ = file.Close() }() // only read from
	if !may(note) {
		s.notFound(w, r)
		return
	}
	if r.URL.Query().Get("as") != "mp3" || !s.mp3s.offers(note) {
		serveFile(w, r, note, file)
		return
	}
	mp3, note, err := s.mp3s.make(r.Context(), note, file)
	if err != nil {
		s.log.WarnContext(r.Context(), "note did not become an MP3 file", "route", r.Pattern, "note_id", id, "error", err)
		static(w, http.StatusServiceUnavailable, s.pages.unavailable)
		return
	}
	serveFile(w, r, note, mp3)
}

func serveFile(w http.ResponseWriter, r *http.Request, note delivery.Note, file io.ReadSeeker) {
	h := w.Header()
	h.Set("Content-Type", mediaType(note.Media.Type))
	h.Set("Content-Disposition", `inline; filename="note-`+note.ID+extension(note.Media.Type)+`"`)
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("ETag", `"`+note.Media.SHA256+`"`)
	http.ServeContent(w, r, "", time.Time{}, file)
}

// mediaType keeps anything but sound and pictures from being taken for a page.
func mediaType(kept string) string {
	if strings.HasPrefix(kept, "audio/") || strings.HasPrefix(kept, "video/") {
		return kept
	}
	return "application/octet-stream"
}

// extension is how a saved file is called: operating systems go by it.
func extension(kept string) string {
	base, _, _ := strings.Cut(kept, ";")
	return map[string]string{"audio/ogg": ".ogg", "audio/mpeg": ".mp3", "video/mp4": ".mp4", "video/webm": ".webm"}[strings.TrimSpace(base)]
}

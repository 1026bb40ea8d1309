package web

import (
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// notePage fills note.html.
type notePage struct {
	Assets  string
	Texts   *text.Texts
	Caption text.Caption
	Call    template.URL // dials the caller; "" where there is nobody to dial
	Note    string       // the noteView as JSON, for the script
	Media   template.URL // the note's file; "" when there is nothing to play
	Type    string       // of the file
	MP3     bool         // it is to be had as MP3, too
	Video   bool
	Gone    bool
}

// signedNote reads the note that a signed link to its page names. Where it
// returns false, the answer was given.
func (s *Server) signedNote(w http.ResponseWriter, r *http.Request) (n delivery.Note, ok bool) {
	id, query := r.PathValue("id"), r.URL.Query()
	exp := query.Get("exp")
	if !verify(s.pageKey, query.Get("sig"), id, exp) || past(exp) || !delivery.ValidID(id) {
		s.notFound(w, r)
		return n, false
	}
	life, err := s.o.Notes.Life(r.Context(), id)
	switch {
	case errors.Is(err, delivery.ErrNotFound):
		s.notFound(w, r)
	case err != nil:
		s.unavailable(w, r, err)
	}
	return life.Note, err == nil
}

// linkedNote is the page that a signed link names, for recipients whose chat
// cannot play: in the note's own language, and without a script if need be.
func (s *Server) linkedNote(w http.ResponseWriter, r *http.Request) {
	n, ok := s.signedNote(w, r)
	if !ok {
		return
	}
	view := viewOf(n)
	script, err := json.Marshal(view)
	if err != nil {
		s.unavailable(w, r, err)
		return
	}
	texts := text.For(n.Recipient.Language)
	caption := unbroken(texts.Caption(n, false))
	page := notePage{
		Assets: "../" + s.pages.assets, Texts: texts, Caption: caption, Call: template.URL(caption.URI), //nolint:gosec // tel: and a number
		Note: string(script), Video: n.Kind == delivery.Video, Gone: view.Gone,
	}
	if view.Media != nil { // as long as the page, and not longer
		query := signedQuery(s.linkKey, n.ID, r.URL.Query().Get("exp"))
		page.Media = template.URL("../media/" + n.ID + "?" + query) //nolint:gosec // made here
		page.Type, page.MP3 = mediaType(n.Media.Type), s.mp3s.offers(n)
	}
	s.render(w, r, http.StatusOK, s.pages.note, page)
}

// unbroken keeps the caller's number on one line.
func unbroken(c text.Caption) text.Caption {
	if c.Number != "" {
		whole := strings.ReplaceAll(c.Number, " ", "\u00a0")
		c.Title, c.Number = strings.ReplaceAll(c.Title, c.Number, whole), whole
	}
	return c
}

// linkedPlayed keeps that the note was played on its page: POST /note/ID/played.
func (s *Server) linkedPlayed(w http.ResponseWriter, r *http.Request) {
	n, ok := s.signedNote(w, r)
	if !ok {
		return
	}
	s.keepMark(w, r, n.Recipient.Number, n.ID, delivery.MarkPlayed)
}

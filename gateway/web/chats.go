package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/skip2/go-qrcode"

	"github.com/afterbeep/afterbeep/delivery"
)

// Linkable is a channel whose chats mailboxes can link to themselves.
type Linkable struct {
	delivery.Linkable                // the channel
	Chats             delivery.Chats // what is linked at it
	Type              string         // of the channel, like "telegram"
}

// chatView is a channel that is offered to a mailbox, as the page's script
// reads it. Which chat is linked nobody is told.
type chatView struct {
	Channel string `json:"channel"`
	Type    string `json:"type,omitempty"`
	Linked  bool   `json:"linked"`
}

// codeView is what links a chat, in all the forms that people use.
type codeView struct {
	Link    string    `json:"link,omitempty"` // opens the chat service, the code ready to be sent
	Say     string    `json:"say"`            // what to send by hand
	Code    string    `json:"code"`
	Expires time.Time `json:"expires"`
	QR      *qrView   `json:"qr"` // of the link; null where there is none
}

// qrView is a QR code as the path of an SVG, in a square of size by size modules
// without the quiet zone (ISO/IEC 18004).
type qrView struct {
	Size int    `json:"size"`
	Path string `json:"path"`
}

// chats lists the channels that the mailbox can link a chat at.
func (s *Server) chats(w http.ResponseWriter, r *http.Request, mailbox string) {
	list := []chatView{}
	for _, name := range s.linkableFor(r.Context(), mailbox) {
		channel := s.o.Linkables[name]
		_, err := channel.Chats.Of(r.Context(), mailbox)
		if err != nil && !errors.Is(err, delivery.ErrNotFound) {
			s.unavailable(w, r, err)
			return
		}
		list = append(list, chatView{Channel: name, Type: channel.Type, Linked: err == nil})
	}
	s.json(w, r, list)
}

// linkableFor names the channels to offer to a mailbox.
func (s *Server) linkableFor(ctx context.Context, mailbox string) []string {
	if s.o.LinkableFor == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(s.o.LinkableFor(ctx, mailbox)), func(name string) bool {
		_, ok := s.o.Linkables[name]
		return !ok
	})
}

// linkable is the channel that the route names, if it is offered to the mailbox.
func (s *Server) linkable(r *http.Request, mailbox string) (Linkable, bool) {
	name := r.PathValue("channel")
	return s.o.Linkables[name], slices.Contains(s.linkableFor(r.Context(), mailbox), name)
}

// deepLinkWithin is how long a chat service may take to say where its bot is.
const deepLinkWithin = 10 * time.Second

// chatCode mints a code that links a chat: POST …/chats/CHANNEL/code.
func (s *Server) chatCode(w http.ResponseWriter, r *http.Request, mailbox string) {
	channel, ok := s.linkable(r, mailbox)
	if !ok {
		s.notFound(w, r)
		return
	}
	if !s.codes.take(mailbox) {
		w.Header().Set("Retry-After", fmt.Sprint(int(codesWithin.Seconds())))
		http.Error(w, "too many codes: wait a minute", http.StatusTooManyRequests)
		return
	}
	code, expires, err := channel.Chats.Code(r.Context(), mailbox)
	if err != nil {
		s.unavailable(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), deepLinkWithin)
	defer cancel()
	link, say, err := channel.DeepLink(ctx, code)
	if err != nil {
		s.log.WarnContext(ctx, "channel gave no link to its chat", "route", r.Pattern, "channel", r.PathValue("channel"), "error", err)
		static(w, http.StatusServiceUnavailable, s.pages.unavailable)
		return
	}
	s.json(w, r, codeView{Link: link, Say: say, Code: code, Expires: expires.UTC(), QR: qrOf(link)})
}

// unlink ends the mailbox's link: DELETE …/chats/CHANNEL.
func (s *Server) unlink(w http.ResponseWriter, r *http.Request, mailbox string) {
	channel, ok := s.linkable(r, mailbox)
	if !ok {
		s.notFound(w, r)
		return
	}
	if err := channel.Chats.Revoke(r.Context(), mailbox); err != nil {
		s.unavailable(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// qrOf draws a link, row by row; nil for no link, or one too long to be drawn.
func qrOf(link string) *qrView {
	code, err := qrcode.New(link, qrcode.Medium)
	if link == "" || err != nil {
		return nil
	}
	code.DisableBorder = true
	rows := code.Bitmap()
	var path strings.Builder
	for y, row := range rows {
		for x := 0; x < len(row); {
			from := x
			for x < len(row) && row[x] == row[from] {
				x++
			}
			if row[from] {
				_, _ = fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", from, y, x-from, x-from)
			}
		}
	}
	return &qrView{Size: len(rows), Path: path.String()}
}

package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

//go:embed page
var files embed.FS

// pages is what page/ holds.
type pages struct {
	inbox, admin, note   *template.Template
	missing, unavailable []byte            // the same bytes for everybody
	files                map[string][]byte // styles, scripts and pictures by name
	scripts              []string          // those of the inbox by name
	assets               string            // "assets/VERSION", where they are served; a new version has a new address
}

// loadPages reads page/; base is the path below which all is served.
func loadPages(base string) (pages, error) {
	p := pages{files: map[string][]byte{}}
	templates, err := template.ParseFS(files, "page/*.html")
	if err != nil {
		return p, fmt.Errorf("the pages in the program: %w", err)
	}
	p.inbox, p.admin, p.note = templates.Lookup("inbox.html"), templates.Lookup("admin.html"), templates.Lookup("note.html")
	entries, err := fs.ReadDir(files, "page")
	if err != nil {
		return p, fmt.Errorf("the pages in the program: %w", err)
	}
	version := sha256.New()
	for _, e := range entries {
		content, err := files.ReadFile("page/" + e.Name())
		if err != nil {
			return p, fmt.Errorf("the pages in the program: %w", err)
		}
		_, _ = version.Write(content)
		switch path.Ext(e.Name()) {
		case ".html":
			continue
		case ".js":
			if e.Name() != "note.js" { // the note page's own
				p.scripts = append(p.scripts, e.Name())
			}
		}
		p.files[e.Name()] = content
	}
	p.assets = "assets/" + hex.EncodeToString(version.Sum(nil)[:8])
	var missing, unavailable bytes.Buffer
	if err := errors.Join(
		templates.ExecuteTemplate(&missing, "missing.html", base+"/"+p.assets),
		templates.ExecuteTemplate(&unavailable, "unavailable.html", base+"/"+p.assets),
	); err != nil {
		return p, fmt.Errorf("the pages in the program: %w", err)
	}
	p.missing, p.unavailable = missing.Bytes(), unavailable.Bytes()
	return p, nil
}

// assetTypes says what the files are; the system's own table may say otherwise.
var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8", // RFC 9239
	".svg": "image/svg+xml",
}

// asset serves a style, script or picture. They hold nothing of anybody's.
func (s *Server) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	content, ok := s.pages.files[name]
	if !ok || "assets/"+r.PathValue("version") != s.pages.assets {
		s.notFound(w, r)
		return
	}
	w.Header().Set("Content-Type", assetTypes[path.Ext(name)])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // RFC 8246: the version is in the address
	_, _ = w.Write(content)
}

// inboxView fills inbox.html.
type inboxView struct {
	Assets    string
	Scripts   []string
	Language  string            // BCP 47, for how times and figures are written
	Words     map[string]string // in that language, for the script
	Recipient delivery.Recipient
	Display   string // the mailbox's number as people write it
	Admin     bool
}

// inboxPage is the page itself, the same through both doors. Links in it are
// relative: a proxy may serve all this below a path of its own.
func (s *Server) inboxPage(w http.ResponseWriter, r *http.Request, mailbox string) {
	recipient, ok := s.o.Directory.Recipient(r.Context(), mailbox)
	if !ok { // taken out of the directory, or it cannot be asked; its notes are still here
		recipient = delivery.Recipient{Number: mailbox}
	}
	admin := r.PathValue("token") == ""
	up := "../"
	if admin {
		up = "../../"
	}
	language, texts := speak(recipient.Language, r.Header.Get("Accept-Language"))
	s.render(w, r, http.StatusOK, s.pages.inbox, inboxView{
		Assets:    up + s.pages.assets,
		Scripts:   s.pages.scripts,
		Language:  language,
		Words:     texts.Words(),
		Recipient: recipient,
		Display:   text.Display(recipient.Number),
		Admin:     admin,
	})
}

// adminView fills admin.html: a form to log in, or the mailboxes.
type adminView struct {
	Assets    string
	Wrong     bool // the token that was given
	Known     bool // who asks is the admin
	Query     string
	Mailboxes []mailboxView
	More      bool // than are listed
}

type mailboxView struct {
	Name, Display string
	Path          string // relative
}

// mailboxesMost is how many mailboxes are listed at once; searching finds the others.
const mailboxesMost = 200

// adminPage lists the mailboxes, or asks for the token.
func (s *Server) adminPage(w http.ResponseWriter, r *http.Request) {
	view := adminView{Assets: "../" + s.pages.assets}
	if s.isAdmin(r) {
		view.Known, view.Query = true, r.URL.Query().Get("q")
		view.Mailboxes, view.More = s.mailboxes(r.Context(), view.Query)
	}
	s.render(w, r, http.StatusOK, s.pages.admin, view)
}

func (s *Server) mailboxes(ctx context.Context, query string) (views []mailboxView, more bool) {
	found, more := s.o.Directory.Search(ctx, query, mailboxesMost)
	for _, m := range found {
		views = append(views, mailboxView{m.Name, text.Display(m.Number), "inbox/" + url.PathEscape(m.Number)})
	}
	return views, more
}

// render answers with a template's page.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, t *template.Template, view any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := t.Execute(w, view); err != nil {
		s.log.DebugContext(r.Context(), "page was not sent", "route", r.Pattern, "error", err)
	}
}

package web

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// Options is what the server works with. Callbacks, Linkables, LinkableFor,
// MP3, AdminToken, PublicURL and Heartbeat may be left empty.
type Options struct {
	Inbox     delivery.Inbox
	Notes     Notes
	Links     Links
	Keeper    Keeper
	Directory Directory
	Metrics   *Metrics
	Log       *slog.Logger

	// Ready says why the gateway takes no calls, in a line that may be shown
	// to anybody; nil when it does.
	Ready func(ctx context.Context) error

	// Callbacks answer what chat services tell, by the name of the channel: the
	// handlers behind /callback/NAME.
	Callbacks map[string]http.Handler
	// Linkables are the channels whose chats mailboxes can link to themselves,
	// by name, and LinkableFor names those to offer to a mailbox: which its
	// chains name without an address. nil when there are none.
	Linkables   map[string]Linkable
	LinkableFor func(ctx context.Context, mailbox string) []string

	// MP3 makes an MP3 file of a note's Ogg Opus file, for browsers that know no
	// Opus; nil for none.
	MP3 func(ctx context.Context, note io.Reader) ([]byte, error)

	PublicURL  string        // where this server is reached from outside, like https://notes.example/voice; "" for no media links
	AdminToken string        // opens every mailbox; "" for nobody
	Heartbeat  time.Duration // between signs of life on an idle event stream; 0 for 20 s
}

// Notes reads notes, see delivery.Notes.
type Notes interface {
	Life(ctx context.Context, id string) (delivery.Life, error)
	Open(ctx context.Context, id string) (io.ReadSeekCloser, delivery.Note, error)
}

// Links knows the secrets behind addresses, see delivery.Links.
type Links interface {
	LinkOwner(ctx context.Context, token string) (mailbox string, err error)
	SigningKey(ctx context.Context) ([]byte, error)
}

// Directory names the mailboxes there are.
type Directory interface {
	// Recipient is the mailbox of a number, as the directory writes it; false
	// where there is none, or none can be told now.
	Recipient(ctx context.Context, number string) (delivery.Recipient, bool)
	// Search lists mailboxes whose name or number contains the query, "" for
	// all, in the order they are to be listed, and says whether there are more
	// than most.
	Search(ctx context.Context, query string, most int) (found []delivery.Recipient, more bool)
}

// Server answers HTTP. It is made by New.
type Server struct {
	o       Options
	log     *slog.Logger
	pages   pages
	handler http.Handler
	http    http.Server

	public     *url.URL // without a slash at its end; zero when there is none
	linkKey    []byte   // signs media links
	pageKey    []byte   // signs note pages
	sessionKey []byte   // signs admin cookies

	codes    quota // of linking codes
	mp3s     mp3s
	shutdown sync.Once
	closing  chan struct{} // closed when event streams must end
}

// New makes a server. It fails when the store gives no signing key, or
// PublicURL is no http or https address.
func New(ctx context.Context, o Options) (*Server, error) {
	key, err := o.Links.SigningKey(ctx)
	if err != nil {
		return nil, fmt.Errorf("the key that signs media links: %w", err)
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 20 * time.Second
	}
	public, err := publicURL(o.PublicURL)
	if err != nil {
		return nil, err
	}
	pages, err := loadPages(public.Path)
	if err != nil {
		return nil, err
	}
	s := &Server{
		o:          o,
		log:        o.Log,
		pages:      pages,
		public:     public,
		linkKey:    derive(key, "media link"),
		pageKey:    derive(key, "note page"),
		sessionKey: derive(key, "admin session", o.AdminToken),
		mp3s:       mp3s{encode: o.MP3},
		closing:    make(chan struct{}),
	}
	sameOrigin := http.NewCrossOriginProtection() // refuses changes that another site's page asks a browser for
	sameOrigin.SetDenyHandler(http.HandlerFunc(s.notFound))
	sameOrigin.AddInsecureBypassPattern("/callback/{name}") // asked by services, which prove themselves
	if public.Host != "" {
		if err := sameOrigin.AddTrustedOrigin(public.Scheme + "://" + public.Host); err != nil {
			return nil, fmt.Errorf("the public URL: %w", err)
		}
	}
	s.handler = s.logged(timely(hardened(sameOrigin.Handler(s.routes())), bodyWithin))
	s.http = http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      2 * time.Minute, // event streams set their own
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// derive makes a key for one purpose out of the store's.
func derive(key []byte, purpose ...string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(strings.Join(purpose, "\x00")))
	return mac.Sum(nil)
}

// publicURL reads the address; without one it is the zero URL.
func publicURL(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if text != "" && (err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https")) {
		return nil, errors.New("the public URL must look like https://notes.example")
	}
	return u, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Serve answers what comes in on l until Shutdown; then it returns nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// grace is how long requests in progress may take to finish. Browsers keep
// connections that never carried one, for which net/http would wait longer.
const grace = 2 * time.Second

// Shutdown ends event streams, lets other requests finish within a moment, or
// until ctx ends, and closes what is left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.shutdown.Do(func() { close(s.closing) })
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return s.http.Close()
}

// route is one line of the routes table.
type route struct {
	pattern string
	serve   http.HandlerFunc
}

// mailboxRoute is a route below a mailbox; both doors lead to it.
type mailboxRoute struct {
	method, path string
	serve        func(w http.ResponseWriter, r *http.Request, mailbox string)
}

func (s *Server) mailboxRoutes() []mailboxRoute {
	return []mailboxRoute{
		{"GET", "", s.inboxPage},
		{"GET", "/notes", s.thread},
		{"POST", "/notes/{id}/{mark}", s.mark},
		{"GET", "/notes/{id}/media", s.noteMedia},
		{"GET", "/events", s.events},
		{"GET", "/chats", s.chats},
		{"POST", "/chats/{channel}/code", s.chatCode},
		{"DELETE", "/chats/{channel}", s.unlink},
	}
}

// routes is the table of all there is; everything else is the uniform 404.
func (s *Server) routes() *http.ServeMux {
	table := []route{
		{"/", s.notFound},
		{"GET /healthz", s.healthy},
		{"GET /readyz", s.ready},
		{"GET /metrics", s.o.Metrics.ServeHTTP},
		{"GET /assets/{version}/{file}", s.asset},
		{"GET /media/{id}", s.linkedMedia},
		{"GET /note/{id}", s.linkedNote},
		{"POST /note/{id}/played", s.linkedPlayed},
		{"GET /callback/{name}", s.callback},
		{"POST /callback/{name}", s.callback},
	}
	for _, r := range s.mailboxRoutes() {
		table = append(table, route{r.method + " /inbox/{token}" + r.path, s.byLink(r.serve)})
	}
	if s.o.AdminToken != "" {
		table = append(table,
			route{"GET /admin/{$}", s.adminPage},
			route{"POST /admin/{$}", s.login},
			route{"POST /admin/logout", s.logout},
			route{"GET /admin/api/mailboxes/{mailbox}/export", s.byAdmin(s.export)},
			route{"DELETE /admin/api/mailboxes/{mailbox}/notes", s.byAdmin(s.erase)})
		for _, r := range s.mailboxRoutes() {
			table = append(table, route{r.method + " /admin/inbox/{mailbox}" + r.path, s.byAdmin(r.serve)})
		}
	}
	mux := http.NewServeMux()
	for _, r := range table {
		mux.HandleFunc(r.pattern, r.serve)
	}
	return mux
}

// contentSecurity lets the page load what this server serves and nothing else,
// inline or from elsewhere (W3C CSP 3).
const contentSecurity = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// hardened sets the headers that every answer carries. The page's address is
// the recipient's secret: it must not leave in a Referer, nor stay in a cache.
func hardened(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurity)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("X-Robots-Tag", "noindex")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// logged writes one debug line for each request: its route, never its path,
// which may hold a token or a number.
func (s *Server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		out := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(out, r)
		s.log.DebugContext(r.Context(), "http request",
			"route", r.Pattern, "status", cmp.Or(out.status, http.StatusOK), "took_ms", time.Since(began).Milliseconds())
	})
}

// statusWriter remembers the status that was sent.
type statusWriter struct {
	http.ResponseWriter
	status int // 0 before the answer began
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	w.status = cmp.Or(w.status, http.StatusOK)
	return w.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController the writer below.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// notFound is the one answer to whatever is not there or not to be seen.
func (s *Server) notFound(w http.ResponseWriter, _ *http.Request) {
	static(w, http.StatusNotFound, s.pages.missing)
}

// unavailable answers when the store failed: at whatever was asked for, so
// that this tells nothing either.
func (s *Server) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == nil {
		s.o.Metrics.StoreError("web")
		s.log.WarnContext(r.Context(), "store failed a request", "route", r.Pattern, "error", err)
	}
	static(w, http.StatusServiceUnavailable, s.pages.unavailable)
}

// json answers with a view, as the page's script reads it.
func (s *Server) json(w http.ResponseWriter, r *http.Request, view any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(view); err != nil {
		s.log.DebugContext(r.Context(), "answer was not sent", "route", r.Pattern, "error", err)
	}
}

// static answers with a page that is the same for everybody.
func static(w http.ResponseWriter, status int, page []byte) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page)
}

// healthy says that the process lives.
func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") }

// ready says whether the gateway takes calls, and if not, why.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if err := s.o.Ready(r.Context()); err != nil {
		http.Error(w, "not ready: "+strings.ReplaceAll(err.Error(), "\n", "; "), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ready")
}

package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// InboxPath is the path of the page that a mailbox's token opens.
func InboxPath(token string) string { return "/inbox/" + token }

// byLink opens a mailbox to who has its secret link.
func (s *Server) byLink(serve func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token := r.PathValue("token")
		if !validToken(token) {
			s.notFound(w, r)
			return
		}
		mailbox, err := s.o.Links.LinkOwner(r.Context(), token)
		switch {
		case errors.Is(err, delivery.ErrNotFound):
			s.notFound(w, r)
		case err != nil:
			s.unavailable(w, r, err)
		default:
			serve(w, r, mailbox)
		}
	}
}

// validToken says whether a token may be looked up at all: base64url of 128
// bits or more.
func validToken(token string) bool {
	if len(token) < 22 || len(token) > 128 {
		return false
	}
	for _, c := range []byte(token) {
		if !alphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// byAdmin opens any mailbox to who has the admin token.
func (s *Server) byAdmin(serve func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.isAdmin(r) {
			s.notFound(w, r)
			return
		}
		serve(w, r, r.PathValue("mailbox"))
	}
}

// isAdmin looks for the token (RFC 6750 section 2.1) or a session begun with it.
func (s *Server) isAdmin(r *http.Request) bool {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return s.isAdminToken(token)
	}
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return false
	}
	expires, signature, _ := strings.Cut(cookie.Value, ".")
	return verify(s.sessionKey, signature, expires) && !past(expires)
}

// isAdminToken compares in a time that tells neither length nor likeness.
func (s *Server) isAdminToken(token string) bool {
	given, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.o.AdminToken))
	return s.o.AdminToken != "" && subtle.ConstantTimeCompare(given[:], want[:]) == 1
}

// The session of an admin's browser: a signed end and nothing else, so that a
// restart keeps it and a new admin token ends it.
const (
	sessionCookie = "afterbeep_admin"
	sessionLength = 12 * time.Hour
)

// login begins a session for who knows the admin token.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	if !s.isAdminToken(r.PostFormValue("token")) {
		s.render(w, r, http.StatusForbidden, s.pages.admin, adminView{Assets: "../" + s.pages.assets, Wrong: true})
		return
	}
	end := time.Now().Add(sessionLength)
	expires := strconv.FormatInt(end.Unix(), 10)
	http.SetCookie(w, s.session(r, expires+"."+sign(s.sessionKey, expires), end))
	http.Redirect(w, r, "./", http.StatusSeeOther)
}

// logout ends the browser's session.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, s.session(r, "", time.Unix(1, 0)))
	http.Redirect(w, r, "./", http.StatusSeeOther)
}

// session is the cookie without a path: that of the request counts, which a
// proxy may have put below one of its own (RFC 6265 section 5.1.4).
func (s *Server) session(r *http.Request, value string, end time.Time) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure where the gateway is reached by https; on loopback it is not
		Name:     sessionCookie,
		Value:    value,
		Expires:  end,
		HttpOnly: true,
		Secure:   r.TLS != nil || s.public.Scheme == "https",
		SameSite: http.SameSiteStrictMode,
	}
}

// sign signs what the parts say together; none may hold a NUL.
func sign(key []byte, parts ...string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(strings.Join(parts, "\x00")))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// verify compares as text: the encoding has one spelling for each signature.
func verify(key []byte, signature string, parts ...string) bool {
	return hmac.Equal([]byte(signature), []byte(sign(key, parts...)))
}

// past says whether a signed Unix time is over, or none at all.
func past(expires string) bool {
	at, err := strconv.ParseInt(expires, 10, 64)
	return err != nil || time.Now().Unix() >= at
}

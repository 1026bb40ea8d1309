package sip

import (
	"log/slog"
	"strconv"
	"strings"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// minSession is the shortest session interval that is taken (RFC 4028 section 5).
const minSession = 90 * time.Second

// endEarly is how long before its time a session that nobody refreshed is
// ended, unless a third of the interval is less (RFC 4028 section 10).
const endEarly = 32 * time.Second

// session is the session timer of a dialog (RFC 4028): the refresher says
// again and again that it is there, and when it does not the call is over.
type session struct {
	interval time.Duration
	ours     bool // this side is the refresher
	update   bool // and the peer takes an UPDATE
	end      time.Time
	timer    *time.Timer
}

// stop forgets the timer, if there is one.
func (t *session) stop() {
	if t != nil {
		t.timer.Stop()
	}
}

// sessionExpires reads Session-Expires: seconds, and uac or uas for who
// refreshes. What is no number is as good as none.
func sessionExpires(m headered) (interval time.Duration, refresher string) {
	text, ps, _ := strings.Cut(strings.Join(headerValues(m, "Session-Expires"), ","), ";")
	seconds, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	if err != nil {
		return 0, ""
	}
	refresher, _ = params(ps).get("refresher")
	return time.Duration(seconds) * time.Second, strings.ToLower(refresher)
}

// checkSession refuses an interval that is too short. A peer without session
// timers would not know how to ask for more: a proxy set it, and it is left
// out (RFC 4028 section 9).
func (s *Server) checkSession(req *sipmsg.Request) *rejection {
	interval, _ := sessionExpires(req)
	sets := req.IsInvite() || req.Method == sipmsg.UPDATE
	if !sets || interval == 0 || interval >= s.minSession || !supports(req, "timer") {
		return nil
	}
	return &rejection{422, []sipmsg.Header{sipmsg.NewHeader("Min-SE", seconds(s.minSession))}}
}

// startSession starts the timer a request asks for, or ends it where it asks
// for none, and returns what the 2xx says of it (RFC 4028 section 9). The lock
// is held.
func (d *dialog) startSession(req *sipmsg.Request) []sipmsg.Header {
	interval, refresher := sessionExpires(req)
	if interval < d.server.minSession {
		d.session.stop()
		d.session = nil
		return nil
	}
	able := supports(req, "timer")
	ours := refresher == "uas" || !able
	update := req.Method == sipmsg.UPDATE || contains(headerValues(req, "Allow"), sipmsg.UPDATE.String())
	d.renew(interval, ours, update)
	refresher = "uac"
	if ours {
		refresher = "uas"
	}
	headers := []sipmsg.Header{sipmsg.NewHeader("Session-Expires", seconds(interval)+";refresher="+refresher)}
	if able {
		headers = append(headers, sipmsg.NewHeader("Require", "timer"))
	}
	return headers
}

// renew starts the timer anew. The lock is held.
func (d *dialog) renew(interval time.Duration, ours, update bool) {
	d.session.stop()
	patience := interval - min(endEarly, interval/3)
	t := &session{interval: interval, ours: ours, update: update, end: time.Now().Add(patience)}
	if ours {
		patience = interval / 2
	}
	t.timer = time.AfterFunc(patience, func() { d.tick(t) })
	d.session = t
}

// tick refreshes the session, or ends it when its time is over.
func (d *dialog) tick(t *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() { d.server.caught(recover(), slog.String("note_id", d.id)) }()
	if d.session != t || d.cause != nil {
		return
	}
	left := time.Until(t.end)
	switch {
	case left <= 0:
		d.hangUp(ErrExpired, CauseTimeout)
	case d.phase != confirmed || d.offering || d.asking: // an exchange is under way
		t.timer.Reset(min(left, retrySoon))
	default:
		t.timer.Reset(left)
		d.refresh(t)
	}
}

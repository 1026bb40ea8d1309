package sip

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// incoming is a request that is being served.
type incoming struct {
	*sipmsg.Request
	tx      *sipmsg.ServerTx
	began   time.Time // when it was taken up
	source  netip.AddrPort
	trunk   *Trunk
	tag     tag  // the To tag, where this side gave it out
	fresh   bool // it came without a To tag
	weighed bool // an INVITE's rate was looked at before it was parsed
}

// phrases are the reason phrases of the responses sent here.
var phrases = map[int]string{
	180: "Ringing",
	200: "OK",
	302: "Moved Temporarily",
	400: "Bad Request",
	401: "Unauthorized",
	403: "Forbidden",
	404: "Not Found",
	405: "Method Not Allowed",
	406: "Not Acceptable",
	415: "Unsupported Media Type",
	416: "Unsupported URI Scheme",
	420: "Bad Extension",
	422: "Session Interval Too Small",
	423: "Interval Too Brief",
	433: "Anonymity Disallowed",
	480: "Temporarily Unavailable",
	481: "Call/Transaction Does Not Exist",
	482: "Loop Detected",
	486: "Busy Here",
	487: "Request Terminated",
	488: "Not Acceptable Here",
	489: "Bad Event",
	491: "Request Pending",
	500: "Server Internal Error",
	501: "Not Implemented",
	503: "Service Unavailable",
	504: "Server Time-out",
	505: "Version Not Supported",
	603: "Decline",
}

// response builds a response (RFC 3261 section 8.2.6). Its To tag is that of
// the request, which got one when it arrived.
func response(req *sipmsg.Request, code int, headers ...sipmsg.Header) *sipmsg.Response {
	phrase, ok := phrases[code]
	if !ok {
		phrase = "Refused"
	}
	res := sipmsg.NewResponseFromRequest(req, code, phrase, nil)
	res.SipVersion = "SIP/2.0" // sipgo repeats the request's, whatever it was
	res.AppendHeader(sipmsg.NewHeader("Server", userAgent))
	for _, h := range headers {
		res.AppendHeader(h)
	}
	if code == 400 {
		repeatUnread(req, res)
	}
	return res
}

// phraseOf is a peer's reason phrase as a log may have it: one with a digit or an
// address in it may name a mailbox, and is left out.
func phraseOf(res *sipmsg.Response) string {
	phrase := clean(res.Reason)
	if strings.ContainsAny(phrase, "0123456789@") {
		return ""
	}
	return phrase
}

// respond answers the request. What cannot be sent is resent by the peer's
// timers or ours, so a failure has no other consequence.
func (in *incoming) respond(code int, headers ...sipmsg.Header) {
	_ = in.tx.Respond(response(in.Request, code, headers...))
}

// respondOnce answers a request that changed nothing, and keeps nothing of it: a
// copy is a request of its own (RFC 3261 section 8.2.7). Its source may be
// forged, and sipgo would hold what lies in a transaction for 32 s.
func (in *incoming) respondOnce(code int, headers ...sipmsg.Header) {
	in.tx.Terminate()
	_ = in.tx.Connection().WriteMsg(response(in.Request, code, headers...))
}

// reject answers it with what ends it.
func (in *incoming) reject(r *rejection) { in.respond(r.code, r.headers...) }

// network is udp, tcp, tls, ws or wss.
func (in *incoming) network() string { return sipmsg.NetworkToLower(in.Transport()) }

// retryAfter tells a peer when to try again, in whole seconds (RFC 3261
// section 20.33).
func retryAfter(d time.Duration) sipmsg.Header {
	return sipmsg.NewHeader("Retry-After", seconds(d+time.Second-1))
}

// seconds writes a whole number of them.
func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// tagParam reads the tag of a To or From header; "" when it has none.
func tagParam(ps sipmsg.HeaderParams) string {
	v, _ := ps.Get("tag")
	return v
}

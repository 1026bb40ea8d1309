package sip

import (
	"fmt"
	"strconv"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// Why a call came to the gateway, as Callee.Reason says it.
const (
	reasonMissed      = "missed"
	reasonBusy        = "busy"
	reasonUnreachable = "unreachable"
	reasonForwarded   = "forwarded"
	reasonDeclined    = "declined"
)

// causeReasons maps the cause of RFC 4458 section 2.2 and of a SIP Reason. What
// is not here says nothing.
var causeReasons = map[int]string{
	302: reasonForwarded,
	408: reasonMissed,
	480: reasonDeclined,
	486: reasonBusy,
	487: reasonDeclined,
	503: reasonUnreachable,
}

// diversionReasons maps the reason of a Diversion (RFC 5806). What is not here
// says nothing.
var diversionReasons = map[string]string{
	"no-answer":      reasonMissed,
	"user-busy":      reasonBusy,
	"unavailable":    reasonUnreachable,
	"out-of-service": reasonUnreachable,
	"unconditional":  reasonForwarded,
	"deflection":     reasonDeclined,
}

// causeTranslated marks a service number that was translated, which diverts
// nobody (RFC 8119).
const causeTranslated = 380

// Causes that mean somebody took the call on another phone.
const (
	sipAnswered      = 200 // RFC 3326 section 3.1
	q850AnsweredElse = 26  // Q.850: non-selected user clearing
)

// cause is one value of a Reason header (RFC 3326 section 2).
type cause struct {
	protocol string // upper case: SIP or Q.850
	code     int    // 0 when none was given
}

// parseReason reads one value of a Reason header; false when it has no protocol.
func parseReason(s string) (cause, bool) {
	protocol, ps, _ := strings.Cut(s, ";")
	protocol = strings.ToUpper(strings.TrimSpace(protocol))
	if protocol == "" {
		return cause{}, false
	}
	text, _ := params(ps).get("cause")
	code, err := strconv.Atoi(text)
	if err != nil {
		code = 0
	}
	return cause{protocol, code}, true
}

// elsewhere says whether a CANCEL (or BYE) reports that somebody answered on
// another phone: then the caller left nothing and missed nobody.
func elsewhere(req *sipmsg.Request) bool {
	for _, v := range headerValues(req, "Reason") {
		switch c, _ := parseReason(v); c {
		case cause{"SIP", sipAnswered}, cause{"Q.850", q850AnsweredElse}:
			return true
		}
	}
	return false
}

// qReason writes the Reason header of a BYE: a Q.850 cause and a text without
// line breaks (RFC 3326 section 2).
func qReason(code int, text string) string {
	return fmt.Sprintf(`Q.850;cause=%d;text="%s"`, code, quoter.Replace(text))
}

// quoter escapes text for a quoted-string.
var quoter = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", " ", "\n", " ")

package sip

import (
	"net/url"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// Unknown is what a trunk's calls to unknown numbers get: "480", which "" is
// too, or the SIP URI of a 302, in which {user} stands for the number called.
type Unknown string

// userMark stands for the number called.
const userMark = "{user}"

// validate adds what is wrong with the setting.
func (u Unknown) validate(key string, wrong *mistakes) {
	if u == "" || u == "480" {
		return
	}
	text := strings.ReplaceAll(string(u), userMark, "101")
	if _, ok := sipURI(text); !ok || strings.ContainsAny(text, "<>\" \t\r\n{}") {
		wrong.add(key, "expected \"480\", or a SIP URI that the call is sent back to, like sip:{user}@pbx.example, not %q", string(u))
	}
}

// contact is where a call to user is sent back to; false when it gets 480.
func (u Unknown) contact(user string) (sipmsg.Header, bool) {
	if u == "" || u == "480" || user == "" && strings.Contains(string(u), userMark) {
		return nil, false
	}
	uri := strings.ReplaceAll(string(u), userMark, escapeUser(user))
	return sipmsg.NewHeader("Contact", "<"+uri+">"), true
}

// userEscapes are what a path may hold and a user part may not.
var userEscapes = strings.NewReplacer("@", "%40", ":", "%3A")

// escapeUser writes a user part as a URI holds it (RFC 3261 section 25.1).
func escapeUser(user string) string {
	return userEscapes.Replace(url.PathEscape(user))
}

// RefuseUnknown refuses a call to a number that has no mailbox, the way its
// trunk wants it. All such refusals are alike, apart from what they repeat of
// the request, whatever the reason.
func (c *Call) RefuseUnknown() error {
	user := ""
	if len(c.Callees) > 0 {
		user = c.Callees[0].User
	}
	if contact, ok := c.Trunk.Unknown.contact(user); ok {
		return c.refuse(302, contact)
	}
	return c.refuse(480)
}

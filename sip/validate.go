package sip

import (
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// extensions are the option tags understood in a Require header.
var extensions = map[string]bool{"100rel": true, "timer": true}

// rejection is a response that ends a request before it is served.
type rejection struct {
	code    int
	headers []sipmsg.Header
}

// checks are what a request must pass.
type checks []func(*sipmsg.Request) *rejection

// Every request but ACK and CANCEL is checked before it is known who serves it,
// and after (RFC 3261 section 8.2). sipgo's parser lets the faults of RFC 4475
// through that are looked for.
var (
	syntax    = checks{checkVersion, checkSingle, checkReadable, checkNames}
	semantics = checks{checkURI, checkRequire, checkAccept}
)

// validate returns why a request is not served, or nil.
func validate(req *sipmsg.Request) *rejection {
	if r := syntax.of(req); r != nil {
		return r
	}
	return semantics.of(req)
}

// of returns what the first check says that a request does not pass.
func (c checks) of(req *sipmsg.Request) *rejection {
	for _, check := range c {
		if r := check(req); r != nil {
			return r
		}
	}
	return nil
}

func checkVersion(req *sipmsg.Request) *rejection {
	if !strings.EqualFold(req.SipVersion, "SIP/2.0") { // RFC 4475 section 3.1.2.16
		return &rejection{code: 505}
	}
	return nil
}

// singles are the headers of which there is exactly one (RFC 3261 section 8.1.1).
var singles = []string{"from", "to", "call-id", "cseq", "max-forwards", "content-length"}

// checkSingle finds headers that stand there twice (RFC 4475 section 3.3.8) or
// with two lengths (section 3.3.9).
func checkSingle(req *sipmsg.Request) *rejection {
	for _, name := range singles {
		count := 0
		for range headersOf(req, name) {
			count++
		}
		if count > 1 {
			return &rejection{code: 400}
		}
	}
	return nil
}

// checkReadable finds numbers that are none (RFC 4475 sections 3.1.2.3 and
// 3.1.2.4), a route set with a gap and a broken Contact. Of what names the request checkNames
// finds it.
func checkReadable(req *sipmsg.Request) *rejection {
	for _, name := range []string{"max-forwards", "content-length", "record-route", "contact"} {
		for h := range headersOf(req, name) {
			if unread(h) {
				return &rejection{code: 400}
			}
		}
	}
	return nil
}

// checkNames finds requests that lack what names them (RFC 4475 section 3.3.1)
// or whose CSeq names another method (section 3.1.2.17).
func checkNames(req *sipmsg.Request) *rejection {
	via, cseq, from, to := req.Via(), req.CSeq(), req.From(), req.To()
	if via == nil || cseq == nil || from == nil || to == nil || req.CallID() == nil ||
		!strings.EqualFold(cseq.MethodName.String(), req.Method.String()) || tagParam(from.Params) == "" {
		return &rejection{code: 400}
	}
	if req.IsInvite() || req.Method == sipmsg.UPDATE {
		return checkContact(req)
	}
	return nil
}

// checkContact finds a request that sets up a dialog and does not say where its
// sender is (RFC 3261 section 8.1.1.8).
func checkContact(req *sipmsg.Request) *rejection {
	if c := req.Contact(); c == nil || c.Address.Wildcard || c.Address.Host == "" {
		return &rejection{code: 400}
	}
	return nil
}

func checkURI(req *sipmsg.Request) *rejection {
	if strings.ContainsAny(req.Recipient.String(), `<>" `) { // RFC 4475 section 3.1.2.7
		return &rejection{code: 400}
	}
	if !known(req.Recipient.Scheme) { // RFC 4475 section 3.3.2
		return &rejection{code: 416}
	}
	if len(req.Recipient.Headers) > 0 { // RFC 4475 section 3.1.2.11
		return &rejection{code: 400}
	}
	return nil
}

// isScheme says whether s may be the scheme of a URI (RFC 3261 section 25.1).
func isScheme(s string) bool {
	for i, c := range s {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", c)) {
			return false
		}
	}
	return s != ""
}

// known says whether a URI of a scheme can be a mailbox's.
func known(scheme string) bool {
	switch strings.ToLower(scheme) {
	case "sip", "sips", "tel":
		return true
	}
	return false
}

// checkRequire refuses extensions that are not understood (RFC 3261 section
// 8.2.2.3), preconditions (RFC 3312) among them; in Supported they harm nobody.
func checkRequire(req *sipmsg.Request) *rejection {
	var unknown []string
	for _, option := range headerValues(req, "Require") {
		if !extensions[strings.ToLower(option)] {
			unknown = append(unknown, option)
		}
	}
	if unknown == nil {
		return nil
	}
	return &rejection{420, []sipmsg.Header{sipmsg.NewHeader("Unsupported", strings.Join(unknown, ", "))}}
}

// checkAccept refuses an INVITE whose answer could not be SDP (RFC 4475
// section 3.3.15).
func checkAccept(req *sipmsg.Request) *rejection {
	if !req.IsInvite() {
		return nil
	}
	if !accepts(req, typeSDP) {
		return &rejection{code: 406}
	}
	return nil
}

// accepts says whether an Accept header, where there is one, lets a type pass.
func accepts(req *sipmsg.Request, mediaType string) bool {
	types := headerValues(req, "Accept")
	for _, t := range types {
		kind, _, _ := strings.Cut(t, ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case mediaType, "application/*", "*/*":
			return true
		}
	}
	return len(types) == 0
}

package sip

import (
	"bytes"
	"strconv"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// newParser is sipgo's parser, except that a header it cannot read stays as it
// came: sipgo would drop the whole message without an answer, and close a
// connection that others share. validate answers 400 to it. Without a
// Content-Length that can be read a stream has no next message, so that still
// closes the connection.
func newParser() *sipmsg.Parser {
	parsers := make(map[string]sipmsg.HeaderParser)
	for name, parse := range sipmsg.DefaultHeadersParser() {
		parsers[name] = func(name []byte, text string) (sipmsg.Header, error) {
			h, err := parse(name, text)
			if (err == nil || err.Error() == moreFollows) && !hollow(h, text) {
				return h, err
			}
			return sipmsg.NewHeader(string(name), text), nil
		}
	}
	return sipmsg.NewParser(sipmsg.WithHeadersParsers(parsers))
}

// moreFollows is what sipgo's error says that is none: a list goes on.
const moreFollows = "comma detected"

// hollow says whether a Contact has parameters without a name, which sipgo
// leaves out (RFC 4475 section 3.1.2.1).
func hollow(h sipmsg.Header, text string) bool {
	_, contact := h.(*sipmsg.ContactHeader)
	if !contact {
		return false
	}
	i := indexOutside(text, ';')
	return i >= 0 && strings.HasPrefix(text[i:], ";;")
}

// unread says whether a header is there that could not be read. sipgo's type
// for those has no name outside.
func unread(h sipmsg.Header) bool {
	switch h.(type) {
	case nil, *sipmsg.FromHeader, *sipmsg.ToHeader, *sipmsg.CallIDHeader, *sipmsg.CSeqHeader,
		*sipmsg.MaxForwardsHeader, *sipmsg.ContentLengthHeader, *sipmsg.RecordRouteHeader, *sipmsg.ContactHeader:
		return false
	}
	return true
}

// named are the headers by which the peer knows what a response answers.
var named = []string{"From", "To", "Call-ID", "CSeq"}

// repeatUnread puts into a response what it repeats of a request whatever that
// says (RFC 3261 section 8.2.6.2).
func repeatUnread(req *sipmsg.Request, res *sipmsg.Response) {
	for _, name := range named {
		for h := range headersOf(req, name) {
			if unread(h) {
				res.RemoveHeader(name)
				res.AppendHeader(sipmsg.NewHeader(name, h.Value()))
			}
			break // of several the first counts
		}
	}
}

// expose makes faults of a datagram that sipgo meets with silence faults that
// validate sees: a request line that cannot be read (RFC 4475 sections 3.1.2.7
// to 3.1.2.10), and less of a body than Content-Length says (section 3.1.2.2).
func expose(datagram []byte) {
	head, body, framed := bytes.Cut(datagram, []byte("\r\n\r\n"))
	if !framed || bytes.HasPrefix(head, []byte("SIP/")) { // faulty responses are dropped (RFC 3261 section 18.3)
		return
	}
	line, headers, _ := bytes.Cut(head, []byte("\r\n"))
	exposeLine(line)
	for header := range bytes.SplitSeq(headers, []byte("\r\n")) {
		name, value, _ := bytes.Cut(header, []byte(":"))
		name, value = bytes.TrimSpace(name), bytes.TrimSpace(value)
		if !bytes.EqualFold(name, []byte("content-length")) && !bytes.EqualFold(name, []byte("l")) {
			continue
		}
		if n, err := strconv.Atoi(string(value)); err == nil && n > len(body) {
			copy(value, bytes.Repeat([]byte("?"), len(value)))
		}
	}
}

// exposeLine gives a request line without a URI that can be read another that
// checkURI refuses, of the same length; of a scheme that nobody knows, where it
// had one that is not ours (RFC 4475 section 3.3.3).
func exposeLine(line []byte) {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	text, version, _ := bytes.Cut(rest, []byte(" "))
	if !bytes.Contains(version, []byte(" ")) && sipmsg.ParseUri(string(text), &sipmsg.Uri{}) == nil {
		return
	}
	fields := bytes.Fields(line)
	if len(fields) < 3 || len(method) == 0 {
		return
	}
	end := string(fields[len(fields)-1])
	between := len(line) - len(method) - len(end) - len("  ")
	scheme, fill := "sip", "<"
	if foreign, _, _ := strings.Cut(string(text), ":"); isScheme(foreign) && !known(foreign) {
		scheme, fill = "x", "x"
	}
	if between <= len(scheme)+len(":") {
		return
	}
	copy(line[len(method):], " "+scheme+":"+strings.Repeat(fill, between-len(scheme)-len(":"))+" "+end)
}

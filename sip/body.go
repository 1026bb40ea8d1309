package sip

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// typeSDP is the only session description understood here.
const typeSDP = "application/sdp"

// acceptHeaders tell what a body may be (RFC 3261 section 21.4.13).
var acceptHeaders = []sipmsg.Header{
	sipmsg.NewHeader("Accept", typeSDP+", multipart/*"),
	sipmsg.NewHeader("Accept-Encoding", "identity"),
}

// errMediaType means 415.
var errMediaType = errors.New("a body that is not SDP")

const (
	maxParts   = 16 // of a multipart body, those of nested ones included
	maxNesting = 3  // multipart within multipart
)

// sdpOf returns a message's session description: its body, or the SDP part of
// a multipart body (RFC 5621). nil when it has none.
func sdpOf(req *sipmsg.Request) ([]byte, error) {
	body := req.Body()
	if len(body) == 0 {
		return nil, nil
	}
	if encoding := headerValues(req, "Content-Encoding"); len(encoding) > 0 && !strings.EqualFold(encoding[0], "identity") {
		return nil, errMediaType
	}
	ct := req.ContentType()
	if ct == nil {
		return nil, errMediaType
	}
	left := maxParts
	return sdpIn(body, ct.Value(), headerValues(req, "Content-Disposition"), maxNesting, &left)
}

// sdpIn returns the session description in a body or a part of one. What is
// no SDP and holds none is an error unless it is marked optional (RFC 3261
// section 20.11): ISUP of a gateway is, a picture is not worth a call.
func sdpIn(body []byte, contentType string, disposition []string, nesting int, left *int) ([]byte, error) {
	kind, ps, err := mime.ParseMediaType(contentType)
	unknown := errMediaType
	if optional(disposition) {
		unknown = nil
	}
	switch {
	case err != nil:
		return nil, unknown
	case kind == typeSDP:
		return body, nil
	case !strings.HasPrefix(kind, "multipart/") || ps["boundary"] == "" || nesting == 0:
		return nil, unknown
	}
	sdp, err := sdpAmong(multipart.NewReader(bytes.NewReader(body), ps["boundary"]), nesting-1, left)
	if err != nil {
		return nil, unknown
	}
	return sdp, nil
}

// sdpAmong returns the first session description in the parts. Without one
// every part must be optional.
func sdpAmong(parts *multipart.Reader, nesting int, left *int) (sdp []byte, err error) {
	err = errMediaType // of no parts at all
	for first := true; *left > 0; first = false {
		*left--
		part, failed := parts.NextRawPart()
		if errors.Is(failed, io.EOF) {
			return nil, err
		}
		if failed != nil {
			return nil, errMediaType
		}
		body, failed := io.ReadAll(part) // no longer than the message
		if failed != nil {
			return nil, errMediaType
		}
		sdp, unknown := sdpIn(body, part.Header.Get("Content-Type"), part.Header["Content-Disposition"], nesting, left)
		if sdp != nil {
			return sdp, nil
		}
		if first || unknown != nil {
			err = unknown
		}
	}
	return nil, errMediaType
}

// describe gives a message a session description.
func describe(m sipmsg.Message, sdp []byte) {
	if len(sdp) > 0 {
		m.AppendHeader(sipmsg.NewHeader("Content-Type", typeSDP))
		m.SetBody(sdp)
	}
}

// optional says whether a body may be left unread.
func optional(disposition []string) bool {
	for _, d := range disposition {
		_, ps, _ := strings.Cut(d, ";")
		if h, ok := params(ps).get("handling"); ok && strings.EqualFold(h, "optional") {
			return true
		}
	}
	return false
}

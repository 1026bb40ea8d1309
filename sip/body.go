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

// acceptTypes is what a body may be, as Accept says it.
const acceptTypes = typeSDP + ", multipart/mixed"

// errMediaType means 415.
var errMediaType = errors.New("a body that is not SDP")

// maxParts bounds the parts of a multipart body that are looked at.
const maxParts = 16

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
	kind, ps, err := mime.ParseMediaType(ct.Value())
	switch {
	case err != nil:
		return nil, errMediaType
	case kind == typeSDP:
		return body, nil
	case strings.HasPrefix(kind, "multipart/"):
		return sdpPart(body, ps["boundary"])
	case optional(headerValues(req, "Content-Disposition")):
		return nil, nil // RFC 3261 section 20.11
	}
	return nil, errMediaType
}

// sdpPart returns the first SDP part. Others are passed over unless they must
// be understood: ISUP of a gateway is marked optional, a picture is not worth
// a call.
func sdpPart(body []byte, boundary string) ([]byte, error) {
	if boundary == "" {
		return nil, errMediaType
	}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for range maxParts {
		part, err := parts.NextRawPart()
		if err != nil {
			break
		}
		if kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type")); err != nil || kind != typeSDP {
			continue
		}
		sdp, err := io.ReadAll(part) // no longer than the message
		if err != nil {
			break
		}
		return sdp, nil
	}
	return nil, errMediaType
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

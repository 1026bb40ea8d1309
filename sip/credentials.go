package sip

import (
	"errors"
	"fmt"

	"github.com/icholy/digest"

	sipmsg "github.com/emiago/sipgo/sip"
)

// ErrLogin says that the server knows another password, or no such user.
var ErrLogin = errors.New("the user or the password is wrong")

// errScheme says that a challenge cannot be answered at all.
var errScheme = errors.New("the peer asks for a login that is not known here: expected digest with MD5, SHA-256 or SHA-512-256")

// credentials answer the challenges of a server (RFC 3261 section 22, RFC
// 8760).
type credentials struct {
	user, password string
	challenge      *digest.Challenge // that is to be answered; nil for none
	reply          string            // the header that answers it
}

// challenges are the responses that ask for a login, and the headers that ask
// and answer.
var challenges = map[int]struct{ asks, answers string }{
	401: {"WWW-Authenticate", "Authorization"},
	407: {"Proxy-Authenticate", "Proxy-Authorization"},
}

// take takes a challenge (RFC 3261 section 22.2): of several the first that is
// understood (RFC 8760 section 2.4). A second one means ErrLogin, unless it
// says that the nonce was old.
func (c *credentials) take(res *sipmsg.Response) error {
	header := challenges[res.StatusCode]
	var asked *digest.Challenge
	for h := range headersOf(res, header.asks) {
		if parsed, err := digest.ParseChallenge(h.Value()); err == nil && digest.CanDigest(parsed) {
			asked = parsed
			break
		}
	}
	switch {
	case asked == nil:
		return errScheme
	case c.challenge != nil && !asked.Stale:
		return ErrLogin
	}
	c.challenge, c.reply = asked, header.answers
	return nil
}

// again says why a refused request need not be sent again with a login, or nil.
func (c *credentials) again(res *sipmsg.Response) error {
	refused := &StatusError{res.StatusCode, res.Reason}
	if _, asks := challenges[res.StatusCode]; !asks || c.user == "" {
		return refused
	}
	if err := c.take(res); err != nil {
		return fmt.Errorf("%w: %w", refused, err)
	}
	return nil
}

// sign answers the challenge, if there is one.
func (c *credentials) sign(req *sipmsg.Request) error {
	if c.challenge == nil {
		return nil
	}
	answer, err := digest.Digest(c.challenge, digest.Options{
		Method: req.Method.String(), URI: req.Recipient.String(), Username: c.user, Password: c.password,
	})
	if err != nil {
		return errScheme
	}
	req.AppendHeader(sipmsg.NewHeader(c.reply, answer.String()))
	return nil
}

package sip

import (
	"cmp"
	"crypto/subtle"
	"errors"
	"slices"
	"strings"

	"github.com/icholy/digest"
)

// defaultRealm is what peers log in to where the file says nothing else.
const defaultRealm = "afterbeep"

// Digest is how the peers of a trunk prove who they are: by a password that
// never travels (RFC 7616, RFC 8760).
type Digest struct {
	User       string            `yaml:"user" required:"true" help:"the name the peer logs in with" example:"pbx"`
	Password   string            `yaml:"password" required:"true" secret:"true" help:"the peer's password" example:"${PBX_PASSWORD}"`
	Realm      string            `yaml:"realm" help:"what the peer is told it logs in to (default afterbeep)" example:"afterbeep"`
	Algorithms []DigestAlgorithm `yaml:"algorithms" help:"what the peer may answer with, the best first (default both); peers that look at the first alone, like Kamailio 5.6, need [MD5]" example:"[SHA-256, MD5]"`
}

// DigestAlgorithm is a hash of RFC 8760 section 2, as headers name it.
type DigestAlgorithm string

// digestAlgorithms are those that are offered, the best first.
var digestAlgorithms = []DigestAlgorithm{"SHA-256", "MD5"}

// UnmarshalText reads SHA-256 or MD5, in either case.
func (a *DigestAlgorithm) UnmarshalText(b []byte) error {
	for _, known := range digestAlgorithms {
		if strings.EqualFold(string(known), string(b)) {
			*a = known
			return nil
		}
	}
	return errors.New("expected SHA-256 or MD5")
}

// MarshalText writes the name.
func (a DigestAlgorithm) MarshalText() ([]byte, error) { return []byte(a), nil }

// validate adds what is wrong with the login below key, if there is one.
func (d *Digest) validate(key string, wrong *mistakes) {
	if d != nil && strings.ContainsAny(d.Realm, "\"\\\r\n") { // headers quote it as it is
		wrong.add(key+"realm", "expected a name without quotes, backslashes and line ends, not %q", d.Realm)
	}
}

// realm is what peers are told.
func (d *Digest) realm() string { return cmp.Or(d.Realm, defaultRealm) }

// algorithms are what is offered, in order of preference.
func (d *Digest) algorithms() []DigestAlgorithm {
	if len(d.Algorithms) == 0 {
		return digestAlgorithms
	}
	return d.Algorithms
}

// challenges are the values of WWW-Authenticate, one for each algorithm: a peer
// takes the first it knows (RFC 8760 section 2.3).
func (d *Digest) challenges(nonce string, stale bool) []string {
	var all []string
	for _, a := range d.algorithms() {
		c := digest.Challenge{Realm: d.realm(), Nonce: nonce, Stale: stale, Algorithm: string(a), QOP: []string{"auth"}}
		all = append(all, c.String())
	}
	return all
}

// proves says whether credentials could only be made by somebody who knows the
// password. That the nonce is one of ours, and new, is for nonces to say. What
// the peer says its user is plays no part: the hash is over ours. Nor is its
// URI compared, which proxies may have rewritten on the way.
func (d *Digest) proves(c *digest.Credentials, method string) bool {
	algorithm := DigestAlgorithm(strings.ToUpper(cmp.Or(c.Algorithm, "MD5"))) // RFC 7616 section 3.4
	if !slices.Contains(d.algorithms(), algorithm) || !strings.EqualFold(c.QOP, "auth") || c.Cnonce == "" || c.Nc < 1 {
		return false
	}
	want, err := digest.Digest(
		&digest.Challenge{Realm: d.realm(), Nonce: c.Nonce, Algorithm: string(algorithm), QOP: []string{"auth"}},
		digest.Options{Method: method, URI: c.URI, Count: c.Nc, Cnonce: c.Cnonce, Username: d.User, Password: d.Password},
	)
	return err == nil && subtle.ConstantTimeCompare([]byte(want.Response), []byte(strings.ToLower(c.Response))) == 1
}

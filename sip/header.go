package sip

import (
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	sipmsg "github.com/emiago/sipgo/sip"
)

// maxAddresses bounds what one INVITE makes us read of one header: an honest
// call cannot have passed more hops than Max-Forwards allows.
const maxAddresses = 70

// maxText is the longest user part or display name that is taken over, in bytes.
const maxText = 128

// compactForms are the one-letter header names (RFC 3261 section 7.3.3 and
// IANA's registry), by full name.
var compactForms = map[string]string{
	"accept-contact": "a", "allow-events": "u", "call-id": "i", "contact": "m",
	"content-encoding": "e", "content-length": "l", "content-type": "c",
	"event": "o", "from": "f", "identity": "y", "refer-to": "r",
	"referred-by": "b", "reject-contact": "j", "request-disposition": "d",
	"session-expires": "x", "subject": "s", "supported": "k", "to": "t", "via": "v",
}

// headered is a sipgo request or response, as far as it is read here.
type headered interface{ Headers() []sipmsg.Header }

// headersOf yields the headers of a name, full or compact.
func headersOf(m headered, name string) iter.Seq[sipmsg.Header] {
	short := compactForms[strings.ToLower(name)]
	return func(yield func(sipmsg.Header) bool) {
		for _, h := range m.Headers() {
			got := h.Name()
			if (strings.EqualFold(got, name) || short != "" && strings.EqualFold(got, short)) && !yield(h) {
				return
			}
		}
	}
}

// headerValues returns every value of a list header in the order received:
// all lines of that name, full or compact, split at their commas (RFC 3261
// section 7.3.1). sipgo splits only the headers it knows.
func headerValues(m headered, name string) []string {
	var values []string
	for h := range headersOf(m, name) {
		for v := range splitOutside(h.Value(), ',') {
			values = append(values, v)
		}
	}
	return values
}

// addresses reads a header that lists addresses; what cannot be read is left out.
func addresses(m headered, name string) []address {
	var list []address
	for _, v := range headerValues(m, name) {
		if len(list) == maxAddresses {
			break
		}
		if a, ok := parseAddress(v); ok {
			list = append(list, a)
		}
	}
	return list
}

// address is a name-addr or an addr-spec with its header parameters (RFC 3261
// section 25.1).
type address struct {
	name   string // display name, unquoted and cleaned; "" when there is none
	uri    uri
	params params
}

// parseAddress reads one address; false when it holds no URI.
func parseAddress(s string) (a address, ok bool) {
	spec, after := s, ""
	if open := indexOutside(s, '<'); open >= 0 {
		if spec, after, ok = strings.Cut(s[open+1:], ">"); !ok {
			return address{}, false
		}
		a.name = clean(unquote(strings.TrimSpace(s[:open])))
	} else {
		// RFC 3261 section 20: without <> what follows the URI belongs to the header.
		at := max(strings.IndexByte(s, '@'), 0)
		if i := strings.IndexByte(s[at:], ';'); i >= 0 {
			spec, after = s[:at+i], s[at+i:]
		}
	}
	a.params = params(after)
	a.uri, ok = parseURI(strings.TrimSpace(spec))
	return a, ok
}

// uri is a sip, sips or tel URI. Of any other scheme only the scheme is known.
type uri struct {
	scheme     string // lower case
	user       string // unescaped, without parameters and password; the number of a tel URI
	userParams params // what stood in the user part (RFC 3261 section 19.1.6): phone-context, verstat
	host       string // without port
	params     params
	headers    string // after the "?", still escaped
}

// parseURI reads a URI (RFC 3261 section 19.1, RFC 3966); false when it has
// no scheme or a delimiter of name-addr in it.
func parseURI(s string) (u uri, ok bool) {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || scheme == "" || strings.ContainsAny(scheme, " \t@;") || strings.ContainsAny(s, `<>"`) {
		return uri{}, false
	}
	u.scheme = strings.ToLower(scheme)
	switch u.scheme {
	case "tel":
		number, ps, _ := strings.Cut(rest, ";")
		u.user, u.userParams = unescape(number), params(ps)
	case "sip", "sips":
		userinfo, hostport, hasUser := strings.Cut(rest, "@")
		if !hasUser {
			userinfo, hostport = "", rest
		}
		userinfo, _, _ = strings.Cut(userinfo, ":") // a password is nobody's business
		user, ps, _ := strings.Cut(userinfo, ";")
		u.user, u.userParams = unescape(user), params(ps)
		hostport, u.headers, _ = strings.Cut(hostport, "?")
		host, ps, _ := strings.Cut(hostport, ";")
		u.host, u.params = withoutPort(host), params(ps)
	}
	return u, true
}

// sipURI reads a sip or sips URI that names a user, as sipgo sends it; false for
// any other.
func sipURI(s string) (u sipmsg.Uri, ok bool) {
	err := sipmsg.ParseUri(s, &u)
	return u, err == nil && (u.Scheme == "sip" || u.Scheme == "sips") && u.User != "" && u.Host != ""
}

// param returns a URI parameter, unescaped; "" when it is not there.
func (u uri) param(key string) string {
	v, _ := u.params.get(key)
	return unescape(v)
}

// header yields the values of a header escaped into the URI, like
// ?Reason=SIP%3Bcause%3D486 (RFC 3261 section 19.1.1).
func (u uri) header(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for field := range strings.SplitSeq(u.headers, "&") {
			key, value, _ := strings.Cut(field, "=")
			if !strings.EqualFold(unescape(key), name) {
				continue
			}
			for v := range splitOutside(unescape(value), ',') {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// cause is the URI's cause parameter (RFC 4458 section 2.2); 0 when there is none.
func (u uri) cause() int {
	cause, _ := strconv.Atoi(u.param("cause"))
	return cause
}

// anonymous says whether the URI hides who it belongs to (RFC 3323 section 4.1.1.3).
func (u uri) anonymous() bool {
	return strings.EqualFold(u.host, "anonymous.invalid") || strings.EqualFold(u.user, "anonymous")
}

// number is the user part in E.164, "" when it is no number.
func (u uri) number(country string) string {
	if u.userParams == "" {
		return Normalize(u.user, country)
	}
	return Normalize(u.user+";"+string(u.userParams), country)
}

// params is the text ";key=value;flag" of a header or URI, read when asked.
type params string

// get returns a parameter without its quotes. Names know no case (RFC 3261
// section 7.3.1); of a repeated one the first counts.
func (p params) get(key string) (value string, ok bool) {
	for part := range splitOutside(string(p), ';') {
		k, v, _ := strings.Cut(part, "=")
		if strings.EqualFold(strings.TrimSpace(k), key) {
			return unquote(strings.TrimSpace(v)), true
		}
	}
	return "", false
}

// splitOutside yields the trimmed parts of s between separators, leaving out
// empty ones. A separator within quotes or <> does not count.
func splitOutside(s string, sep byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for s != "" {
			part := s
			if i := indexOutside(s, sep); i >= 0 {
				part, s = s[:i], s[i+1:]
			} else {
				s = ""
			}
			if part = strings.TrimSpace(part); part != "" && !yield(part) {
				return
			}
		}
	}
}

// indexOutside is strings.IndexByte, blind to what stands in quotes or <>.
func indexOutside(s string, sep byte) int {
	quoted, angled := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case quoted:
			quoted = c != '"'
		case angled:
			angled = c != '>'
		case c == sep:
			return i
		case c == '"':
			quoted = true
		case c == '<':
			angled = true
		}
	}
	return -1
}

// unquote takes a quoted-string apart (RFC 3261 section 25.1); other text stays.
func unquote(s string) string {
	inner, ok := strings.CutPrefix(s, `"`)
	if !ok {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(inner) && inner[i] != '"'; i++ {
		if inner[i] == '\\' && i+1 < len(inner) {
			i++
		}
		b.WriteByte(inner[i])
	}
	return b.String()
}

// unescape decodes %XX; text with a broken escape stays as it is.
func unescape(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// clean makes text from outside fit to be shown: valid UTF-8 of at most
// maxText bytes without control or invisible formatting characters.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return strings.TrimSpace(s)
}

// withoutPort strips ":5060" and the brackets of an IPv6 address.
func withoutPort(hostport string) string {
	if v6, ok := strings.CutPrefix(hostport, "["); ok {
		host, _, _ := strings.Cut(v6, "]")
		return host
	}
	host, _, _ := strings.Cut(hostport, ":")
	return strings.TrimSpace(host)
}

// supports says whether the sender of a request knows an extension.
func supports(req *sipmsg.Request, option string) bool {
	return contains(headerValues(req, "Supported"), option) || contains(headerValues(req, "Require"), option)
}

// contains says whether a list holds a token, in whatever case.
func contains(values []string, token string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, token) })
}

package media

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A cryptoLine is an a=crypto attribute (RFC 4568 §9.1) of ours:
//
//	1 AES_CM_128_HMAC_SHA1_80 inline:KEY_AND_SALT
type cryptoLine struct {
	tag  string
	ours *master
}

// text is the attribute's value, for a description. It is no String, which would
// write the key into a log.
func (c cryptoLine) text() string {
	return fmt.Sprintf("%s %s inline:%s", c.tag, c.ours.suite.name, base64.StdEncoding.EncodeToString(c.ours.secret))
}

// errCrypto says that no a=crypto line can be accepted. What stands in one is a
// secret: no more is said.
var errCrypto = errors.New("none of its a=crypto lines is of a kind taken: AEAD_AES_256_GCM, AEAD_AES_128_GCM, " +
	"AES_CM_128_HMAC_SHA1_80 or _32 with one inline key, encrypted and authenticated")

// chooseCrypto takes the first line that can be accepted, the peer's most
// preferred (RFC 4568 §5.1.2), and makes a key of ours for it.
func chooseCrypto(values []string) (*protection, error) {
	for _, value := range values {
		if tag, theirs, ok := parseCrypto(value); ok {
			return &protection{line: cryptoLine{tag, newMaster(theirs.suite)}, theirs: theirs}, nil
		}
	}
	return nil, errCrypto
}

// offerCrypto makes a key of ours for each suite.
func offerCrypto() *protection {
	p := &protection{}
	for i, s := range suites() {
		p.offered = append(p.offered, cryptoLine{strconv.Itoa(i + 1), newMaster(s)})
	}
	return p
}

// parseCrypto reads an a=crypto line (RFC 4568 §9.2) as far as we can do what
// it says. Any session parameter that is not a mere hint would weaken or change
// what the suite does: such a line is not accepted.
func parseCrypto(value string) (tag string, m *master, ok bool) {
	f := strings.Fields(value)
	if len(f) < 3 {
		return "", nil, false
	}
	if n, err := strconv.ParseUint(f[0], 10, 30); err != nil || len(f[0]) > 9 || strconv.FormatUint(n, 10) != f[0] {
		return "", nil, false
	}
	all := suites()
	i := slices.IndexFunc(all, func(s suite) bool { return strings.EqualFold(s.name, f[1]) })
	if i < 0 {
		return "", nil, false
	}
	for _, parameter := range f[3:] {
		if !strings.HasPrefix(parameter, "WSH=") && !strings.HasPrefix(parameter, "-") { // RFC 4568 §6.3.7: "-" marks the optional
			return "", nil, false
		}
	}
	m, ok = parseInline(f[2], all[i])
	return f[0], m, ok
}

// parseInline reads inline:KEY_AND_SALT|LIFETIME|MKI:LENGTH (RFC 4568 §6.1), of
// which all but the first may be left out. The lifetime, 2^48 packets where it
// is not given, is the sender's to keep.
func parseInline(value string, s suite) (*master, bool) {
	method, info, _ := strings.Cut(value, ":")
	if !strings.EqualFold(method, "inline") || strings.Contains(info, ";") {
		return nil, false
	}
	parts := strings.Split(info, "|")
	secret, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[0], "=")) // some peers leave the padding out
	if err != nil || len(secret) != s.key+s.salt {
		return nil, false
	}
	m := &master{suite: s, secret: secret}
	for i, part := range parts[1:] {
		identifier, length, isMKI := strings.Cut(part, ":")
		switch {
		case !isMKI && i == 0 && isLifetime(part):
		case isMKI && i == len(parts)-2:
			if m.mki = parseMKI(identifier, length); m.mki == nil {
				return nil, false
			}
		default:
			return nil, false
		}
	}
	return m, true
}

// isLifetime says whether s is a number of packets, as 2^31 or in digits.
func isLifetime(s string) bool {
	_, err := strconv.ParseUint(strings.TrimPrefix(s, "2^"), 10, 48)
	return err == nil
}

// parseMKI writes a master key identifier as packets carry it; nil where it
// does not fit (RFC 4568 §6.1: 1 to 128 bytes).
func parseMKI(identifier, length string) []byte {
	n, errIdentifier := strconv.ParseUint(identifier, 10, 64)
	size, errLength := strconv.ParseUint(length, 10, 8)
	if errIdentifier != nil || errLength != nil || size < 1 || size > 128 || size < 8 && n>>(8*size) != 0 {
		return nil
	}
	mki := make([]byte, max(8, size))
	binary.BigEndian.PutUint64(mki[len(mki)-8:], n)
	return mki[len(mki)-int(size):]
}

// newMaster makes a key at random.
func newMaster(s suite) *master {
	m := &master{suite: s, secret: make([]byte, s.key+s.salt)}
	_, _ = rand.Read(m.secret) // it never fails
	return m
}

package media

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ErrBadOffer says that a session description cannot be read (RFC 8866).
var ErrBadOffer = errors.New("media: the session description cannot be read")

const (
	maxDescription = 64 << 10 // bytes; a longer session description is no honest one
	maxStreams     = 256
)

// Session descriptions are read here and not by a library, because RFC 3264 §6
// wants an answer to every m= line, whatever it offers: the libraries at hand
// refuse the whole description for an m=image, a transport they have not heard
// of or a b= line of another kind.

// description is what a session description says about its streams, in order.
// Nothing else in it concerns an answer.
type description []mediaLine

// mediaLine is an m= line with what stands below it or holds for all.
type mediaLine struct {
	media      string    // audio, video, image, …
	port       uint16    // 0: switched off
	proto      string    // RTP/AVP, …
	formats    []string  // payload types, or whatever the transport has
	connection string    // the c= line, its own or the session's
	direction  direction // as the peer sees it
	rtpmaps    []string  // "0 PCMU/8000"
	mid        string    // RFC 5888, echoed
	control    controlLines
	secrets    secretLines
	ice        iceLines
}

// direction is the direction of a stream (RFC 8866 §6.7).
type direction string

const (
	sendRecv direction = "sendrecv"
	sendOnly direction = "sendonly"
	recvOnly direction = "recvonly"
	inactive direction = "inactive"
)

// mirror is the same direction seen from the other side (RFC 3264 §6.1).
func (d direction) mirror() direction {
	switch d {
	case sendOnly:
		return recvOnly
	case recvOnly:
		return sendOnly
	default:
		return d
	}
}

// silent is what is left of a direction when nothing may be sent.
func (d direction) silent() direction {
	if d.receives() {
		return recvOnly
	}
	return inactive
}

func (d direction) sends() bool    { return d == sendRecv || d == sendOnly }
func (d direction) receives() bool { return d == sendRecv || d == recvOnly }

// parseDescription reads a session description. Lines may end in CRLF or LF;
// lines that say nothing about a stream are passed over.
func parseDescription(b []byte) (description, error) {
	if len(b) > maxDescription {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are taken", ErrBadOffer, len(b), maxDescription)
	}
	if !strings.HasPrefix(string(b), "v=0") { // RFC 8866 §5.1
		return nil, fmt.Errorf("%w: it does not begin with v=0", ErrBadOffer)
	}
	session := mediaLine{direction: sendRecv} // what stands above the first m= holds for every stream
	at := &session
	var streams description
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n ")
		kind, value, ok := strings.Cut(line, "=")
		switch {
		case line == "":
		case !ok || len(kind) != 1:
			return nil, fmt.Errorf("%w: a line is not of the form x=value", ErrBadOffer)
		case kind == "m":
			m, err := parseMedia(value)
			if err != nil {
				return nil, err
			}
			if len(streams) == maxStreams {
				return nil, fmt.Errorf("%w: more than %d m= lines", ErrBadOffer, maxStreams)
			}
			m.connection, m.direction = session.connection, session.direction
			m.secrets.setup, m.ice = session.secrets.setup, session.ice
			streams = append(streams, m)
			at = &streams[len(streams)-1]
		case kind == "c":
			at.connection = value
		case kind == "b":
			at.control.bandwidth(value)
		case kind == "a":
			at.attribute(value)
		}
	}
	for i := range streams { // RFC 8122 §5: its own count, and the session's where it has none
		if s := &streams[i].secrets; s.fingerprints == nil {
			s.fingerprints = session.secrets.fingerprints
		}
	}
	return streams, nil
}

// parseMedia reads an m= line (RFC 8866 §5.14).
func parseMedia(value string) (mediaLine, error) {
	f := strings.Fields(value)
	if len(f) < 4 {
		return mediaLine{}, fmt.Errorf("%w: an m= line lacks its media, port, transport or formats", ErrBadOffer)
	}
	port, _, _ := strings.Cut(f[1], "/") // "49170/2": a layered stream, its first port will do
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return mediaLine{}, fmt.Errorf("%w: the port of an m= line is not a number up to 65535", ErrBadOffer)
	}
	return mediaLine{media: f[0], port: uint16(n), proto: f[2], formats: f[3:]}, nil
}

// attribute takes from an a= line what concerns an answer.
func (m *mediaLine) attribute(value string) {
	name, rest, _ := strings.Cut(value, ":")
	switch name {
	case "rtpmap":
		m.rtpmaps = append(m.rtpmaps, rest)
	case "mid":
		if isToken(rest) {
			m.mid = rest
		}
	case "rtcp":
		m.control.address = rest
	case "rtcp-mux":
		m.control.mux = true
	case "crypto":
		m.secrets.cryptos = append(m.secrets.cryptos, rest)
	case "fingerprint":
		m.secrets.fingerprints = append(m.secrets.fingerprints, rest)
	case "setup":
		m.secrets.setup = rest
	case "ice-lite":
		m.ice.lite = true
	case "ice-ufrag":
		m.ice.ufrag = rest
	case "ice-pwd":
		m.ice.pwd = rest
	case "candidate":
		m.ice.candidates = append(m.ice.candidates, rest)
	case string(sendRecv), string(sendOnly), string(recvOnly), string(inactive):
		m.direction = direction(name)
	}
}

// isToken says whether s can stand in a line of ours as it is (RFC 8866 §9).
func isToken(s string) bool {
	for _, c := range s {
		if c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[]`, c) {
			return false
		}
	}
	return s != ""
}

// encoding is what an rtpmap gives a payload type for a meaning (RFC 8866 §6.6).
type encoding struct {
	name      string
	clockRate int
	channels  int // 0 where nothing is said
}

// encodings reads the rtpmaps of a stream, by payload type. One that makes no
// sense is passed over: its payload type is then simply not answered.
func (m *mediaLine) encodings() map[uint8]encoding {
	found := make(map[uint8]encoding, len(m.rtpmaps))
	for _, rtpmap := range m.rtpmaps {
		number, value, _ := strings.Cut(rtpmap, " ")
		pt, ok := payloadType(number)
		part := strings.Split(strings.TrimSpace(value), "/")
		if _, again := found[pt]; !ok || again || len(part) < 2 || len(part) > 3 {
			continue
		}
		e := encoding{name: part[0]}
		var err error
		if e.clockRate, err = strconv.Atoi(part[1]); err != nil {
			continue
		}
		if len(part) == 3 {
			if e.channels, err = strconv.Atoi(part[2]); err != nil {
				continue
			}
		}
		found[pt] = e
	}
	return found
}

// payloadType reads a payload type, 0 to 127, written as we write it.
func payloadType(s string) (uint8, bool) {
	n, err := strconv.ParseUint(s, 10, 7)
	return uint8(n), err == nil && (len(s) == 1 || s[0] != '0')
}

// errConnection says that a c= line names no place to send to.
var errConnection = errors.New("its c= line holds no unicast IP address")

// parseConnection reads a c= line (RFC 8866 §5.7). A host name gives the zero
// address: it is not resolved, the packets' source will show (RFC 7362).
func parseConnection(value string) (netip.Addr, error) {
	f := strings.Fields(value)
	if len(f) != 3 || f[0] != "IN" || (f[1] != "IP4" && f[1] != "IP6") {
		return netip.Addr{}, errConnection
	}
	addr, err := netip.ParseAddr(f[2])
	if err != nil {
		if isHostName(f[2]) {
			return netip.Addr{}, nil
		}
		return netip.Addr{}, errConnection
	}
	if addr.Is4() != (f[1] == "IP4") || addr.Is4In6() || addr.Zone() != "" || addr.IsMulticast() {
		return netip.Addr{}, errConnection
	}
	if b := addr.As16(); addr.Is4() && !addr.IsUnspecified() && (b[12] == 0 || b[12] >= 240) { // RFC 6890: "this network", reserved, broadcast
		return netip.Addr{}, errConnection
	}
	return addr, nil
}

// isHostName says whether s can be a host name rather than a mistyped address.
func isHostName(s string) bool {
	letters := false
	for _, c := range s {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && c != '-' && c != '.' && (c < '0' || c > '9') {
			return false
		}
		letters = letters || letter
	}
	return letters
}

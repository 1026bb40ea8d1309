package sip

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// turnstile answers the INVITEs that are turned away with 503, out of the
// datagram as it came: no parser, no transaction, no memory but the decision
// (RFC 3261 section 8.2.7 calls it a stateless server). It serves one socket,
// read by one goroutine.
type turnstile struct {
	conn      *net.UDPConn
	seed      maphash.Seed
	admission *admission
	buf       []byte // of the response
}

func newTurnstile(conn *net.UDPConn, seed maphash.Seed, a *admission) *turnstile {
	return &turnstile{conn: conn, seed: seed, admission: a}
}

// turnedTag begins the To tag of the calls that are turned away, by which
// their ACKs are known.
const turnedTag = "turned-"

// turnAway says whether a datagram is done with: an INVITE that was answered
// with 503, or the ACK of one. What is hard to read is left to the parser while
// there is room, and gets no answer when there is none: nobody passes the limits
// by writing oddly.
func (t *turnstile) turnAway(datagram []byte, from netip.AddrPort, trunk *Trunk) bool {
	ack := bytes.HasPrefix(datagram, []byte("ACK "))
	if !ack && !bytes.HasPrefix(datagram, []byte("INVITE ")) {
		return false
	}
	o, ok := readOutline(datagram)
	tag := rawTag(o.to)
	if ack || tag != nil {
		return ok && ack && bytes.HasPrefix(tag, []byte(turnedTag))
	}
	key := o.key(t.seed)
	if !ok { // it names nothing: only a copy to the byte is the same request
		key = maphash.Bytes(t.seed, datagram)
	}
	var v verdict
	if trunk.Digest != nil { // before its peer has logged in, an INVITE is no call
		v = t.admission.full(trunk)
	} else {
		v = t.admission.weigh(trunk, key, time.Now())
	}
	if v == admitted {
		return false
	}
	if !ok {
		return true
	}
	var to netip.AddrPort
	if t.buf, to, ok = o.refuse(t.buf[:0], v, key, from); ok {
		_, _ = t.conn.WriteToUDPAddrPort(t.buf, to) // lost or not sent, the peer asks again
	}
	return true
}

// outline is a request as it lies in its datagram: the values that a response
// repeats, unread.
type outline struct {
	headers                   []byte // all lines behind the first, each with its end
	via, from, to, call, cseq []byte // the first of each
}

// readOutline finds the headers of a request; false when one is missing.
func readOutline(datagram []byte) (o outline, ok bool) {
	_, rest, ok := bytes.Cut(datagram, []byte("\r\n"))
	end := bytes.Index(rest, []byte("\r\n\r\n"))
	if !ok || end < 0 {
		return o, false
	}
	o.headers = rest[:end+len("\r\n")]
	for rest = o.headers; len(rest) > 0; {
		var name, value []byte
		name, value, rest = nextHeader(rest)
		if at := o.field(name); at != nil && *at == nil {
			*at = value
		}
	}
	return o, o.via != nil && o.from != nil && o.to != nil && o.call != nil && o.cseq != nil
}

// field is where the value of a header is kept; nil when it is not.
func (o *outline) field(name []byte) *[]byte {
	for _, f := range [...]struct {
		full, compact string
		value         *[]byte
	}{
		{"via", "v", &o.via}, {"from", "f", &o.from}, {"to", "t", &o.to}, {"call-id", "i", &o.call}, {"cseq", "", &o.cseq},
	} {
		if equalFold(name, f.full) || f.compact != "" && equalFold(name, f.compact) {
			return f.value
		}
	}
	return nil
}

// nextHeader cuts the first header off, folded lines with it (RFC 3261 section
// 7.3.1). The value is trimmed.
func nextHeader(lines []byte) (name, value, rest []byte) {
	end := 0
	for {
		i := bytes.Index(lines[end:], []byte("\r\n"))
		if i < 0 {
			end = len(lines)
			break
		}
		end += i + len("\r\n")
		if end == len(lines) || lines[end] != ' ' && lines[end] != '\t' {
			break
		}
	}
	name, value, _ = bytes.Cut(lines[:end], []byte(":"))
	return bytes.TrimSpace(name), bytes.TrimSpace(value), lines[end:]
}

func equalFold(b []byte, s string) bool { return len(b) == len(s) && bytes.EqualFold(b, []byte(s)) }

// key names the request: the same for each copy of it (RFC 3261 section 17.2.3).
func (o *outline) key(seed maphash.Seed) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, value := range [...][]byte{o.via, o.from, o.call, o.cseq} {
		_, _ = h.Write(value) // a hash never fails
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// refuse appends the response and says where it goes; false when the Via is
// hard to read.
func (o *outline) refuse(b []byte, v verdict, key uint64, from netip.AddrPort) (response []byte, to netip.AddrPort, ok bool) {
	b = append(b, "SIP/2.0 503 Service Unavailable\r\nVia: "...)
	if b, to, ok = received(b, o.via, from); !ok {
		return b, to, false
	}
	b = append(b, "\r\n"...)
	top := true
	for rest := o.headers; len(rest) > 0; {
		var name, value []byte
		name, value, rest = nextHeader(rest)
		if !equalFold(name, "via") && !equalFold(name, "v") {
			continue
		}
		if !top {
			b = append(append(append(b, "Via: "...), value...), "\r\n"...)
		}
		top = false
	}
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], key)
	b = append(append(b, "From: "...), o.from...)
	b = append(append(b, "\r\nTo: "...), o.to...)
	b = hex.AppendEncode(append(b, ";tag="+turnedTag...), number[:])
	b = append(append(b, "\r\nCall-ID: "...), o.call...)
	b = append(append(b, "\r\nCSeq: "...), o.cseq...)
	b = append(b, "\r\nServer: "+userAgent+"\r\nRetry-After: "...)
	b = strconv.AppendInt(b, int64(verdicts[v].pause.Seconds()), 10)
	return append(b, "\r\nContent-Length: 0\r\n\r\n"...), to, true
}

// received appends a Via with where its request came from, and says where the
// response goes (RFC 3261 sections 18.2.1 and 18.2.2, RFC 3581 section 4).
func received(b, via []byte, from netip.AddrPort) ([]byte, netip.AddrPort, bool) {
	top, others, more := bytes.Cut(via, []byte(","))
	head, params, _ := bytes.Cut(top, []byte(";"))
	port, ok := sentPort(head)
	if !ok {
		return b, from, false
	}
	addr := from.Addr().Unmap()
	to := netip.AddrPortFrom(addr, port)
	b = append(b, head...)
	for len(params) > 0 {
		var param []byte
		param, params, _ = bytes.Cut(params, []byte(";"))
		name, _, _ := bytes.Cut(param, []byte("="))
		switch name = bytes.TrimSpace(name); {
		case equalFold(name, "received"): // only this side knows
		case equalFold(name, "rport"):
			to = netip.AddrPortFrom(addr, from.Port())
			b = strconv.AppendUint(append(b, ";rport="...), uint64(from.Port()), 10)
		default:
			b = append(append(b, ';'), param...)
		}
	}
	b = addr.WithZone("").AppendTo(append(b, ";received="...))
	if more {
		b = append(append(b, ','), others...)
	}
	return b, netip.AddrPortFrom(from.Addr(), to.Port()), true
}

// sentPort is the port of a Via's sent-by: SIP/2.0/UDP host:port.
func sentPort(head []byte) (port uint16, ok bool) {
	slash := bytes.LastIndexByte(head, '/')
	fields := bytes.Fields(head[slash+1:])
	if slash < 0 || len(fields) != 2 {
		return 0, false
	}
	host := fields[1]
	colon := bytes.LastIndexByte(host, ':')
	if colon < 0 || bytes.IndexByte(host, ']') > colon {
		return 5060, true // RFC 3261 section 18.2.2
	}
	n, err := strconv.ParseUint(string(host[colon+1:]), 10, 16)
	return uint16(n), err == nil && n > 0
}

// rawTag is the tag of a From or To header, behind the address; nil when it has
// none.
func rawTag(value []byte) []byte {
	rest := value
	if i := bytes.LastIndexByte(value, '>'); i >= 0 {
		rest = value[i:]
	}
	for {
		_, after, found := bytes.Cut(rest, []byte(";"))
		if !found {
			return nil
		}
		param, _, _ := bytes.Cut(after, []byte(";"))
		if name, v, ok := bytes.Cut(param, []byte("=")); ok && equalFold(bytes.TrimSpace(name), "tag") {
			return bytes.TrimSpace(v)
		}
		rest = after
	}
}

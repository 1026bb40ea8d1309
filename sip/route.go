package sip

import (
	"net"
	"strconv"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// userAgent is what this side calls itself.
const userAgent = "Afterbeep"

// endpoint is an address of this side, as peers reach it.
type endpoint struct {
	network string // udp, tcp, tls, ws or wss
	host    string // a name or an IP address, IPv6 without brackets
	port    int
	sips    bool // the peer calls by sips: so must the Contact be
}

// contact is where in-dialog requests shall come (RFC 3261 section 8.1.1.8).
func (e endpoint) contact() *sipmsg.ContactHeader {
	h := &sipmsg.ContactHeader{Address: sipmsg.Uri{Scheme: "sip", Host: e.host, Port: e.port}}
	if e.sips { // RFC 3261 section 12.1.1
		h.Address.Scheme = "sips"
	}
	switch {
	case e.network == "udp": // the default for sip: (RFC 3263 section 4.1)
	case e.network == "ws", e.network == "wss": // RFC 7118 section 5.3 knows one name for both
		h.Address.UriParams.Add("transport", "ws")
	case e.network == "tls" && e.sips: // the default for sips:
	default:
		h.Address.UriParams.Add("transport", e.network)
	}
	return h
}

// via is the Via of a new request (RFC 3261 section 8.1.1.7, RFC 3581).
func (e endpoint) via() *sipmsg.ViaHeader {
	h := &sipmsg.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: strings.ToUpper(e.network),
		Host: e.host, Port: e.port,
		Params: sipmsg.HeaderParams{{K: "branch", V: sipmsg.GenerateBranch()}, {K: "rport"}},
	}
	return h
}

// peer is the other side of a dialog: what its requests must say and where
// they go (RFC 3261 section 12.1).
type peer struct {
	callID  string
	local   *sipmsg.FromHeader
	remote  *sipmsg.ToHeader
	target  sipmsg.Uri   // its Contact
	routes  []sipmsg.Uri // the route set
	network string       // of the dialog, unless the next hop's URI names one
	seq     uint32       // of the last request sent to it
}

// refresh takes a new target, where a request or response brings one (RFC 3261
// section 12.2).
func (p *peer) refresh(c *sipmsg.ContactHeader) {
	if c != nil {
		p.target = c.Address
	}
}

// hop is where a dialog's requests are sent to first.
func (p *peer) hop() (network, addr string) {
	next := p.target
	if len(p.routes) > 0 {
		next = p.routes[0]
	}
	return hop(next, p.network)
}

// withinTLS is how a transport is called within TLS, which sips: asks for, and
// transport=ws in a dialog that came within it.
var withinTLS = map[string]string{"udp": "tls", "tcp": "tls", "ws": "wss"}

// hop reads a URI's transport, else the one given, and its host and port.
func hop(u sipmsg.Uri, network string) (string, string) {
	came := network
	if t, ok := u.UriParams.Get("transport"); ok {
		network = strings.ToLower(t)
	}
	if secure := withinTLS[network]; secure != "" && (u.Scheme == "sips" || came == secure && network == "ws") {
		network = secure
	}
	port := u.Port
	if port == 0 {
		port = sipmsg.DefaultPort(network)
	}
	return network, net.JoinHostPort(strings.Trim(u.Host, "[]"), strconv.Itoa(port))
}

// request builds a request within the dialog (RFC 3261 section 12.2.1.1). The
// caller counts seq up; an ACK repeats that of its INVITE.
func (p *peer) request(method sipmsg.RequestMethod, from endpoint) *sipmsg.Request {
	uri, routes := p.target, p.routes
	if len(routes) > 0 && !routes[0].UriParams.Has("lr") {
		// A strict router: it takes the Request-URI, the target goes last.
		uri, routes = routes[0], append(routes[1:len(routes):len(routes)], p.target)
	}
	uri.Headers = nil
	req := sipmsg.NewRequest(method, uri)
	req.AppendHeader(from.via())
	for _, r := range routes {
		req.AppendHeader(&sipmsg.RouteHeader{Address: r})
	}
	forwards := sipmsg.MaxForwardsHeader(70)
	id := sipmsg.CallIDHeader(p.callID)
	req.AppendHeader(&forwards)
	req.AppendHeader(p.local)
	req.AppendHeader(p.remote)
	req.AppendHeader(&id)
	req.AppendHeader(&sipmsg.CSeqHeader{SeqNo: p.seq, MethodName: method})
	req.AppendHeader(sipmsg.NewHeader("User-Agent", userAgent))
	req.SetBody(nil)

	_, addr := p.hop()
	req.SetTransport(strings.ToUpper(from.network))
	req.SetDestination(addr)
	return req
}

// recordRoutes reads the route set of a message, in the order of its headers
// (RFC 3261 section 12.1.1).
func recordRoutes(m sipmsg.Message) []sipmsg.Uri {
	var routes []sipmsg.Uri
	for _, h := range m.GetHeaders("record-route") {
		if r, ok := h.(*sipmsg.RecordRouteHeader); ok {
			routes = append(routes, r.Address)
		}
	}
	return routes
}

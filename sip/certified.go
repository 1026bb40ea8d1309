package sip

import (
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"sync"

	sipmsg "github.com/emiago/sipgo/sip"
)

// certified are the trunks whose peers show a certificate. The zero value
// holds none.
type certified struct {
	byName   map[string]*Trunk // in lower case
	sources  trunkSet          // of those that also name addresses
	anywhere bool              // one names none
}

// newCertified indexes the trunks with a tls_name.
func newCertified(trunks []Trunk) certified {
	c := certified{byName: make(map[string]*Trunk)}
	var somewhere []Trunk
	for i := range trunks {
		t := &trunks[i]
		for _, name := range t.TLSName {
			c.byName[strings.ToLower(name)] = t
		}
		switch {
		case len(t.TLSName) == 0:
		case len(t.From) == 0:
			c.anywhere = true
		default:
			somewhere = append(somewhere, Trunk{From: t.From})
		}
	}
	c.sources = newTrunkSet(somewhere)
	return c
}

// expects says whether a peer at addr could be one of them.
func (c certified) expects(addr netip.Addr) bool { return c.anywhere || c.sources.find(addr) != nil }

// find returns the trunk that one of the names belongs to, nil when none does
// or the trunk does not send from addr.
func (c certified) find(addr netip.Addr, names []string) *Trunk {
	for _, name := range names {
		if t := c.byName[strings.ToLower(name)]; t != nil && (len(t.From) == 0 || t.Allows(addr)) {
			return t
		}
	}
	return nil
}

// domains are the SIP domains that a certificate speaks for (RFC 5922 section
// 7.1): the sip URIs of its alternative names, else their DNS names, else, when
// it has no alternative names at all, its common name.
func domains(cert *x509.Certificate) []string {
	var names []string
	for _, u := range cert.URIs {
		if uri, ok := parseURI(u.String()); ok && uri.scheme == "sip" && uri.user == "" && uri.host != "" {
			names = append(names, uri.host)
		}
	}
	switch {
	case len(names) > 0:
		return names
	case len(cert.DNSNames) > 0:
		return cert.DNSNames
	case len(cert.URIs) == 0 && len(cert.IPAddresses) == 0 && len(cert.EmailAddresses) == 0 && cert.Subject.CommonName != "":
		return []string{cert.Subject.CommonName}
	}
	return nil
}

// secured remembers, of each connection within TLS, which trunk it belongs to
// and by which names its peer is known. sipgo tells connections apart by the
// address they come from, so that is how they are found here.
type secured struct {
	mu    sync.Mutex
	known map[connID]security
}

// connID is what tells connections apart: tls or wss, and where they come from.
type connID struct {
	network string
	source  netip.AddrPort
}

// security is what TLS says of a connection's peer.
type security struct {
	trunk *Trunk
	names []string // that its certificate carries; none without one
}

// add remembers a connection. It is false when another comes from the same
// address and port, to another address of this machine.
func (s *secured) add(id connID, known security) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.known[id]; taken {
		return false
	}
	s.known[id] = known
	return true
}

func (s *secured) remove(id connID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, id)
}

func (s *secured) find(id connID) security {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[id]
}

// trunkAt is the trunk that a message comes from, nil for a stranger. A connection
// that the gateway made itself is not among the secured: its peer is known by
// the address that was connected to.
func (s *Server) trunkAt(network string, source netip.AddrPort) *Trunk {
	if known := s.secured.find(connID{network, source}); known.trunk != nil {
		return known.trunk
	}
	return s.trunks.find(source.Addr())
}

// trunkOf is the trunk of a request: that of the account it was sent to, where
// it comes from there, else that of its source.
func (s *Server) trunkOf(req *sipmsg.Request, source netip.AddrPort) *Trunk {
	if t := s.registrars.called(source.Addr(), req.Recipient.User); t != nil {
		return t
	}
	return s.trunkAt(sipmsg.NetworkToLower(req.Transport()), source)
}

// connIDOf names a connection.
func connIDOf(network string, conn net.Conn) connID {
	return connID{network, addrPortOf(conn.RemoteAddr())}
}

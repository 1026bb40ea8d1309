package sip

import (
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	sipmsg "github.com/emiago/sipgo/sip"
)

// certified are the trunks whose peers show a certificate. Copies share what
// replace changes. The zero value holds none.
type certified struct{ now *atomic.Pointer[tlsNames] }

// tlsNames are the trunks with a tls_name, indexed.
type tlsNames struct {
	byName   map[string]*Trunk // in lower case
	sources  trunkSet          // of those that also name addresses
	anywhere bool              // one names none
}

// newCertified holds the trunks with a tls_name.
func newCertified(trunks []Trunk) certified {
	c := certified{new(atomic.Pointer[tlsNames])}
	c.replace(trunks)
	return c
}

// replace puts other trunks in the place of those there are.
func (c certified) replace(trunks []Trunk) {
	next := tlsNames{byName: make(map[string]*Trunk)}
	var somewhere []Trunk
	for i := range trunks {
		t := &trunks[i]
		for _, name := range t.TLSName {
			next.byName[strings.ToLower(name)] = t
		}
		switch {
		case len(t.TLSName) == 0:
		case len(t.From) == 0:
			next.anywhere = true
		default:
			somewhere = append(somewhere, Trunk{From: t.From})
		}
	}
	next.sources = newTrunkSet(somewhere)
	c.now.Store(&next)
}

// expects says whether a peer at addr could be one of them.
func (c certified) expects(addr netip.Addr) bool {
	if c.now == nil {
		return false
	}
	now := c.now.Load()
	return now.anywhere || now.sources.find(addr) != nil
}

// find returns the trunk that one of the names belongs to, nil when none does
// or the trunk does not send from addr.
func (c certified) find(addr netip.Addr, names []string) *Trunk {
	if c.now == nil {
		return nil
	}
	known := c.now.Load()
	for _, name := range names {
		if t := known.byName[strings.ToLower(name)]; t != nil && (len(t.From) == 0 || t.Allows(addr)) {
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

// secured remembers, of each connection within TLS, by which names its peer
// is known. sipgo tells connections apart by the address they come from, so that
// is how they are found here.
type secured struct {
	mu    sync.Mutex
	known map[connID][]string // the names; none without a certificate
}

// connID is what tells connections apart: tls or wss, and where they come from.
type connID struct {
	network string
	source  netip.AddrPort
}

// add remembers a connection. It is false when another comes from the same
// address and port, to another address of this machine.
func (s *secured) add(id connID, names []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.known[id]; taken {
		return false
	}
	s.known[id] = names
	return true
}

func (s *secured) remove(id connID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, id)
}

func (s *secured) find(id connID) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[id]
}

// trunkAt is the trunk that a message comes from, nil for a stranger. A connection
// that the gateway made itself is not among the secured: its peer is known by
// the address that was connected to.
func (s *Server) trunkAt(network string, source netip.AddrPort) *Trunk {
	return s.trunkNamed(source.Addr(), s.secured.find(connID{network, source}))
}

// trunkNamed is the trunk of a peer at addr whose certificate carries names: by
// these, else by its address. It is asked for anew with each message, as trunks
// may change while a connection stands.
func (s *Server) trunkNamed(addr netip.Addr, names []string) *Trunk {
	if t := s.certified.find(addr, names); t != nil {
		return t
	}
	return s.trunks.find(addr)
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

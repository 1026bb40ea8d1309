package sip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// attempt is a series of REGISTERs until one registrar has said yes or no.
type attempt struct {
	*registration
	credentials
	target  target
	wish    wish
	socket  *socket  // by which UDP leaves
	local   endpoint // of the Via
	contact endpoint // where calls shall come
	old     endpoint // where they came before; zero for nowhere
	sight   sight    // of which contact is what the registrar sees
}

// face finds out how this machine and the registrar reach each other.
func (a *attempt) face(before *binding) error {
	s, peer := a.server, a.target.addr.Addr()
	a.local = endpoint{network: a.target.registrar.Network, host: localAddr(peer).WithZone("").String()}
	a.contact = a.local // over TCP its port is known when the connection is
	if a.local.network == "udp" {
		if a.socket = s.sockets.facing("udp", peer); a.socket == nil {
			return errFacing
		}
		a.local.port = int(a.socket.Addr.Port())
		a.contact = s.endpoint("udp", peer, a.socket.Addr)
	} else if s.advertise != (advertised{}) {
		a.contact = s.endpoint(a.local.network, peer, netip.AddrPort{})
	}
	if before != nil && before.target == a.target {
		if a.old = before.contact; a.socket == nil || a.wish.expires == 0 {
			a.contact = a.old
		}
	}
	return nil
}

// ask sends one REGISTER and takes the answer; again says that it asks for
// another.
func (a *attempt) ask(ctx context.Context) (again bool, err error) {
	req, err := a.request()
	if err != nil {
		return false, err
	}
	patient, cancel := context.WithTimeoutCause(ctx, a.server.pace.answer, errSilent)
	defer cancel()
	var res *sipmsg.Response
	if err = a.trust(patient); err == nil {
		res, err = a.server.stack.exchange(patient, req)
	}
	switch {
	case err != nil && patient.Err() != nil:
		return false, context.Cause(patient)
	case err != nil:
		return false, unreachable(err)
	}
	return a.heed(res)
}

// trust makes sure that within TLS it is the registrar that hears the rest: by
// the name which the file calls it (RFC 5922 section 7.2), wherever the DNS
// says that it is.
func (a *attempt) trust(ctx context.Context) error {
	r, dialer := a.target.registrar, a.server.stack.dialer
	if !r.secure() || dialer.proven(a.target.addr, r.Host) {
		return nil
	}
	trust := dialer.named(r.Host)
	if a.account.CA != "" {
		roots, err := systemRoots(a.account.CA)
		if err != nil {
			return &RegisterError{Registrar: a.target.addr.String(), Err: fmt.Errorf("ca: %w", err)}
		}
		trust.RootCAs = roots
	}
	return dialer.dial(ctx, connID{r.Network, a.target.addr}, trust)
}

// request builds the next REGISTER (RFC 3261 section 10.2).
func (a *attempt) request() (*sipmsg.Request, error) {
	registrar := a.target.registrar
	uri := sipmsg.Uri{Scheme: "sip", Host: registrar.Host, Port: registrar.Port}
	if a.account.Domain != "" {
		uri = sipmsg.Uri{Scheme: "sip", Host: a.account.Domain}
	}
	who := sipmsg.Uri{Scheme: "sip", User: a.account.User, Host: uri.Host}
	req := sipmsg.NewRequest(sipmsg.REGISTER, uri)
	forwards, id := sipmsg.MaxForwardsHeader(70), sipmsg.CallIDHeader(a.callID)
	a.seq++
	req.AppendHeader(a.local.via())
	req.AppendHeader(&forwards)
	req.AppendHeader(&sipmsg.FromHeader{Address: who, Params: sipmsg.HeaderParams{{K: "tag", V: a.fromTag}}})
	req.AppendHeader(&sipmsg.ToHeader{Address: who})
	req.AppendHeader(&id)
	req.AppendHeader(&sipmsg.CSeqHeader{SeqNo: a.seq, MethodName: sipmsg.REGISTER})
	req.AppendHeader(sipmsg.NewHeader("User-Agent", userAgent))
	if !a.wish.query {
		a.bindings(req)
	}
	if err := a.sign(req); err != nil {
		return nil, err
	}
	req.SetBody(nil)
	req.SetTransport(sipmsg.NetworkToUpper(registrar.Network))
	req.SetDestination(a.target.addr.String())
	if a.socket != nil {
		req.Laddr = laddr(a.socket.Addr)
	}
	return req, nil
}

// bindings says where calls shall come, and where no more.
func (a *attempt) bindings(req *sipmsg.Request) {
	contact := a.contact.contact()
	contact.Address.User = a.account.User
	req.AppendHeader(contact)
	if a.old != (endpoint{}) && a.old != a.contact {
		gone := a.old.contact()
		gone.Address.User = a.account.User
		gone.Params.Add("expires", "0")
		req.AppendHeader(gone)
	}
	req.AppendHeader(sipmsg.NewHeader("Expires", seconds(a.wish.expires)))
}

// heed takes a response; again says that it asks for another request.
func (a *attempt) heed(res *sipmsg.Response) (again bool, err error) {
	used := a.contact
	moved := a.lookBack(res)
	switch {
	case res.IsSuccess() && moved: // calls would come to an address that is not ours outside
		a.old, a.challenge = used, nil
		return true, nil
	case res.IsSuccess():
		a.wish.expires = a.granted(res)
		return false, nil
	case res.StatusCode == 401, res.StatusCode == 407:
		return true, a.challenged(res)
	case res.StatusCode == 423 && a.lengthen(res):
		return true, nil
	}
	return false, &RegisterError{Registrar: a.target.addr.String(), Code: res.StatusCode, Reason: phraseOf(res)}
}

// lookBack reads from the Via how this machine looks from the registrar (RFC
// 3581 section 4), and says whether the Contact must change for it.
func (a *attempt) lookBack(res *sipmsg.Response) bool {
	via := res.Via()
	if via == nil || a.server.advertise != (advertised{}) || a.wish.expires == 0 {
		return false
	}
	seen := endpoint{network: a.local.network, host: via.Host, port: via.Port}
	if text, ok := via.Params.Get("received"); ok {
		if addr, err := netip.ParseAddr(text); err == nil {
			seen.host = addr.Unmap().String()
		}
	}
	if text, ok := via.Params.Get("rport"); ok {
		if port, err := strconv.ParseUint(text, 10, 16); err == nil && port > 0 {
			seen.port = int(port)
		}
	}
	a.sight = sight{seen.network, a.target.addr.Addr(), uint16(via.Port)}
	a.server.registrars.saw(a.sight, seen)
	moved := seen != a.contact
	a.contact = seen
	return moved
}

// challenged takes a challenge. A second one is the registrar's last word.
func (a *attempt) challenged(res *sipmsg.Response) error {
	switch err := a.take(res); {
	case errors.Is(err, ErrLogin):
		return &RegisterError{Registrar: a.target.addr.String(), Code: res.StatusCode, Reason: phraseOf(res)}
	case err == nil && a.password == "":
		return errPassword
	default:
		return err
	}
}

// lengthen asks for as long a registration as the PBX insists on (RFC 3261
// section 10.2.8).
func (a *attempt) lengthen(res *sipmsg.Response) bool {
	h := res.GetHeader("Min-Expires")
	if h == nil {
		return false
	}
	least, err := strconv.ParseUint(h.Value(), 10, 16)
	if longer := time.Duration(least) * time.Second; err == nil && longer > a.wish.expires {
		a.wish.expires, a.challenge = longer, nil
		return true
	}
	return false
}

// granted is how long the PBX keeps our Contact (RFC 3261 section 10.2.4), and
// never longer than asked.
func (a *attempt) granted(res *sipmsg.Response) time.Duration {
	text := ""
	if h := res.GetHeader("Expires"); h != nil {
		text = h.Value()
	}
	for h := range headersOf(res, "Contact") {
		c, ok := h.(*sipmsg.ContactHeader)
		if ok && c.Address.User == a.account.User && c.Address.Host == a.contact.host && c.Address.Port == a.contact.port {
			if own, ok := c.Params.Get("expires"); ok {
				text = own
			}
		}
	}
	seconds, err := strconv.ParseUint(text, 10, 32)
	if err != nil || seconds == 0 {
		return a.wish.expires
	}
	return min(time.Duration(seconds)*time.Second, a.wish.expires)
}

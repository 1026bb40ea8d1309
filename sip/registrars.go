package sip

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// registrarKeep is how long calls are taken from an address after the DNS named
// it last: a call in progress must not be cut off when a PBX moves.
const registrarKeep = time.Hour

// registrars knows the addresses of the accounts' PBXs, whose calls are taken,
// and how this machine looks from there. The zero value knows none. Reading
// takes no lock: the filter asks about every stranger.
type registrars struct {
	mu    sync.Mutex // of those who change it
	known atomic.Pointer[map[netip.Addr][]entrance]
	seen  sync.Map // sight -> endpoint
}

// entrance is an account as calls from one address find it.
type entrance struct {
	trunk *atomic.Pointer[Trunk] // as it is now
	until time.Time
}

// sight is a socket of this machine and who looks at it.
type sight struct {
	network string
	peer    netip.Addr
	port    uint16 // of the socket
}

// add takes calls from addresses for the account with this trunk, and forgets
// those of which nothing was heard for long.
func (rs *registrars) add(trunk *atomic.Pointer[Trunk], addrs []netip.Addr, now time.Time) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	known := make(map[netip.Addr][]entrance)
	if old := rs.known.Load(); old != nil {
		for addr, lines := range *old {
			again := slices.Contains(addrs, addr)
			for _, l := range lines {
				if now.Before(l.until) && (l.trunk != trunk || !again) {
					known[addr] = append(known[addr], l)
				}
			}
		}
	}
	for i, addr := range addrs {
		if !slices.Contains(addrs[:i], addr) {
			known[addr] = append(known[addr], entrance{trunk, now.Add(registrarKeep)})
		}
	}
	rs.known.Store(&known)
}

// find returns the trunk of an account whose PBX has this address; nil for a
// stranger.
func (rs *registrars) find(addr netip.Addr) *Trunk {
	return rs.pick(addr, func(*Trunk) bool { return true })
}

// called returns the trunk of the account that the PBX at this address calls
// user; nil when there is none.
func (rs *registrars) called(addr netip.Addr, user string) *Trunk {
	return rs.pick(addr, func(t *Trunk) bool { return t.pilot == user })
}

func (rs *registrars) pick(addr netip.Addr, fits func(*Trunk) bool) *Trunk {
	if rs == nil {
		return nil
	}
	known := rs.known.Load()
	if known == nil {
		return nil
	}
	for _, l := range (*known)[addr.Unmap().WithZone("")] {
		if t := l.trunk.Load(); fits(t) {
			return t
		}
	}
	return nil
}

// saw notes how a PBX sees a socket of this machine: behind NAT, as another
// address and port.
func (rs *registrars) saw(s sight, as endpoint) { rs.seen.Store(s, as) }

// forget drops what was noted of a socket that is closed.
func (rs *registrars) forget(s sight) { rs.seen.Delete(s) }

// seenAs tells how the peer sees a socket, as far as that is known.
func (rs *registrars) seenAs(s sight) (endpoint, bool) {
	as, ok := rs.seen.Load(s)
	if !ok {
		return endpoint{}, false
	}
	return as.(endpoint), true
}

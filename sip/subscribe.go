package sip

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// Lamps knows what those ask for who subscribe to the message lamp of a mailbox
// (RFC 3842, RFC 6665).
type Lamps interface {
	// Mailbox is that of the first callee who has one; "" where none has, or its
	// watcher may not ask for another. An error says that this cannot be told now.
	Mailbox(w Watcher) (mailbox string, err error)
	// Messages is what waits in a mailbox now.
	Messages(ctx context.Context, mailbox string) (Messages, error)
	// Watch gets a value when that may be otherwise, until ctx ends. A slow
	// reader misses some.
	Watch(ctx context.Context, mailbox string) <-chan string
}

// Watcher is who subscribes, and to whose lamp.
type Watcher struct {
	Trunk   *Trunk
	Source  netip.Addr
	Callees []Callee // the likeliest first
}

const (
	// A subscription lasts between these. Nobody refreshes sooner than the first;
	// by the second, who subscribed to a gateway that crashed has found out.
	shortestSubscription = time.Minute
	longestSubscription  = 15 * time.Minute

	maxSubscriptions = 100_000 // about 10 kB each

	// maxUnheard is how many new subscribers of a trunk may owe the answer to their
	// first NOTIFY. Without one it goes out eleven times in 64*T1, and where the
	// SUBSCRIBE was forged to anybody: this makes 44 datagrams a second at most.
	maxUnheard = 128
)

// subscriptions are all there are, by tag.request.
type subscriptions struct {
	mu    sync.Mutex
	known map[uint64]*subscription
	tasks background // one for each
}

func newSubscriptions() *subscriptions {
	return &subscriptions{known: make(map[uint64]*subscription), tasks: newBackground()}
}

// add takes a subscription in, unless another branch of its SUBSCRIBE came
// first (RFC 3261 section 8.2.2.2) or there are too many.
func (ss *subscriptions) add(b *subscription) *rejection {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.known[b.tag.request] != nil {
		return &rejection{code: 482}
	}
	if len(ss.known) >= maxSubscriptions {
		return draining.rejection()
	}
	ss.known[b.tag.request] = b
	return nil
}

func (ss *subscriptions) drop(b *subscription) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	delete(ss.known, b.tag.request)
}

// find returns the subscription with a tag, or nil.
func (ss *subscriptions) find(tg tag) *subscription {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if b := ss.known[tg.request]; b != nil && b.tag == tg {
		return b
	}
	return nil
}

func (ss *subscriptions) count() int {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return len(ss.known)
}

// subscribe serves a SUBSCRIBE (RFC 6665 section 4.2.1).
func (s *Server) subscribe(in *incoming) {
	asked, r := readInterest(in.Request)
	if r == nil && s.lamps == nil {
		r = badEvent()
	}
	switch {
	case r != nil:
	case in.fresh:
		r = s.subscribeAnew(in, asked)
	default:
		r = s.subscribeAgain(in, asked)
	}
	if r != nil {
		s.refuseOnce(in, r)
	}
}

func (s *Server) subscribeAnew(in *incoming, w interest) *rejection {
	if s.calls.isShut() {
		return draining.rejection()
	}
	mailbox, err := s.lamps.Mailbox(Watcher{in.trunk, in.source.Addr(), watched(in.Request, in.trunk)})
	switch {
	case err != nil:
		return cannotTake() // whoever does not answer is in the log already
	case mailbox == "":
		return &rejection{code: 480}
	}
	unheard, r := s.owe(in.trunk)
	if r != nil {
		return r
	}
	account := in.To().Address
	account.UriParams, account.Headers = nil, nil
	b := &subscription{
		line: s.lineOf(in), tag: in.tag, mailbox: mailbox, event: w.event, account: account.String(),
		remoteSeq: in.CSeq().SeqNo, until: time.Now().Add(w.expires), asked: make(chan struct{}, 1),
		heard: sync.OnceFunc(func() { <-unheard }),
	}
	if r := s.subscriptions.add(b); r != nil {
		b.heard()
		return r
	}
	in.respond(200, w.granted(), b.from.contact())
	const forGood = 100 * 365 * 24 * time.Hour // it has an end of its own
	if !s.subscriptions.tasks.run(forGood, b.run) {
		s.subscriptions.drop(b)
		b.heard()
	}
	return nil
}

// owe adds another to the subscribers of a trunk that owe the answer to their
// first NOTIFY. While there are as many as may be it waits, no longer than a
// forwarding proxy does: of a thousand who subscribe at once and answer, each
// has its turn.
func (s *Server) owe(t *Trunk) (unheard chan struct{}, r *rejection) {
	unheard = s.admission.meter(t).unheard
	select {
	case unheard <- struct{}{}:
		return unheard, nil
	case <-time.After(8 * s.t1):
	case <-s.subscriptions.tasks.ended:
	}
	return nil, draining.rejection()
}

func (s *Server) subscribeAgain(in *incoming, w interest) *rejection {
	b := s.subscriptions.find(in.tag)
	if b == nil {
		return &rejection{code: 481}
	}
	contact, r := b.refresh(in, w.expires)
	if r != nil {
		return r
	}
	in.respond(200, w.granted(), contact)
	select {
	case b.asked <- struct{}{}:
	default: // one is due
	}
	return nil
}

// watched is whom a SUBSCRIBE names: nothing diverted it.
func watched(req *sipmsg.Request, t *Trunk) []Callee {
	var list []Callee
	for _, source := range calleeSources {
		if !slices.Contains([]string{"request-uri", "to"}, source.header) {
			continue
		}
		for _, p := range source.parties(req) {
			list = addCallee(list, p, source.header, t.Country)
		}
	}
	return list
}

// interest is what a SUBSCRIBE asks for.
type interest struct {
	event   string        // as its NOTIFYs repeat it
	expires time.Duration // as granted; 0 asks for one NOTIFY alone, or ends it
}

func (w interest) granted() sipmsg.Header {
	return sipmsg.NewHeader("Expires", seconds(w.expires))
}

// readInterest reads a SUBSCRIBE (RFC 6665 section 8.2.1, RFC 3842 sections 3.4 and
// 3.5), or says why it is refused.
func readInterest(req *sipmsg.Request) (w interest, r *rejection) {
	event, ps, _ := strings.Cut(strings.Join(headerValues(req, "Event"), ","), ";")
	if !strings.EqualFold(strings.TrimSpace(event), eventSummary) {
		return w, badEvent()
	}
	w.event = eventSummary
	if id, ok := params(ps).get("id"); ok && clean(id) == id && !strings.ContainsAny(id, " ;,\"") {
		w.event += ";id=" + id
	}
	if r := checkContact(req); r != nil {
		return w, r
	}
	if !accepts(req, typeSummary) {
		return w, &rejection{406, []sipmsg.Header{sipmsg.NewHeader("Accept", typeSummary)}}
	}
	w.expires = longestSubscription
	if values := headerValues(req, "Expires"); len(values) > 0 {
		n, err := strconv.ParseUint(values[0], 10, 32)
		asked := time.Duration(n) * time.Second
		switch {
		case err != nil:
			return w, &rejection{code: 400}
		case asked > 0 && asked < shortestSubscription:
			return w, &rejection{423, []sipmsg.Header{sipmsg.NewHeader("Min-Expires", seconds(shortestSubscription))}}
		}
		w.expires = min(asked, w.expires)
	}
	return w, nil
}

// badEvent refuses every other event package.
func badEvent() *rejection {
	return &rejection{489, []sipmsg.Header{sipmsg.NewHeader("Allow-Events", eventSummary)}}
}

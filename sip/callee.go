package sip

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// maxCallees bounds how many look-ups one INVITE costs.
const maxCallees = 8

// party is somebody a call was meant for, and why it went on from there.
type party struct {
	uri    uri
	reason string // as Callee.Reason; "" when unknown
}

// calleeSource is a place that tells who was called.
type calleeSource struct {
	header  string
	parties func(*sipmsg.Request) []party // the newest first
	decides bool                          // it may name the mailbox, and not the reason alone
}

// calleeSources are all there are, the best first.
var calleeSources = []calleeSource{
	{"target", targeted, true},
	{"history-info", recorded, true},
	{"diversion", diverted, true},
	{"p-called-party-id", func(req *sipmsg.Request) []party { return addressed(req, "P-Called-Party-ID") }, true}, // RFC 7315 section 4.2
	{"request-uri", func(req *sipmsg.Request) []party { return []party{{uri: requestURI(req)}} }, true},
	{"to", func(req *sipmsg.Request) []party { return addressed(req, "To") }, true},
}

// callees lists who may have been called, the best candidate first, each user
// part once. A pilot number is among them: the directory does not know it and
// goes on to the next. A candidate whose header does not say why takes the
// best reason any header gave, so that the note tells it however the mailbox
// was found.
func callees(req *sipmsg.Request, t *Trunk) []Callee {
	var list []Callee
	why := ""
	for _, source := range t.calleeSources() {
		parties := source.parties(req)
		if t.Mailbox == "first" {
			slices.Reverse(parties)
		}
		for _, p := range parties {
			why = cmp.Or(why, p.reason)
			if source.decides {
				list = addCallee(list, p, source.header, t.Country)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Callee) int { return cmp.Compare(a.pilot(t), b.pilot(t)) })
	for i := range list {
		list[i].Reason = cmp.Or(list[i].Reason, why)
	}
	return list
}

// pilot is 1 for the extension of an account itself, which is asked last, else 0.
func (c Callee) pilot(t *Trunk) int {
	if t.pilot != "" && c.User == t.pilot {
		return 1
	}
	return 0
}

// addCallee appends a party unless it names nobody or stands there already.
func addCallee(list []Callee, p party, header, country string) []Callee {
	user := p.uri.user
	if user == "" || len(user) > maxText || p.uri.anonymous() {
		return list
	}
	same := func(c Callee) bool { return c.User == user || c.Number == user }
	if i := slices.IndexFunc(list, same); i >= 0 {
		list[i].Reason = cmp.Or(list[i].Reason, p.reason)
		return list
	}
	if len(list) == maxCallees {
		return list
	}
	return append(list, Callee{User: user, Number: p.uri.number(country), Reason: p.reason, Header: header})
}

// requestURI is the Request-URI; its zero value when it is no SIP or tel URI.
func requestURI(req *sipmsg.Request) uri {
	u, _ := parseURI(req.Recipient.String())
	return u
}

// addressed reads a header that names a party and no reason.
func addressed(req *sipmsg.Request, header string) []party {
	var parties []party
	for _, a := range addresses(req, header) {
		parties = append(parties, party{uri: a.uri})
	}
	return parties
}

// targeted reads target and cause of the Request-URI (RFC 4458 sections 2.1 and 2.2). A
// cause alone names nobody but says why.
func targeted(req *sipmsg.Request) []party {
	u := requestURI(req)
	if u.cause() == causeTranslated {
		return nil
	}
	target, _ := parseURI(u.param("target"))
	return []party{{target, causeReasons[u.cause()]}}
}

// diverted reads Diversion, whose topmost entry is the newest (RFC 5806).
func diverted(req *sipmsg.Request) []party {
	var parties []party
	for _, a := range addresses(req, "Diversion") {
		reason, _ := a.params.get("reason")
		parties = append(parties, party{a.uri, diversionReasons[strings.ToLower(reason)]})
	}
	return parties
}

// recorded reads the diversions out of History-Info (RFC 7044): an entry that
// carries a cause or mp= was reached by diverting the entry before it, and an
// entry with an escaped Reason failed.
func recorded(req *sipmsg.Request) []party {
	history := readHistory(req)
	var parties []party
	for i, e := range history {
		if reason, ok := e.failed(); ok {
			parties = append(parties, party{history.owner(e).uri, reason})
		}
		_, mapped := e.params.get("mp")
		cause := e.uri.cause()
		if cause == causeTranslated || (cause == 0 && !mapped) {
			continue
		}
		if from, ok := history.before(i); ok {
			parties = append(parties, party{history.owner(from).uri, causeReasons[cause]})
		}
	}
	return parties
}

// historyEntry is one entry of History-Info (RFC 7044 section 5).
type historyEntry struct {
	address
	index string
	order []int // the index as numbers
}

// failed tells the reason of an entry that answered with an error (RFC 7044
// section 10.2: its Reason is escaped into the URI).
func (e historyEntry) failed() (reason string, ok bool) {
	for v := range e.uri.header("Reason") {
		c, _ := parseReason(v)
		switch {
		case c.protocol == "SIP" && c.code >= 300 && c.code != causeTranslated:
			return causeReasons[c.code], true
		case c.protocol == "Q.850":
			ok = true
		}
	}
	return "", ok
}

// history is the History-Info of a request, newest entry first.
type history []historyEntry

// readHistory sorts the entries by their index, the highest first.
func readHistory(req *sipmsg.Request) history {
	var h history
	for _, a := range addresses(req, "History-Info") {
		index, _ := a.params.get("index")
		e := historyEntry{address: a, index: index}
		for part := range strings.SplitSeq(index, ".") {
			n, _ := strconv.Atoi(part)
			e.order = append(e.order, n)
		}
		h = append(h, e)
	}
	slices.Reverse(h) // entries without an index stand in the order they were added
	slices.SortStableFunc(h, func(a, b historyEntry) int { return slices.Compare(b.order, a.order) })
	return h
}

// find returns the entry that mp= or rc= or a parent's index points to.
func (h history) find(index string) (historyEntry, bool) {
	i := slices.IndexFunc(h, func(e historyEntry) bool { return e.index == index })
	if index == "" || i < 0 {
		return historyEntry{}, false
	}
	return h[i], true
}

// before returns the entry that was retargeted to entry i: the one its mp= or
// rc= names (RFC 7044 section 5), else its parent, else the next older one.
func (h history) before(i int) (historyEntry, bool) {
	for _, key := range []string{"mp", "rc"} {
		index, _ := h[i].params.get(key)
		if e, ok := h.find(index); ok {
			return e, true
		}
	}
	if dot := strings.LastIndexByte(h[i].index, '.'); dot >= 0 {
		if e, ok := h.find(h[i].index[:dot]); ok {
			return e, true
		}
	}
	if i+1 < len(h) {
		return h[i+1], true
	}
	return historyEntry{}, false
}

// owner returns whose contact an entry is: rc= leads from a registered
// contact back to the address of record (RFC 7044 section 5).
func (h history) owner(e historyEntry) historyEntry {
	for range h { // a loop of rc= ends too
		index, _ := e.params.get("rc")
		older, ok := h.find(index)
		if !ok {
			break
		}
		e = older
	}
	return e
}

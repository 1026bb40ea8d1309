// Package sip is the signalling edge: who called whom and why, may they, and
// the dialog from the INVITE to the BYE.
//
// In: datagrams and connections from configured trunks. Out: one [Call] for
// each INVITE, handed to a [Handler] on a goroutine of its own, whose context
// ends with the dialog. Session descriptions (SDP) pass through as opaque
// bytes. It is the only room that imports sipgo, which does transport, parser
// and transactions; dialog state is kept here.
// PROTOCOL.md says section by section what is done, where, and what proves it.
//
// Who may send calls is asked in front of everything: datagrams and connections
// of no trunk end before sipgo sees them (filter.go, connections.go); a peer
// that only its certificate can make a trunk is asked for it within TLS, with
// deadlines and few places, before it can say a word of SIP (ready.go, tls.go).
//
// Calls also come in by accounts: extensions of a PBX under which the server
// registers like a phone. Then the PBX's own addresses are a trunk.
//
// RFC 3261 (SIP), 3262 (reliable 180), 3263 (servers behind a name), 3264
// (offer/answer, the signalling half), 3311 (UPDATE), 3323/3325 (privacy, asserted
// identity), 3326 (Reason), 3581 and 5626 (NAT), 4028 (session timers), 4458
// (voicemail URI), 5079 (anonymous callers refused), 5806 (Diversion), 5922 (names
// in certificates), 5923 (connections used again), 6665 and 3842 (message lamps),
// 7044 (History-Info), 7118 (WebSocket), 7315 (P-Called-Party-ID), 7616 and 8760
// (digest, asked and answered), 3GPP TS 24.229 (verstat).
package sip

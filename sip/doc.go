// Package sip is the signalling edge: who called whom and why, may they, and
// the dialog from the INVITE to the BYE.
//
// In: datagrams and connections from configured trunks. Out: one [Call] for
// each INVITE, handed to a [Handler] on a goroutine of its own, whose context
// ends with the dialog. Session descriptions (SDP) pass through as opaque
// bytes. It is the only room that imports sipgo, which does transport, parser
// and transactions; dialog state is kept here. PROTOCOL.md says section by
// section what is done, where, and what proves it.
//
// Where things are, in the order in which a call meets them:
//
//	listen, sockets, addr       the bound addresses
//	trunk, filter, connections  who may be heard at all, before sipgo
//	tls, certified, websocket   … within TLS and WebSocket
//	reload                      other trunks while calls go on
//	turnstile, admission        calls beyond the limits, before the parser
//	parser, stack, receive      sipgo, what it gets wrong, who serves what
//	validate, authenticate      requests that are refused
//	invite, dialogs, dialog     from the INVITE to a dialog
//	header, callee, caller      who called whom
//	answer, reliable, reoffer   offer and answer
//	session, refresh, hangup    session timers, the end
//	route, line, reuse          requests of ours: where to, by which way
//	account, registration       the server as an extension of a PBX: its
//	                            registrars are a trunk
//	subscribe, notify           message lamps
//	client, client_dialog       the test caller of the commands
//
// RFC 3261 (SIP), 3262 (reliable 180), 3263 (servers behind a name), 3264
// (offer/answer, the signalling half), 3311 (UPDATE), 3323/3325 (privacy, asserted
// identity), 3326 (Reason), 3581 and 5626 (NAT), 4028 (session timers), 4458
// (voicemail URI), 5079 (anonymous callers refused), 5806 (Diversion), 5922 (names
// in certificates), 5923 (connections used again), 6665 and 3842 (message lamps),
// 7044 (History-Info), 7118 (WebSocket), 7315 (P-Called-Party-ID), 7616 and 8760
// (digest, asked and answered), 3GPP TS 24.229 (verstat).
package sip

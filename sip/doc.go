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
// RFC 3261 (SIP), 3262 (reliable 180), 3264 (offer/answer, the signalling half),
// 3311 (UPDATE), 3323/3325 (privacy, asserted identity), 3326 (Reason), 4028
// (session timers), 4458 (voicemail URI), 5079 (anonymous callers refused), 5806
// (Diversion), 6665 and 3842 (message lamps), 7044 (History-Info), 7315
// (P-Called-Party-ID), 3GPP TS 24.229 (verstat).
package sip

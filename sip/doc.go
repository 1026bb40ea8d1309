// Package sip is the signalling edge: who called whom and why, may they, and
// the dialog from the INVITE to the BYE.
//
// In: datagrams and connections from configured trunks. Out: one [Call] for
// each INVITE, handed to a [Handler] on a goroutine of its own, whose context
// ends with the dialog. Session descriptions (SDP) pass through as opaque
// bytes. It is the only room that imports sipgo, which does transport, parser
// and transactions; dialog state is kept here.
//
// Calls also come in by accounts: extensions of a PBX under which the server
// registers like a phone. Then the PBX's own addresses are a trunk.
//
// RFC 3261 (SIP), 3264 (offer/answer, the signalling half), 3323/3325 (privacy,
// asserted identity), 3326 (Reason), 4458 (voicemail URI), 5806 (Diversion),
// 7044 (History-Info), 7315 (P-Called-Party-ID), 7616 and 8760 (digest, asked
// and answered), 3263 (servers behind a name), 3581 and 5626 (NAT).
package sip

// Package media is the leg of a call: SDP offer and answer, the RTP port, keys
// and decryption, what arrives put in order onto a tape, and a tape rendered
// into a note's file.
//
// In: an SDP offer, RTP packets. Out: an SDP answer, records of at most a
// second on a [Tape]; and from [Records] an Ogg/Opus file with its [Facts]. It
// knows neither signalling nor store. [MP3] makes of that file one for players
// without Opus. All timing of a note comes from RTP timestamps, never from the
// wall clock.
//
// Where things are:
//
//	engine, leg, ports             a call's leg, and its RTP port
//	sdp, answer, describe          the peer's descriptions, what is agreed, ours
//	protection, sdes, dtls, srtp   how a stream is encrypted; identity is ours
//	ice, rtcp, control             what else is agreed and said, on the port or
//	                               the one after it
//	receive, socket                packets from the network, by system
//	record, demux, latch           whose they are, and onto the tape
//	reorder, timeline, conceal     the tape in order, without gaps
//	render, renderers, sink, ogg   the note's file; gate and governor say when
//	                               and with how much effort
//
// RFC 3264 and 8866 (SDP), 3550/3551 (RTP), 4585 (AVPF), 4733 (telephone-event),
// 3389 (comfort noise), 7587 (Opus over RTP), 7845 (Ogg Opus), 7362 (latching).
//
// Encryption: RFC 3711 (SRTP), 7714 (AES-GCM), 4568 (keys in SDP), 5763 and 5764
// (keys by DTLS), 8122 (fingerprints), 8643 (keys with RTP/AVP). What may be on
// a port beside RTP, told apart by RFC 7983: RTCP, 5761 (rtcp-mux), 3605, 3556,
// 4961; ICE as a lite agent, 8445, 8489 and 8839.
package media

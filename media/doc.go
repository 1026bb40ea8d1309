// Package media is the leg of a call: SDP offer and answer, the RTP port, what
// arrives put in order onto a tape, and a tape rendered into a note's file.
//
// In: an SDP offer, RTP packets. Out: an SDP answer, records of at most a
// second on a [Tape]; and from [Records] an Ogg/Opus file with its [Facts]. It
// knows neither signalling nor store. [MP3] makes of that file one for players
// without Opus. All timing of a note comes from RTP timestamps, never from the
// wall clock.
//
// RFC 3264 and 8866 (SDP), 3550/3551 (RTP), 4733 (telephone-event), 3389
// (comfort noise), 7587 (Opus over RTP), 7845 (Ogg Opus), 7362 (latching).
package media

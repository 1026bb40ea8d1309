// Package codec holds the audio codecs, one file each, and one table of them:
// [Codecs] and [Find].
//
// In: RTP payloads. Out: mono 16-bit PCM, and the other way round. Beside the
// table stands what only Opus has: [PacketDuration] and [LostPacket] for
// passing packets on without decoding them, and [NoteEncoder], which makes the
// packets of a voice note.
//
// ITU-T G.711 and G.722, RFC 3551 (their payloads), 6716 (Opus), 7587 (Opus
// over RTP).
package codec

// Package codec holds the audio codecs, one file each, and one table of them:
// [Codecs] and [Find].
//
// In: RTP payloads. Out: mono 16-bit PCM, and the other way round. Beside the
// table stands what only Opus has: [PacketDuration] and [LostPacket] for
// passing packets on without decoding them, and [NoteEncoder], which makes the
// packets of a voice note. [MP3Encoder] makes the frames of the file that goes to
// players without Opus; no leg answers with it.
//
// ITU-T G.711 and G.722, RFC 3551 (their payloads), 6716 (Opus), 7587 (Opus
// over RTP), ISO/IEC 13818-3 (MPEG-2 layer III).
package codec

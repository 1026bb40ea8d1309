package media

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	opusClock  = 48000     // of packet lengths and granule positions, Hz (RFC 7845 §4)
	oggPage    = opusClock // a page holds at most a second: 4 % overhead against 78 % at a page a packet
	oggLacings = 255       // a page has at most so many segments (RFC 3533 §6)
	oggNoEnd   = -1        // the granule position of a page on which no packet ends (RFC 3533 §6)
)

// The header type of a page (RFC 3533 §6).
const (
	oggContinued = 1 << iota // the page begins inside a packet
	oggFirst
	oggLast
)

// oggHead is what an Ogg Opus file says about itself (RFC 7845 §5.1).
type oggHead struct {
	Serial    uint32 // of the stream, any number
	InputRate int    // of what was encoded, Hz; players do not need it
	PreSkip   int    // samples of 48 kHz for players to drop at the start
}

// oggWriter writes Opus packets into an Ogg file (RFC 3533, 7845), mono, with
// one Write a page. A page is held back until the next packet has come, so that
// the last one can say that it is. It allocates nothing once its buffers have
// grown to a page.
type oggWriter struct {
	w    io.Writer
	head oggHead

	sequence uint32 // of the next page
	flags    byte   // of the page being filled
	lacing   []byte // its segment table
	body     []byte // its packets
	ended    int    // packets that end on it
	start    int64  // granule position at its start
	granule  int64  // granule position after its last whole packet
	page     []byte // scratch for flush
}

// newOggWriter writes the two header pages.
func newOggWriter(w io.Writer, head oggHead) (*oggWriter, error) {
	o := &oggWriter{w: w, head: head, flags: oggFirst}
	id := append([]byte("OpusHead"), 1, 1) // version 1, one channel
	id = binary.LittleEndian.AppendUint16(id, uint16(head.PreSkip))
	id = binary.LittleEndian.AppendUint32(id, uint32(head.InputRate))
	id = append(id, 0, 0, 0) // output gain 0 dB, mapping family 0
	if err := o.writeHeader(id); err != nil {
		return nil, err
	}
	const vendor = "afterbeep"
	tags := binary.LittleEndian.AppendUint32([]byte("OpusTags"), uint32(len(vendor)))
	tags = append(tags, vendor...)
	tags = binary.LittleEndian.AppendUint32(tags, 0) // no comments: a note says nothing about people
	return o, o.writeHeader(tags)
}

// writeHeader writes a packet on a page of its own (RFC 7845 §3).
func (o *oggWriter) writeHeader(packet []byte) error {
	if err := o.add(packet); err != nil {
		return err
	}
	return o.flush(0, 0)
}

// WritePacket adds a packet that lasts so many samples of 48 kHz.
func (o *oggWriter) WritePacket(packet []byte, samples48k int) error {
	late := o.granule+int64(samples48k)-o.start > oggPage
	full := len(o.lacing)+len(packet)/255+1 > oggLacings
	if o.ended > 0 && (late || full) {
		if err := o.flush(o.granule, 0); err != nil {
			return err
		}
	}
	if err := o.add(packet); err != nil {
		return err
	}
	o.granule += int64(samples48k)
	return nil
}

// Close writes the last page. The file then plays total samples of 48 kHz: what
// the last packet holds beyond them is cut off by players (RFC 7845 §4.4), and
// must be less than that packet. It does not close the writer beneath.
func (o *oggWriter) Close(total48k int64) error {
	end := int64(o.head.PreSkip) + total48k
	if o.ended == 0 || end <= o.start || end > o.granule {
		return fmt.Errorf("media: ogg: a file cannot end at %d samples with packets up to %d", end, o.granule)
	}
	return o.flush(end, oggLast)
}

// add puts a packet on the page, and goes on on the next where it is full.
func (o *oggWriter) add(packet []byte) error {
	for {
		if len(o.lacing) == oggLacings {
			if err := o.flush(oggNoEnd, 0); err != nil {
				return err
			}
			o.flags = oggContinued
		}
		n := min(len(packet), 255) // a packet is segments of 255 bytes and a shorter one (RFC 3533 §5)
		o.lacing = append(o.lacing, byte(n))
		o.body = append(o.body, packet[:n]...)
		packet = packet[n:]
		if n < 255 {
			o.ended++
			return nil
		}
	}
}

// flush writes the page (RFC 3533 §6) and begins an empty one.
func (o *oggWriter) flush(granule int64, flags byte) error {
	p := append(o.page[:0], "OggS\x00"...)
	p = append(p, o.flags|flags)
	p = binary.LittleEndian.AppendUint64(p, uint64(granule))
	p = binary.LittleEndian.AppendUint32(p, o.head.Serial)
	p = binary.LittleEndian.AppendUint32(p, o.sequence)
	p = append(p, 0, 0, 0, 0, byte(len(o.lacing))) // the checksum counts as zeros in itself
	p = append(p, o.lacing...)
	p = append(p, o.body...)
	binary.LittleEndian.PutUint32(p[22:], oggChecksum(p))
	o.page = p
	o.lacing, o.body, o.ended = o.lacing[:0], o.body[:0], 0
	o.flags, o.start = 0, o.granule
	o.sequence++
	if _, err := o.w.Write(p); err != nil {
		return fmt.Errorf("media: ogg: %w", err)
	}
	return nil
}

// oggChecksum is CRC-32 with the polynomial 0x04c11db7, most significant bit
// first, from zero and not inverted: hash/crc32 knows only the mirrored kind.
func oggChecksum(page []byte) (sum uint32) {
	for _, b := range page {
		sum = sum<<8 ^ oggTable[byte(sum>>24)^b]
	}
	return sum
}

var oggTable = func() (table [256]uint32) {
	for i := range table {
		r := uint32(i) << 24
		for range 8 {
			r = r<<1 ^ uint32(int32(r)>>31)&0x04c11db7
		}
		table[i] = r
	}
	return table
}()

package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// errNote says that a file is none that rendering has made.
var errNote = errors.New("media: the file is no Ogg Opus note")

// oggReader reads the packets of an Ogg Opus file of one stream (RFC 3533,
// 7845), a page at a time.
type oggReader struct {
	r      io.Reader
	head   oggHead
	stream bool // the first page was read

	lacing  []byte // segments of the page that are left
	body    []byte // their bytes
	granule int64  // of the page
	last    bool   // the page is the last one
	packet  []byte
	page    [27 + 255 + 255*255]byte
}

// newOggReader reads the two header packets.
func newOggReader(r io.Reader) (*oggReader, error) {
	o := &oggReader{r: r}
	id, err := o.next()
	if err != nil {
		return nil, err
	}
	if len(id) < 19 || string(id[:8]) != "OpusHead" || id[8]>>4 != 0 || id[9] != 1 {
		return nil, fmt.Errorf("%w: its first packet describes no mono Opus stream", errNote)
	}
	o.head.PreSkip = int(binary.LittleEndian.Uint16(id[10:]))
	o.head.InputRate = int(binary.LittleEndian.Uint32(id[12:]))
	if tags, err := o.next(); err != nil || len(tags) < 8 || string(tags[:8]) != "OpusTags" {
		return nil, errors.Join(fmt.Errorf("%w: its second packet holds no comments", errNote), err)
	}
	return o, nil
}

// next returns the next packet, valid until the one after it; io.EOF after the
// last page.
func (o *oggReader) next() ([]byte, error) {
	o.packet = o.packet[:0]
	for {
		for len(o.lacing) == 0 {
			if o.last {
				return nil, io.EOF
			}
			if err := o.readPage(); err != nil {
				return nil, err
			}
		}
		n := int(o.lacing[0])
		o.packet = append(o.packet, o.body[:n]...)
		o.lacing, o.body = o.lacing[1:], o.body[n:]
		if n < 255 { // a packet is segments of 255 bytes and a shorter one (RFC 3533 §5)
			return o.packet, nil
		}
		if len(o.packet) > maxOggPacket {
			return nil, fmt.Errorf("%w: a packet is too large", errNote)
		}
	}
}

// maxOggPacket is more than any packet of a note has.
const maxOggPacket = 64 << 10

// readPage reads a page and checks its sum (RFC 3533 §6).
func (o *oggReader) readPage() error {
	head := o.page[:27]
	if _, err := io.ReadFull(o.r, head); err != nil {
		return o.broken(err)
	}
	if string(head[:5]) != "OggS\x00" {
		return fmt.Errorf("%w: a page does not begin as one", errNote)
	}
	lacing := o.page[27 : 27+int(head[26])]
	if _, err := io.ReadFull(o.r, lacing); err != nil {
		return o.broken(err)
	}
	size := 0
	for _, n := range lacing {
		size += int(n)
	}
	body := o.page[27+len(lacing) : 27+len(lacing)+size]
	if _, err := io.ReadFull(o.r, body); err != nil {
		return o.broken(err)
	}
	sum, serial := binary.LittleEndian.Uint32(head[22:]), binary.LittleEndian.Uint32(head[14:])
	clear(head[22:26]) // the checksum counts as zeros in itself
	switch {
	case oggChecksum(o.page[:27+len(lacing)+size]) != sum:
		return fmt.Errorf("%w: a page is damaged", errNote)
	case o.stream && serial != o.head.Serial:
		return fmt.Errorf("%w: it has more than one stream", errNote)
	}
	o.stream, o.head.Serial = true, serial
	o.granule, o.last = int64(binary.LittleEndian.Uint64(head[6:])), head[5]&oggLast != 0
	o.lacing, o.body = lacing, body
	return nil
}

// broken is a file that ends before its last page, or cannot be read.
func (o *oggReader) broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut short", errNote)
	}
	return fmt.Errorf("media: reading a note: %w", err)
}

package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// oggFile is an Ogg Opus file taken apart.
type oggFile struct {
	Head    oggHead
	Vendor  string
	Packets [][]byte
	Pages   []oggFilePage // of audio
}

// oggFilePage is what a page of audio says.
type oggFilePage struct {
	Granule int64 // -1: no packet ends on it
	Ends    int   // packets that do
	Last    bool
}

var errOgg = errors.New("not an Ogg Opus file of ours")

// Samples is how long the file plays, in samples of 48 kHz.
func (f oggFile) Samples() int64 {
	if len(f.Pages) == 0 {
		return 0
	}
	return f.Pages[len(f.Pages)-1].Granule - int64(f.Head.PreSkip)
}

// readOgg takes a file apart and is particular about it: one stream, pages in
// sequence, the end marked, nothing after it.
func readOgg(r io.Reader) (oggFile, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return oggFile{}, err
	}
	var f oggFile
	var packet []byte // begun on a page before
	var packets [][]byte
	ended := false
	for sequence := uint32(0); len(b) > 0; sequence++ {
		page, rest, err := splitOggPage(b)
		switch {
		case err != nil:
			return f, fmt.Errorf("page %d: %w", sequence, err)
		case ended, binary.LittleEndian.Uint32(page[18:]) != sequence,
			sequence == 0 && page[5] != oggFirst, sequence > 0 && page[5]&oggFirst != 0,
			sequence > 0 && binary.LittleEndian.Uint32(page[14:]) != f.Head.Serial,
			(page[5]&oggContinued != 0) != (packet != nil):
			return f, fmt.Errorf("%w: page %d, flags %#x", errOgg, sequence, page[5])
		}
		f.Head.Serial = binary.LittleEndian.Uint32(page[14:])
		ended = page[5]&oggLast != 0
		lacing := page[27 : 27+int(page[26])]
		body := page[27+len(lacing):]
		ends := 0
		for _, n := range lacing {
			packet = append(packet, body[:n]...)
			body = body[n:]
			if n < 255 {
				packets = append(packets, packet)
				packet = nil
				ends++
			} else if packet == nil {
				packet = []byte{}
			}
		}
		if len(packets) > 2 || len(packets) == 2 && ends == 0 {
			f.Pages = append(f.Pages, oggFilePage{
				Granule: int64(binary.LittleEndian.Uint64(page[6:])), Ends: ends, Last: ended,
			})
		}
		b = rest
	}
	if !ended || packet != nil || len(packets) < 3 {
		return f, fmt.Errorf("%w: it has no end", errOgg)
	}
	f.Packets = packets[2:]
	return f, f.readHeaders(packets[0], packets[1])
}

// splitOggPage splits the first page off and checks its sum.
func splitOggPage(b []byte) (page, rest []byte, err error) {
	if len(b) < 27 || string(b[:5]) != "OggS\x00" || len(b) < 27+int(b[26]) {
		return nil, nil, errOgg
	}
	size := 27 + int(b[26])
	for _, n := range b[27:size] {
		size += int(n)
	}
	if len(b) < size {
		return nil, nil, fmt.Errorf("%w: cut short", errOgg)
	}
	page = append([]byte(nil), b[:size]...)
	sum := binary.LittleEndian.Uint32(page[22:])
	clear(page[22:26])
	if oggChecksum(page) != sum {
		return nil, nil, fmt.Errorf("%w: wrong checksum", errOgg)
	}
	return page, b[size:], nil
}

func (f *oggFile) readHeaders(id, tags []byte) error {
	if len(id) != 19 || string(id[:10]) != "OpusHead\x01\x01" || id[18] != 0 {
		return fmt.Errorf("%w: identification % x", errOgg, id)
	}
	f.Head.PreSkip = int(binary.LittleEndian.Uint16(id[10:]))
	f.Head.InputRate = int(binary.LittleEndian.Uint32(id[12:]))
	if len(tags) < 16 || string(tags[:8]) != "OpusTags" {
		return fmt.Errorf("%w: comments % x", errOgg, tags)
	}
	n := binary.LittleEndian.Uint32(tags[8:])
	if int64(n) != int64(len(tags)-16) || binary.LittleEndian.Uint32(tags[len(tags)-4:]) != 0 {
		return fmt.Errorf("%w: comments % x", errOgg, tags)
	}
	f.Vendor = string(tags[12 : 12+n])
	return nil
}

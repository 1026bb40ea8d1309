package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A tape is a run of frames, each
//
//	kind      1 byte, 't': the record stands as it was appended; 's': it is sealed
//	length    3 bytes, big endian, of the record as it stands
//	sequence  4 bytes, big endian, from 0
//	checksum  4 bytes, big endian, CRC-32C of the 8 bytes before it and the record
//	record    length bytes; sealed, with those 8 bytes as its label
//
// A frame of kind 'r' holds, sealed, what followed the last whole frame of a
// tape in clear that was sealed afterwards. It ends the tape as damage does.
const (
	frameHeader = 12
	frameLabel  = 8
	framePlain  = 't'
	frameSealed = 's'
	frameRest   = 'r'

	// maxRecord bounds what a damaged length can make a reader allocate. A
	// record holds a second: this is 32 Mbit/s.
	maxRecord = 4 << 20
)

// errTorn says that the tape holds no whole frame here.
var errTorn = errors.New("the tape is damaged")

// appendFrame adds the frame of a record to b, sealed by the box.
func appendFrame(b []byte, seal *box, sequence uint32, record []byte) ([]byte, error) {
	if len(record) > maxRecord {
		return b, fmt.Errorf("a record of %d bytes is longer than %d", len(record), maxRecord)
	}
	return appendKind(b, seal, seal.frameKind(), sequence, record), nil
}

func appendKind(b []byte, seal *box, kind byte, sequence uint32, record []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(kind)<<24|uint32(len(record)+seal.extra()))
	b = binary.BigEndian.AppendUint32(b, sequence)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = seal.sealRecord(b, b[start:start+frameLabel], record)
	binary.BigEndian.PutUint32(b[start+frameLabel:], checksum(b[start:], b[start+frameHeader:]))
	return b
}

func checksum(header, record []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // made once by the package
	return crc32.Update(crc32.Checksum(header[:frameLabel], table), table, record)
}

// frames reads the records of a tape in order.
type frames struct {
	box      *box
	r        io.Reader
	sequence uint32 // of the next frame
	offset   int64  // where the next frame begins
	header   [frameHeader]byte
	record   []byte
}

// next returns the next record of a tape that ends at size. The record is
// valid until the next call. io.EOF at the end, errTorn where the bytes are
// not a whole frame, what the disk says where it cannot be read.
func (f *frames) next(size int64) ([]byte, error) {
	left := size - f.offset
	if left == 0 {
		return nil, io.EOF
	}
	if left < frameHeader {
		return nil, errTorn
	}
	if err := f.fill(f.header[:]); err != nil {
		return nil, err
	}
	word := binary.BigEndian.Uint32(f.header[:])
	length := int64(word & 0xffffff)
	if byte(word>>24) != f.box.frameKind() || length > maxRecord+overhead || length > left-frameHeader ||
		binary.BigEndian.Uint32(f.header[4:]) != f.sequence {
		return nil, errTorn
	}
	if int64(cap(f.record)) < length {
		f.record = make([]byte, length)
	}
	f.record = f.record[:length]
	if err := f.fill(f.record); err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(f.header[frameLabel:]) != checksum(f.header[:], f.record) {
		return nil, errTorn
	}
	record, err := f.box.openRecord(f.header[:frameLabel], f.record)
	if err != nil {
		return nil, errTorn
	}
	f.sequence++
	f.offset += frameHeader + length
	return record, nil
}

// fill reads all of b: less than that is torn.
func (f *frames) fill(b []byte) error {
	_, err := io.ReadFull(f.r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errTorn
	}
	return err
}

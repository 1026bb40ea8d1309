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
//	kind      1 byte, 't': the record stands as it was appended
//	length    3 bytes, big endian, of the record
//	sequence  4 bytes, big endian, from 0
//	checksum  4 bytes, big endian, CRC-32C of the 8 bytes before it and the record
//	record    length bytes
//
// A sealed record gets another kind: appendFrame seals, next opens.
const (
	frameHeader = 12
	framePlain  = 't'

	// maxRecord bounds what a damaged length can make a reader allocate. A
	// record holds a second: this is 32 Mbit/s.
	maxRecord = 4 << 20
)

// errTorn says that the tape holds no whole frame here.
var errTorn = errors.New("the tape is damaged")

// appendFrame adds the frame of a record to b.
func appendFrame(b []byte, sequence uint32, record []byte) ([]byte, error) {
	if len(record) > maxRecord {
		return b, fmt.Errorf("a record of %d bytes is longer than %d", len(record), maxRecord)
	}
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, framePlain<<24|uint32(len(record)))
	b = binary.BigEndian.AppendUint32(b, sequence)
	b = binary.BigEndian.AppendUint32(b, checksum(b[start:], record))
	return append(b, record...), nil
}

func checksum(header, record []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // made once by the package
	return crc32.Update(crc32.Checksum(header[:8], table), table, record)
}

// frames reads the records of a tape in order.
type frames struct {
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
	if word>>24 != framePlain || length > maxRecord || length > left-frameHeader ||
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
	if binary.BigEndian.Uint32(f.header[8:]) != checksum(f.header[:], f.record) {
		return nil, errTorn
	}
	f.sequence++
	f.offset += frameHeader + length
	return f.record, nil
}

// fill reads all of b: less than that is torn.
func (f *frames) fill(b []byte) error {
	_, err := io.ReadFull(f.r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errTorn
	}
	return err
}

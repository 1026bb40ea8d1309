package media

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Tape is where a leg writes what arrives. A record holds at most a second;
// the tape may keep no reference to it after Append returns.
type Tape interface {
	Append(record []byte) error
}

// Records reads a tape from its start. Next blocks until the next record is
// there and returns io.EOF at the end of a tape that is complete. The record
// is valid until the next call.
type Records interface {
	Next(ctx context.Context) ([]byte, error)
}

// A record is a run of entries, each
//
//	kind     1 byte
//	length   2 bytes, big endian, of the body
//	arrival  4 bytes, big endian, milliseconds since the tape began
//	body     length bytes
//
// so that a tape can be rendered with nothing else at hand.
type entryKind byte

const (
	entryAudio  entryKind = 1 // body: one RTP packet, decrypted, as it arrived
	entryVideo  entryKind = 2 // body: one RTP packet of the video stream
	entryFormat entryKind = 3 // body: the formats in force from here on, see Format
	entryAnew   entryKind = 4 // body: none; what came before was not the caller's and is not to be heard
)

const entryHeader = 7

// errTape says that a record does not hold what a record must.
var errTape = errors.New("media: the record is damaged")

// appendEntry adds one entry to a record. The length holds any body: no UDP
// datagram is longer than 65,507 bytes.
func appendEntry(record []byte, kind entryKind, arrival uint32, body []byte) []byte {
	record = append(record, byte(kind))
	record = binary.BigEndian.AppendUint16(record, uint16(len(body)))
	record = binary.BigEndian.AppendUint32(record, arrival)
	return append(record, body...)
}

// nextEntry splits the first entry off a record.
func nextEntry(record []byte) (kind entryKind, arrival uint32, body, rest []byte, err error) {
	if len(record) < entryHeader {
		return 0, 0, nil, nil, errTape
	}
	n := entryHeader + int(binary.BigEndian.Uint16(record[1:]))
	if len(record) < n {
		return 0, 0, nil, nil, errTape
	}
	return entryKind(record[0]), binary.BigEndian.Uint32(record[3:]), record[entryHeader:n], record[n:], nil
}

// Format is a payload type as the answer gave it a meaning. On the tape a list
// of formats is rtpmap values, one a line: "0 PCMU/8000\n101 telephone-event/8000\n".
type Format struct {
	PayloadType uint8
	Name        string // SDP encoding name, as in the rtpmap
	ClockRate   int    // Hz
	Channels    int    // 1 where the rtpmap says nothing
}

// appendFormats writes formats as the body of an entryFormat.
func appendFormats(b []byte, formats []Format) []byte {
	for _, f := range formats {
		b = fmt.Appendf(b, "%d %s/%d", f.PayloadType, f.Name, f.ClockRate)
		if f.Channels > 1 {
			b = fmt.Appendf(b, "/%d", f.Channels)
		}
		b = append(b, '\n')
	}
	return b
}

// parseFormats reads the body of an entryFormat.
func parseFormats(b []byte) ([]Format, error) {
	var formats []Format
	for line := range strings.Lines(string(b)) {
		f := Format{Channels: 1}
		pt, rtpmap, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.ParseUint(pt, 10, 7)
		part := strings.Split(rtpmap, "/")
		if !ok || err != nil || len(part) < 2 || len(part) > 3 {
			return nil, errTape
		}
		f.PayloadType, f.Name = uint8(n), part[0]
		if f.ClockRate, err = strconv.Atoi(part[1]); err != nil || f.ClockRate <= 0 {
			return nil, errTape
		}
		if len(part) == 3 {
			if f.Channels, err = strconv.Atoi(part[2]); err != nil || f.Channels <= 0 {
				return nil, errTape
			}
		}
		formats = append(formats, f)
	}
	return formats, nil
}

package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// boxes are one in clear and one that seals.
func boxes() map[string]*box {
	return map[string]*box{"clear": {owner: "n"}, "sealed": newBox("n", make([]byte, keySize))}
}

// frameAll writes records as a tape.
func frameAll(tb testing.TB, seal *box, records ...string) []byte {
	tb.Helper()
	var b []byte
	var err error
	for i, r := range records {
		if b, err = appendFrame(b, seal, uint32(i), []byte(r)); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

// readAll reads frames up to an error.
func readAll(seal *box, b []byte) (records []string, err error) {
	in := frames{box: seal, r: bytes.NewReader(b)}
	for {
		record, err := in.next(int64(len(b)))
		if err != nil {
			return records, err
		}
		records = append(records, string(record))
	}
}

func TestFrames(t *testing.T) {
	for name, b := range boxes() {
		t.Run(name, func(t *testing.T) { testFrames(t, b) })
	}
}

func testFrames(t *testing.T, b *box) {
	want := []string{"first", "", strings.Repeat("x", 70_000), "last"}
	got, err := readAll(b, frameAll(t, b, want...))
	if !errors.Is(err, io.EOF) || !slices.Equal(got, want) {
		t.Fatalf("read %d records: %v", len(got), err)
	}
	if _, err := appendFrame(nil, b, 0, make([]byte, maxRecord+1)); err == nil {
		t.Error("a record that is too long was taken")
	}
}

// Whatever byte of a tape is flipped and wherever it is cut, the records before
// that place are read, and nothing that was not written.
func TestDamagedFrames(t *testing.T) {
	for name, b := range boxes() {
		t.Run(name, func(t *testing.T) { testDamagedFrames(t, b) })
	}
}

func testDamagedFrames(t *testing.T, b *box) {
	want := []string{"the first record", "the second", "the third one"}
	whole := frameAll(t, b, want...)
	ends := make([]int, len(want))
	for i := range want {
		ends[i] = len(frameAll(t, b, want[:i+1]...))
	}
	before := func(at int) int { // how many records end at or before a byte
		n, _ := slices.BinarySearch(ends, at+1)
		return n
	}
	for at := range whole {
		torn, err := readAll(b, whole[:at])
		if !slices.Equal(torn, want[:before(at)]) {
			t.Fatalf("cut at byte %d: read %q", at, torn)
		}
		if atEdge := at == 0 || slices.Contains(ends, at); errors.Is(err, io.EOF) != atEdge {
			t.Fatalf("cut at byte %d: %v", at, err)
		}
		for bit := range 8 {
			flipped := bytes.Clone(whole)
			flipped[at] ^= 1 << bit
			got, err := readAll(b, flipped)
			if !errors.Is(err, errTorn) || !slices.Equal(got, want[:before(at)]) {
				t.Fatalf("bit %d of byte %d flipped: read %q, %v", bit, at, got, err)
			}
		}
	}
}

func TestZeroesAreNoFrame(t *testing.T) {
	for name, b := range boxes() {
		t.Run(name, func(t *testing.T) { testZeroesAreNoFrame(t, b) })
	}
}

func testZeroesAreNoFrame(t *testing.T, b *box) {
	whole := frameAll(t, b, "kept")
	got, err := readAll(b, append(whole, make([]byte, 4096)...))
	if !errors.Is(err, errTorn) || len(got) != 1 {
		t.Fatalf("read %q, %v", got, err)
	}
}

// FuzzTape: arbitrary bytes never panic, and the frames before them are kept.
func FuzzTape(f *testing.F) {
	clearly := boxes()["clear"]
	f.Add(uint8(0), []byte{})
	f.Add(uint8(2), frameAll(f, clearly, "record 0"))
	f.Add(uint8(1), frameAll(f, clearly, "record 0", "record 1", "record 2")[20:])
	f.Add(uint8(3), bytes.Repeat([]byte{framePlain, 0xff, 0xff, 0xff}, 8))
	f.Add(uint8(3), make([]byte, 100))
	f.Fuzz(func(t *testing.T, n uint8, rest []byte) {
		var want []string
		for i := range int(n % 16) {
			want = append(want, fmt.Sprintf("record %d", i))
		}
		whole := frameAll(t, clearly, want...)
		got, err := readAll(clearly, append(whole, rest...))
		if len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Fatalf("kept %q of %q", got, want)
		}
		if len(rest) == 0 && !errors.Is(err, io.EOF) || err == nil {
			t.Fatalf("ended with %v", err)
		}
		if got, err := readAll(boxes()["sealed"], append(whole, rest...)); len(got) > 0 || err == nil {
			t.Fatalf("a sealed tape took %q, %v", got, err)
		}
		// What was read is what the bytes say: written again it is the same.
		if again := frameAll(t, clearly, got...); !bytes.HasPrefix(append(whole, rest...), again) {
			t.Fatal("records were read that the bytes do not hold")
		}
	})
}

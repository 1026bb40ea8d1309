package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
)

// readAhead is how much of a tape a reader takes at once, in bytes.
const readAhead = 16 << 10

// errEnded is what Append gets after the end of the tape.
var errEnded = errors.New("the tape has ended")

// tape is the file of a recording: one goroutine appends, others follow.
type tape struct {
	path string
	box  *box

	mu       sync.Mutex
	file     *os.File // nil once ended
	size     int64    // of the whole frames
	sequence uint32   // of the next frame
	buf      []byte
	readers  []*reader
}

// append writes one frame with a single pwrite. A write that fails leaves the
// tape as it was: the next frame goes over what is left of it.
func (t *tape) append(record []byte) (err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return errEnded
	}
	if t.buf, err = appendFrame(t.buf[:0], t.box, t.sequence, record); err != nil {
		return err
	}
	if _, err := t.file.WriteAt(t.buf, t.size); err != nil {
		return err
	}
	t.size += int64(len(t.buf))
	t.sequence++
	t.tell()
	return nil
}

// end closes the tape for appending, gives back what is left of its reserve,
// and lets readers reach the end. Ending twice is as good as once.
func (t *tape) end() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return nil
	}
	err := errors.Join(t.file.Truncate(t.size), t.file.Close())
	t.file, t.buf = nil, nil
	t.tell()
	return err
}

// tell wakes every reader. The caller holds mu.
func (t *tape) tell() {
	for _, r := range t.readers {
		select {
		case r.news <- struct{}{}:
		default:
		}
	}
}

// length is how far the tape reaches, and whether that is its end.
func (t *tape) length() (size int64, records uint32, ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.size, t.sequence, t.file == nil
}

// recoverTape opens the tape that an earlier process left and finds the end of
// its whole frames. What lies beyond, torn off by a crash or damaged, stays in
// the file and is not read. A tape that is missing is an empty one.
func (s *Store) recoverTape(path string, b *box) (t *tape, torn bool, err error) {
	f, err := s.create(path, 0)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	in := frames{box: b, r: bufio.NewReaderSize(f, 256<<10)}
	for err == nil {
		_, err = in.next(st.Size())
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, errTorn) {
		return nil, false, err
	}
	torn = errors.Is(err, errTorn)
	if err := f.Truncate(st.Size()); err != nil { // gives back the reserve
		return nil, false, err
	}
	return &tape{path: path, box: b, size: in.offset, sequence: in.sequence}, torn, nil
}

// reader follows a tape. It reads back what was appended from the file, which
// the page cache still holds, and never beyond the last whole frame.
type reader struct {
	tape   *tape
	file   *os.File
	news   chan struct{} // holds a value when the tape grew or ended
	window window
	frames frames
	err    error // why the file could not be opened
}

// window is the part of a file that may be read.
type window struct {
	file       *os.File
	offset, to int64
}

func (w *window) Read(b []byte) (int, error) {
	if w.offset >= w.to {
		return 0, io.EOF
	}
	n, err := w.file.ReadAt(b[:min(int64(len(b)), w.to-w.offset)], w.offset)
	w.offset += int64(n)
	return n, err
}

// follow starts a reader at the beginning of the tape.
func (t *tape) follow() *reader {
	r := &reader{tape: t, news: make(chan struct{}, 1)}
	if r.file, r.err = os.Open(t.path); r.err != nil {
		return r
	}
	r.window.file = r.file
	r.frames.box = t.box
	r.frames.r = bufio.NewReaderSize(&r.window, readAhead)
	t.mu.Lock()
	t.readers = append(t.readers, r)
	t.mu.Unlock()
	return r
}

// Next implements delivery.RecordReader.
func (r *reader) Next(ctx context.Context) ([]byte, error) {
	for r.err == nil {
		size, _, ended := r.tape.length()
		if r.frames.offset < size {
			r.window.to = size
			record, err := r.frames.next(size)
			if err != nil {
				r.err = fmt.Errorf("record %d: %w", r.frames.sequence, err)
				break
			}
			return record, nil
		}
		if ended {
			return nil, io.EOF
		}
		select {
		case <-r.news:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, r.err
}

// Close implements delivery.RecordReader.
func (r *reader) Close() error {
	r.tape.mu.Lock()
	r.tape.readers = slices.DeleteFunc(r.tape.readers, func(o *reader) bool { return o == r })
	r.tape.mu.Unlock()
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

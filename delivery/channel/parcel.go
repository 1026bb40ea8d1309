package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// linkLife is how long a link to a note works: as long as a job lives.
const linkLife = 7 * 24 * time.Hour

// mp3Type is what a note becomes where Ogg is not played.
const mp3Type = "audio/mpeg"

// pageOf is a link to a page that plays the note; "" where there is none.
func pageOf(p delivery.Parcel) string {
	if p.Page == nil {
		return ""
	}
	return p.Page(time.Now().Add(linkLife))
}

// bareType is a media type without its parameters, like audio/ogg.
func bareType(mediaType string) string {
	if bare, _, err := mime.ParseMediaType(mediaType); err == nil {
		return bare
	}
	return mediaType
}

// extensions are the endings of the files' names, by their bare types.
var extensions = map[string]string{
	"audio/ogg":  ".ogg",
	"video/mp4":  ".mp4",
	"video/webm": ".webm",
}

func extension(mediaType string) string { return extensions[bareType(mediaType)] }

// openNote reads the note's file, see wholeFile. Its error is a
// *delivery.SendError.
func openNote(ctx context.Context, p delivery.Parcel) (io.ReadCloser, error) {
	file, err := p.Open(ctx)
	if err != nil {
		return nil, unreadable(err)
	}
	return &wholeFile{file, p.Note.Media.Bytes}, nil
}

// readNote is the note's file, held in memory: the caller has looked at its
// size. Its error is a *delivery.SendError.
func readNote(ctx context.Context, p delivery.Parcel) ([]byte, error) {
	file, err := openNote(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read from
	content, err := io.ReadAll(file)
	if err != nil {
		return nil, unreadable(err)
	}
	return content, nil
}

// unreadable is a file that the store cannot give.
func unreadable(err error) *delivery.SendError {
	outcome := delivery.Retry
	if errors.Is(err, delivery.ErrNotFound) {
		outcome = delivery.Dead
	}
	return &delivery.SendError{Outcome: outcome, Err: fmt.Errorf("the note's file cannot be read: %w", err)}
}

// wholeFile is a file of a known length. One that is shorter is an error: what
// comes after it in a request must not follow half a note.
type wholeFile struct {
	io.ReadCloser
	left int64 // bytes
}

var errShort = errors.New("the file is shorter than it was kept")

// Read implements io.Reader.
func (f *wholeFile) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n, err := f.ReadCloser.Read(p[:min(int64(len(p)), f.left)])
	if f.left -= int64(n); err == io.EOF && f.left > 0 {
		err = errShort
	}
	return n, err
}

package web

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"

	"github.com/afterbeep/afterbeep/delivery"
)

// mp3s makes notes into MP3 files, one at a time: it costs a core. The last one
// is kept, as players ask for a file part by part.
type mp3s struct {
	encode func(ctx context.Context, note io.Reader) ([]byte, error) // nil where there is none
	mu     sync.Mutex
	of     string // the SHA-256 of the note's file
	file   []byte
}

// offers says whether there is an MP3 file of a note.
func (m *mp3s) offers(n delivery.Note) bool {
	return m.encode != nil && strings.HasPrefix(n.Media.Type, "audio/ogg")
}

// make makes a note's MP3 file, and the note as it would be with that file.
func (m *mp3s) make(ctx context.Context, n delivery.Note, file io.Reader) (io.ReadSeeker, delivery.Note, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of != n.Media.SHA256 {
		made, err := m.encode(ctx, file)
		if err != nil {
			return nil, n, err
		}
		m.of, m.file = n.Media.SHA256, made
	}
	n.Media.Type, n.Media.SHA256, n.Media.Bytes = "audio/mpeg", n.Media.SHA256+"-mp3", int64(len(m.file))
	return bytes.NewReader(m.file), n, nil
}

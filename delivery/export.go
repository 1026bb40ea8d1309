package delivery

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// ErrIncomplete says that an export is whole but for notes, or files of notes,
// that could not be read; its notes.json says which.
var ErrIncomplete = errors.New("some of the notes or their files could not be read; notes.json in the export says which")

// Exporter is what an export reads, see [Notes].
type Exporter interface {
	List(ctx context.Context, f Filter) ([]Summary, error)
	Life(ctx context.Context, id string) (Life, error)
	Open(ctx context.Context, id string) (io.ReadSeekCloser, Note, error)
}

// exportPage is how many notes are listed at once.
const exportPage = 200

// Export writes everything there is of a mailbox as a zip: each note's file as
// audio/ID.ogg, checked against its SHA-256, and notes.json, an array of the
// notes with their jobs and events, newest first. It writes as it reads and
// holds one file at a time. ErrNotFound before anything is written when the
// mailbox has no notes; ErrIncomplete when the rest is there.
func Export(ctx context.Context, from Exporter, mailbox string, w io.Writer) error {
	page, err := from.List(ctx, Filter{Mailbox: mailbox, Limit: exportPage})
	if err != nil {
		return fmt.Errorf("list the mailbox's notes: %w", err)
	}
	if len(page) == 0 {
		return fmt.Errorf("the mailbox has no notes: %w", ErrNotFound)
	}
	e := export{from: from, mailbox: mailbox, zip: zip.NewWriter(w), has: map[string]bool{}, lost: map[string]error{}}
	for len(page) > 0 {
		for _, s := range page {
			e.ids = append(e.ids, s.Note.ID)
			if s.Unreadable {
				e.lost[s.Note.ID] = ErrUnreadable
			}
			if err := e.audio(ctx, s.Note); err != nil {
				return fmt.Errorf("export note %s: %w", s.Note.ID, err)
			}
		}
		if page, err = from.List(ctx, Filter{Mailbox: mailbox, Limit: exportPage, Before: e.ids[len(e.ids)-1]}); err != nil {
			return fmt.Errorf("list the mailbox's notes: %w", err)
		}
	}
	if err := errors.Join(e.notes(ctx), e.zip.Close()); err != nil {
		return fmt.Errorf("export the notes: %w", err)
	}
	if len(e.lost) > 0 {
		return ErrIncomplete
	}
	return nil
}

// export is one under way.
type export struct {
	from    Exporter
	mailbox string
	zip     *zip.Writer
	ids     []string
	has     map[string]bool  // files, by note
	lost    map[string]error // of notes and files that could not be read, by note
}

// audio adds a note's file. One that cannot be read is remembered; an error
// means that the zip cannot be written.
func (e *export) audio(ctx context.Context, n Note) error {
	if n.State != Rendered || n.Media.Bytes == 0 || n.Media.Gone {
		return nil
	}
	content, err := e.read(ctx, n.ID)
	switch {
	case err != nil && e.gone(ctx, n.ID):
		return nil
	case err != nil:
		e.lost[n.ID] = unnamed(err)
		return context.Cause(ctx)
	}
	entry, err := e.zip.CreateHeader(&zip.FileHeader{Name: audioName(n.ID), Modified: n.CalledAt, Method: zip.Store}) // Opus is dense already
	if err != nil {
		return err
	}
	e.has[n.ID] = true
	_, err = entry.Write(content)
	return err
}

// unnamed is an error without the path that it names: whoever gets the export
// has no business with this machine's folders.
func unnamed(err error) error {
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
		return fmt.Errorf("the file cannot be read: %w", failed.Err)
	}
	return err
}

// gone says that a note, or its file, was taken since it was listed: by its
// retention, or by whoever erased it.
func (e *export) gone(ctx context.Context, id string) bool {
	life, err := e.from.Life(ctx, id)
	return errors.Is(err, ErrNotFound) || (err == nil && life.Note.Media.Gone)
}

func audioName(id string) string { return "audio/" + id + ".ogg" }

// read returns a note's file if it is what was rendered.
func (e *export) read(ctx context.Context, id string) ([]byte, error) {
	file, n, err := e.from.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read from
	content, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != n.Media.SHA256 {
		return nil, errors.New("the file is damaged: its SHA-256 is not the one that was kept")
	}
	return content, nil
}

// notes adds notes.json. A note that is gone meanwhile is left out.
func (e *export) notes(ctx context.Context) error {
	out, err := e.zip.CreateHeader(&zip.FileHeader{Name: "notes.json", Modified: time.Now(), Method: zip.Deflate})
	if err != nil {
		return err
	}
	before := "[\n"
	for _, id := range e.ids {
		life, err := e.from.Life(ctx, id)
		view := e.view(life)
		switch {
		case errors.Is(err, ErrNotFound):
			continue
		case errors.Is(err, ErrUnreadable):
			view = e.unreadable(id)
		case err != nil:
			return fmt.Errorf("note %s: %w", id, err)
		}
		text, err := json.MarshalIndent(view, "", "  ")
		if err != nil {
			return fmt.Errorf("note %s: %w", id, err)
		}
		if _, err := fmt.Fprintf(out, "%s%s", before, text); err != nil {
			return err
		}
		before = ",\n"
	}
	if before == "[\n" {
		_, err = io.WriteString(out, "[]\n")
	} else {
		_, err = io.WriteString(out, "\n]\n")
	}
	return err
}

package delivery

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"
)

// shelf holds lives in memory, oldest first.
type shelf struct {
	lives   []Life
	files   map[string]string // by note
	damaged map[string]error
	retires string          // the note whose file is taken as it is opened
	closed  map[string]bool // notes that cannot be read
}

// put adds a note whose file holds text; none for "".
func (s *shelf) put(text string) string {
	n := Note{
		ID: fmt.Sprintf("%026d", len(s.lives)), State: Rendered, Kind: Missed, CalledAt: time.Now(),
		Recipient: Recipient{Number: "101", Name: "Reception"}, Caller: Caller{Number: "+4930555", Name: "Maria"},
	}
	if text != "" {
		sum := sha256.Sum256([]byte(text))
		n.Kind, n.Duration = Voice, 1500*time.Millisecond
		n.Media = Media{Type: "audio/ogg; codecs=opus", Bytes: int64(len(text)), SHA256: hex.EncodeToString(sum[:])}
		s.files[n.ID] = text
	}
	s.lives = append(s.lives, Life{
		Note: n, Jobs: []Job{{ID: "j" + n.ID, State: JobDelivered, Chain: Chain{{Channel: "crm", Address: "7"}}, Attempt: 1}},
		Events: []Event{{At: n.CalledAt, Job: "j" + n.ID, Name: "done", Target: "crm:7", Detail: "200 OK"}},
	})
	return n.ID
}

func (s *shelf) List(_ context.Context, f Filter) ([]Summary, error) {
	var page []Summary
	for _, l := range slices.Backward(s.lives) {
		if l.Note.Recipient.Number == f.Mailbox && (f.Before == "" || l.Note.ID < f.Before) && len(page) < f.Limit {
			page = append(page, Summary{Note: l.Note, Jobs: l.Jobs})
			if s.closed[l.Note.ID] {
				page[len(page)-1] = Summary{Note: Note{ID: l.Note.ID, State: l.Note.State}, Unreadable: true}
			}
		}
	}
	return page, nil
}

func (s *shelf) Life(_ context.Context, id string) (Life, error) {
	for _, l := range s.lives {
		if s.closed[id] {
			return Life{}, fmt.Errorf("%w: its bytes are damaged", ErrUnreadable)
		}
		if l.Note.ID == id {
			return l, nil
		}
	}
	return Life{}, ErrNotFound
}

func (s *shelf) Open(ctx context.Context, id string) (io.ReadSeekCloser, Note, error) {
	for i := range s.lives {
		if s.lives[i].Note.ID == s.retires && id == s.retires {
			s.lives[i].Note.Media.Gone = true
			delete(s.files, id)
		}
	}
	l, err := s.Life(ctx, id)
	if err == nil {
		err = s.damaged[id]
	}
	if _, ok := s.files[id]; err == nil && !ok {
		err = ErrNotFound
	}
	return file{strings.NewReader(s.files[id])}, l.Note, err
}

// unpack reads an export.
func unpack(t *testing.T, b []byte) (notes []exportedNote, files map[string]string) {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for _, f := range archive.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(content)
		if time.Since(f.Modified).Abs() > time.Minute {
			t.Errorf("%s was modified at %v", f.Name, f.Modified)
		}
	}
	if err := json.Unmarshal([]byte(files["notes.json"]), &notes); err != nil {
		t.Fatal(err)
	}
	delete(files, "notes.json")
	return notes, files
}

func TestExport(t *testing.T) {
	s := &shelf{files: map[string]string{}}
	for i := range exportPage + 5 {
		s.put(fmt.Sprint("voice ", i))
	}
	missed, retired := s.put(""), s.put("long ago")
	s.retires = retired
	s.lives[0].Note.Recipient.Number = "102"

	var out bytes.Buffer
	if err := Export(t.Context(), s, "101", &out); err != nil {
		t.Fatal(err)
	}
	notes, files := unpack(t, out.Bytes())
	if len(notes) != exportPage+6 || len(files) != exportPage+4 {
		t.Fatalf("%d notes and %d files", len(notes), len(files))
	}
	for i, n := range notes {
		switch {
		case n.ID != s.lives[len(s.lives)-1-i].Note.ID:
			t.Fatalf("note %d is %s", i, n.ID)
		case n.ID == missed && n.Audio != nil, n.ID == retired && n.Audio.Absent == "":
			t.Errorf("audio of %s: %+v", n.ID, n.Audio)
		case n.ID != missed && n.ID != retired && files[n.Audio.File] != s.files[n.ID]:
			t.Errorf("the file of %s holds %q", n.ID, files[n.Audio.File])
		}
	}
	n := notes[2]
	if n.Mailbox.Name != "Reception" || n.Caller.Name != "Maria" || n.DurationMS != 1500 ||
		n.Jobs[0].Chain[0].String() != "crm:7" || n.Events[0].Detail != "200 OK" || n.CalledAt.IsZero() {
		t.Errorf("a note came out as %+v", n)
	}
}

func TestExportOfNothing(t *testing.T) {
	var out bytes.Buffer
	if err := Export(t.Context(), &shelf{}, "101", &out); !errors.Is(err, ErrNotFound) || out.Len() != 0 {
		t.Errorf("%v, and %d bytes", err, out.Len())
	}
}

// A damaged file takes nothing from the others.
func TestExportOfDamage(t *testing.T) {
	s := &shelf{files: map[string]string{}, damaged: map[string]error{}}
	flipped, unreadable, whole, missing := s.put("one"), s.put("two"), s.put("three"), s.put("four")
	delete(s.files, missing)
	s.files[flipped] = "onE"
	s.damaged[unreadable] = fmt.Errorf("note: %w", &fs.PathError{Op: "open", Path: "/srv/notes/two", Err: errors.New("the disk says no")})
	var out bytes.Buffer
	if err := Export(t.Context(), s, "101", &out); !errors.Is(err, ErrIncomplete) {
		t.Errorf("Export: %v", err)
	}
	notes, files := unpack(t, out.Bytes())
	if len(files) != 1 || files[audioName(whole)] != "three" {
		t.Errorf("files %v", files)
	}
	if got := notes[0].Audio.Absent; got != ErrNotFound.Error() {
		t.Errorf("missing: %q", got)
	}
	if got := notes[2].Audio.Absent; got != "the file cannot be read: the disk says no" {
		t.Errorf("unreadable: %q", got)
	}
	if got := notes[3].Audio.Absent; !strings.Contains(got, "damaged") {
		t.Errorf("flipped: %q", got)
	}
}

// A note that cannot be read takes nothing from the others, and is told of.
func TestExportOfAnUnreadableNote(t *testing.T) {
	s := &shelf{files: map[string]string{}, closed: map[string]bool{}}
	for i := range exportPage + 2 {
		s.put(fmt.Sprint("voice ", i))
	}
	closed := s.lives[2].Note.ID // the last of a page
	s.closed[closed] = true
	var out bytes.Buffer
	if err := Export(t.Context(), s, "101", &out); !errors.Is(err, ErrIncomplete) {
		t.Errorf("Export: %v", err)
	}
	notes, files := unpack(t, out.Bytes())
	if len(notes) != exportPage+2 || len(files) != exportPage+1 {
		t.Fatalf("%d notes and %d files", len(notes), len(files))
	}
	for _, n := range notes {
		if told := n.Unreadable == ErrUnreadable.Error(); told != (n.ID == closed) || n.Mailbox.Number != "101" || (n.Audio == nil) != told {
			t.Errorf("note %s: %+v", n.ID, n)
		}
	}
}

type broken struct{ after int }

func (b *broken) Write(p []byte) (int, error) {
	if b.after -= len(p); b.after < 0 {
		return 0, errors.New("the pipe is broken")
	}
	return len(p), nil
}

func TestExportIntoABrokenPipe(t *testing.T) {
	s := &shelf{files: map[string]string{}}
	s.put(strings.Repeat("voice", 10000))
	for _, after := range []int{0, 20000, 50200} {
		if err := Export(t.Context(), s, "101", &broken{after}); err == nil || errors.Is(err, ErrIncomplete) {
			t.Errorf("after %d bytes: %v", after, err)
		}
	}
}

package call

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/media"
	"github.com/afterbeep/afterbeep/sip"
)

// tape is a draft, without audio unless it has records, on a store whose disk is
// full for a while.
type tape struct {
	delivery.Draft
	records  [][]byte
	full     int        // failures to come
	reading  sync.Mutex // guards what readers change: one may still end as the next begins
	broken   int        // failures of reading the tape to come
	panics   int        // of whoever reads it
	open     int        // readers
	recorded int
	kept     []delivery.Note
	file     []byte
	chains   []delivery.Chain

	discarded int
}

func (d *tape) Note() delivery.Note {
	return delivery.Note{ID: "06h0007dqpak5z3p5efbp7n79g", Recipient: delivery.Recipient{Number: "101"}, Partial: true}
}

func (d *tape) Records() delivery.RecordReader {
	d.reading.Lock()
	defer d.reading.Unlock()
	d.open++
	return &tapeReader{d, d.records}
}

// tapeReader reads a tape from its start.
type tapeReader struct {
	tape *tape
	left [][]byte
}

func (r *tapeReader) Next(context.Context) (record []byte, err error) {
	r.tape.reading.Lock()
	defer r.tape.reading.Unlock()
	switch {
	case r.tape.panics > 0:
		r.tape.panics--
		panic("a mistake in a decoder")
	case r.tape.broken > 0:
		r.tape.broken--
		return nil, errors.New("too many open files")
	case len(r.left) == 0:
		return nil, io.EOF
	}
	record, r.left = r.left[0], r.left[1:]
	return record, nil
}

func (r *tapeReader) Close() error {
	r.tape.reading.Lock()
	defer r.tape.reading.Unlock()
	r.tape.open--
	return nil
}

func (d *tape) Recorded(context.Context, bool) error {
	d.recorded++
	return d.fail()
}

func (d *tape) Rendered(_ context.Context, n delivery.Note, file []byte, chains []delivery.Chain) ([]delivery.Lease, error) {
	if err := d.fail(); err != nil {
		return nil, err
	}
	d.kept, d.file, d.chains = append(d.kept, n), file, chains
	return []delivery.Lease{{Job: "job"}}, nil
}

func (d *tape) Discard(context.Context) error {
	if err := d.fail(); err != nil {
		return err
	}
	d.discarded++
	return nil
}

func (d *tape) fail() error {
	if d.full > 0 {
		d.full--
		return errors.New("no space left on device")
	}
	return nil
}

// drafts are what the last run left, and what a call gets.
type drafts struct {
	delivery.Drafts
	left  []delivery.Draft
	late  []delivery.Draft // what can be read later
	full  int              // the first looks that the disk says no to
	looks int
	next  delivery.Draft
}

func (d *drafts) Unfinished(context.Context) ([]delivery.Draft, error) {
	switch d.looks++; d.looks - d.full {
	case 1:
		return d.left, nil
	case 3:
		return d.late, nil
	case 4:
		return nil, nil
	}
	return nil, errors.New("the disk is full")
}

func (d *drafts) Begin(context.Context, delivery.Note, int64) (delivery.Draft, error) {
	return d.next, nil
}

// directory has one mailbox, and cannot be asked at first.
type directory struct {
	number string
	away   int // look-ups
}

var errAway = errors.New("the directory is away")

func (d *directory) Lookup(_ context.Context, user, _ string) (*config.Mailbox, error) {
	if d.away > 0 {
		d.away--
		return nil, errAway
	}
	if user != d.number {
		return nil, config.ErrNoMailbox
	}
	return &config.Mailbox{Number: d.number, Deliver: delivery.Chain{{Channel: "crm"}}}, nil
}

type deaf struct{}

func (deaf) CallBegan()             {}
func (deaf) CallEnded(Outcome)      {}
func (deaf) Received(media.Stats)   {}
func (deaf) Rendered(f media.Facts) { _ = f }

// newPath is a path over the drafts, and what it hands to the worker.
func newPath(d drafts) (p *Path, delivered *[]delivery.Lease) {
	delivered = new([]delivery.Lease)
	return &Path{
		Directory: &directory{number: "102"}, Renderers: media.NewRenderers(media.RenderersOptions{}),
		Drafts: &d, Metrics: deaf{}, Log: slog.New(slog.DiscardHandler),
		Deliver: func(leases ...delivery.Lease) { *delivered = append(*delivered, leases...) },
	}, delivered
}

// What the last run left is finished, however often the disk says no, and the
// note is kept once.
func TestAFullDiskLosesNoNote(t *testing.T) {
	for full := range 5 {
		synctest.Test(t, func(t *testing.T) {
			draft := &tape{full: full}
			p, delivered := newPath(drafts{left: []delivery.Draft{draft}})
			ctx, stop := context.WithTimeout(t.Context(), time.Hour)
			defer stop()
			p.Run(ctx)
			if len(draft.kept) != 1 || len(*delivered) != 1 || draft.recorded > full+1 {
				t.Fatalf("after %d failures: kept %d times, %d leases, recorded %d times", full, len(draft.kept), len(*delivered), draft.recorded)
			}
			if n := draft.kept[0]; n.Kind != delivery.Missed || !n.Partial || n.EndedAt.IsZero() {
				t.Errorf("kept %+v", n)
			}
			if draft.chains[0][0].Channel != config.Inbox {
				t.Errorf("a mailbox that is no longer in the file delivers to %v, want the inbox", draft.chains)
			}
		})
	}
}

// What can be taken up, or read, later is finished then.
func TestALateDraft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		early, late := &tape{}, &tape{}
		p, delivered := newPath(drafts{full: 2, left: []delivery.Draft{early}, late: []delivery.Draft{late}})
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		p.Run(ctx)
		if len(early.kept) != 1 || len(late.kept) != 1 || len(*delivered) != 2 {
			t.Errorf("kept %d and %d times, %d leases", len(early.kept), len(late.kept), len(*delivered))
		}
	})
}

// A call of which nothing is to be kept is forgotten, however often the disk
// says no: it does not become a note.
func TestADiscardIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draft := &tape{full: 3}
		p, delivered := newPath(drafts{})
		p.discard(t.Context(), &deposit{draft: draft})
		if draft.discarded != 0 || p.HeldUp() != 1 {
			t.Fatalf("discarded %d times, %d held up", draft.discarded, p.HeldUp())
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		p.Run(ctx)
		if draft.discarded != 1 || p.HeldUp() != 0 || len(draft.kept)+len(*delivered)+draft.recorded != 0 {
			t.Errorf("discarded %d times, kept %d times, %d leases, %d held up", draft.discarded, len(draft.kept), len(*delivered), p.HeldUp())
		}
	})
}

// A tape that cannot be read is no silence: nothing is said to the recipient
// until it can be.
func TestAFailedRenderingIsNotTakenForSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draft := &tape{broken: 7}
		p, delivered := newPath(drafts{left: []delivery.Draft{draft}})
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		ran := make(chan struct{})
		go func() { p.Run(ctx); close(ran) }()
		synctest.Wait()
		if len(draft.kept) != 0 || p.HeldUp() != 1 {
			t.Errorf("kept %d times, %d held up; want the note held up", len(draft.kept), p.HeldUp())
		}
		<-ran
		if len(draft.kept) != 1 || len(*delivered) != 1 || draft.broken != 0 || p.HeldUp() != 0 {
			t.Errorf("kept %d times, %d leases, %d held up", len(draft.kept), len(*delivered), p.HeldUp())
		}
	})
}

// A tape whose rendering panics is tried again as one that cannot be read, and
// is closed each time.
func TestAPanickingRenderingHoldsTheNoteUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draft := &tape{panics: 5}
		p, delivered := newPath(drafts{left: []delivery.Draft{draft}})
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		p.Run(ctx)
		if len(draft.kept) != 1 || len(*delivered) != 1 || draft.open != 0 {
			t.Errorf("kept %d times, %d leases, %d readers left open", len(draft.kept), len(*delivered), draft.open)
		}
	})
}

// noise is the records of a caller who makes noise for so many seconds, in G.711.
func noise(seconds int) (records [][]byte) {
	entry := func(record []byte, kind byte, ms int, body []byte) []byte {
		record = binary.BigEndian.AppendUint16(append(record, kind), uint16(len(body)))
		record = binary.BigEndian.AppendUint32(record, uint32(ms))
		return append(record, body...)
	}
	record := entry(nil, 3, 0, []byte("0 PCMU/8000\n"))
	random := rand.New(rand.NewPCG(1, 2))
	for n := range seconds * 50 {
		packet := make([]byte, 12+160)
		packet[0] = 0x80
		binary.BigEndian.PutUint16(packet[2:], uint16(n))
		binary.BigEndian.PutUint32(packet[4:], uint32(n*160))
		for i := range packet[12:] {
			packet[12+i] = byte(0x90 + random.IntN(0x40)) // loud, of both signs with the next
			if random.IntN(2) == 0 {
				packet[12+i] &^= 0x80
			}
		}
		record = entry(record, 1, n*20, packet)
		if n%50 == 49 {
			records, record = append(records, record), nil
		}
	}
	return records
}

// Who lowers media.max_duration cuts nothing off that was recorded before, and
// the note still has the size that chats play.
func TestALowerLimitCutsNothingThatIsOnTape(t *testing.T) {
	const seconds = 200 // at the bitrate of a short note it would be too big
	draft := &tape{records: noise(seconds)}
	p, _ := newPath(drafts{left: []delivery.Draft{draft}})
	p.MaxDuration = time.Minute
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	p.Deliver = func(...delivery.Lease) { stop() }
	p.Run(ctx)
	if len(draft.kept) != 1 {
		t.Fatalf("kept %d times", len(draft.kept))
	}
	if n := draft.kept[0]; n.Duration != seconds*time.Second || len(draft.file) > media.NoteBytes {
		t.Errorf("%v in %d bytes", n.Duration, len(draft.file))
	}
}

// A note that an earlier process left waits for a directory that cannot be
// asked: the inbox is not where it belongs.
func TestANoteWaitsForTheDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draft := &tape{}
		p, delivered := newPath(drafts{left: []delivery.Draft{draft}})
		p.Directory = &directory{number: "101", away: 3}
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		p.Run(ctx)
		if len(draft.kept) != 1 || len(*delivered) != 1 || draft.chains[0][0].Channel != "crm" {
			t.Errorf("kept %d times, %d leases, delivered to %v", len(draft.kept), len(*delivered), draft.chains)
		}
	})
}

// mistaken is a directory service whose answer has a mistake.
type mistaken struct{}

func (mistaken) Lookup(context.Context, string, string) (*config.Mailbox, error) {
	return nil, config.FileErrors{{Key: "number", Text: `write it without blanks, not "+49 30 123456"`}}
}

// The log says which note waits for whoever mends the directory's answer, and
// nothing of what stands there.
func TestAMistakenAnswerIsNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draft := &tape{}
		p, _ := newPath(drafts{left: []delivery.Draft{draft}})
		p.Directory = mistaken{}
		var said strings.Builder
		p.Log = slog.New(slog.NewTextHandler(&said, nil))
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		p.Run(ctx)
		if log := said.String(); p.HeldUp() != 1 || strings.Contains(log, "30 123456") || !strings.Contains(log, draft.Note().ID) || !strings.Contains(log, `error="number: `) {
			t.Errorf("%d held up; the log says\n%s", p.HeldUp(), log)
		}
	})
}

// The first callee who has a mailbox gets the note; one of whom that cannot be
// told is not passed over.
func TestFind(t *testing.T) {
	callees := []sip.Callee{{User: "500"}, {User: "102", Reason: "busy"}, {User: "103"}}
	p, _ := newPath(drafts{})
	m, callee, err := p.find(t.Context(), callees)
	if err != nil || m.Number != "102" || callee.Reason != "busy" {
		t.Errorf("found %v, %v, %v", m, callee, err)
	}
	if m, callee, err := p.find(t.Context(), callees[:1]); m != nil || callee.User != "500" || err != nil {
		t.Errorf("found %v, %v, %v", m, callee, err)
	}
	p.Directory = &directory{number: "102", away: 1}
	if m, _, err := p.find(t.Context(), callees); !errors.Is(err, errAway) {
		t.Errorf("found %v, %v", m, err)
	}
}

// A panic in a call costs that call at most its end: Run makes a note of what
// is on the tape.
func TestAPanicHoldsTheNoteUp(t *testing.T) {
	o := media.DefaultOptions()
	o.Ports = media.PortRange{First: 34000, Last: 34999}
	engine, err := media.NewEngine(o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	draft := &tape{}
	p, _ := newPath(drafts{next: draft})
	p.Engine = engine
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a call without a dialog was answered")
			}
		}()
		p.Handle(t.Context(), &sip.Call{Trunk: &sip.Trunk{}, Callees: []sip.Callee{{User: "102"}}})
	}()
	if p.HeldUp() != 1 || engine.Ports().Used != 0 {
		t.Fatalf("%d held up, %d ports in use; want 1 and 0", p.HeldUp(), engine.Ports().Used)
	}
	for _, d := range p.held.due(time.Now().Add(time.Hour)) {
		p.resume(t.Context(), d)
	}
	if len(draft.kept) != 1 {
		t.Errorf("kept %d times", len(draft.kept))
	}
}

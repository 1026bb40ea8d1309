package call

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/media"
)

// rendering is what came of a tape.
type rendering struct {
	file  []byte
	facts media.Facts
	err   error
}

// render follows the draft's tape in the background, until over is closed and
// the last record is in.
func (p *Path) render(ctx context.Context, draft delivery.Draft, over <-chan struct{}) <-chan rendering {
	done := make(chan rendering, 1)
	go func() { done <- p.renderNow(ctx, draft, over) }()
	return done
}

func (p *Path) renderNow(ctx context.Context, draft delivery.Draft, over <-chan struct{}) (r rendering) {
	defer func() {
		if cause := recover(); cause != nil {
			r = rendering{err: fmt.Errorf("rendering panicked: %v", cause)}
		}
	}()
	o := media.RenderOptions{Bitrate: media.NoteBitrate(p.MaxDuration), MaxDuration: p.MaxDuration}
	for {
		var file bytes.Buffer
		records := draft.Records()
		facts, err := p.Renderers.Render(ctx, records, &file, o, over)
		_ = records.Close()
		if errors.Is(err, media.ErrTooBig) && !o.Transcode {
			o.Transcode = true // the caller's own Opus was too generous: encode it once more, smaller
			continue
		}
		return rendering{file: file.Bytes(), facts: facts, err: err}
	}
}

// nothing is the rendering of a call that was never recorded.
func nothing() <-chan rendering {
	done := make(chan rendering, 1)
	done <- rendering{}
	return done
}

// finish makes the tape safe, waits for its rendering, commits the note with
// its jobs and hands the first leases to the worker. What fails is kept for
// Run to try again.
func (p *Path) finish(ctx context.Context, draft delivery.Draft, cutOff bool, done <-chan rendering, mailbox *config.Mailbox) (delivery.Note, media.Facts, error) {
	ended := time.Now()
	if err := draft.Recorded(ctx, cutOff); err != nil {
		p.unfinished.add(draft)
		return delivery.Note{}, media.Facts{}, fmt.Errorf("the end of the tape is not safe yet: %w", err)
	}
	r := <-done
	p.Metrics.Rendered(r.facts)
	note := describe(draft.Note(), r)
	note.EndedAt = ended
	if r.err != nil {
		// The tape is kept, and the recipient at least learns of the call.
		p.Log.Error("tape not rendered to its end", "note_id", note.ID, "error", r.err)
		note.Partial = true
	}
	leases, err := draft.Rendered(ctx, note, r.file, mailbox.Chains())
	if err != nil {
		p.unfinished.add(draft)
		return note, r.facts, fmt.Errorf("the note is not kept yet: %w", err)
	}
	p.Deliver(leases...)
	return note, r.facts, nil
}

// describe fills in what rendering found out. Without speech the note is a
// missed call, whose file the inbox still plays.
func describe(note delivery.Note, r rendering) delivery.Note {
	note.Kind = delivery.Missed
	if r.facts.Spoken() {
		note.Kind = delivery.Voice
	}
	note.Duration, note.Waveform, note.Loudness = r.facts.Duration, r.facts.Waveform, r.facts.Loudness
	if len(r.file) > 0 {
		note.Media = delivery.Media{Type: "audio/ogg; codecs=opus", Bytes: int64(len(r.file))}
	}
	return note
}

// again is how long a draft that could not be finished waits for its next try.
const again = 10 * time.Second

// Run finishes the drafts that an earlier process left, then those that a full
// disk held up, until ctx ends.
func (p *Path) Run(ctx context.Context) error {
	drafts, err := p.Drafts.Unfinished(ctx)
	if err != nil {
		return fmt.Errorf("what the last run left unfinished cannot be read: %w", err)
	}
	if len(drafts) > 0 {
		p.Log.Info("finishing what the last run left", "drafts", len(drafts))
	}
	for {
		var wg sync.WaitGroup
		for _, draft := range drafts {
			wg.Go(func() { p.resume(ctx, draft) })
		}
		wg.Wait()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
			drafts = p.unfinished.take()
		}
	}
}

// resume takes a draft through the steps that are left.
func (p *Path) resume(ctx context.Context, draft delivery.Draft) {
	note := draft.Note()
	mailbox, ok := p.Directory.Lookup(note.Recipient.Number, "")
	if !ok { // taken out of the file since
		mailbox = &config.Mailbox{Number: note.Recipient.Number, Deliver: delivery.Chain{{Channel: config.Inbox}}}
	}
	following, stop := context.WithCancel(ctx)
	defer stop()
	over := make(chan struct{})
	close(over)
	if _, _, err := p.finish(ctx, draft, note.Partial, p.render(following, draft, over), mailbox); err != nil {
		p.Log.Error("note held up", "note_id", note.ID, "error", err)
	}
}

// heldUp are drafts that could not be finished.
type heldUp struct {
	mu     sync.Mutex
	drafts []delivery.Draft
}

func (h *heldUp) add(d delivery.Draft) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drafts = append(h.drafts, d)
}

func (h *heldUp) take() []delivery.Draft {
	h.mu.Lock()
	defer h.mu.Unlock()
	drafts := h.drafts
	h.drafts = nil
	return drafts
}

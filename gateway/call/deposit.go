package call

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/media"
)

// deposit is a draft on its way to being a note.
type deposit struct {
	draft   delivery.Draft
	mailbox *config.Mailbox // nil for what an earlier process left, until it is looked up
	left    bool            // by an earlier process, under the limits of its file
	cutOff  bool            // the end of the call is missing
	ended   time.Time       // when the call was over
	settled bool            // it is a note, is discarded, or waits for Run
	forget  bool            // nothing is to be kept of it

	tries int       // that have failed
	due   time.Time // of the next one
}

// rendering is what came of a tape.
type rendering struct {
	file  []byte
	facts media.Facts
	err   error
}

// nothing is the rendering of a call that was never recorded.
func nothing() <-chan rendering {
	done := make(chan rendering, 1)
	done <- rendering{}
	return done
}

// follow renders the tape in the background while it grows, until over is
// closed and the last record is in.
func (p *Path) follow(ctx context.Context, d *deposit, over <-chan struct{}) <-chan rendering {
	done := make(chan rendering, 1)
	go func() { done <- p.render(ctx, d, over) }()
	return done
}

// render makes the note's file, once more where it comes out too big.
func (p *Path) render(ctx context.Context, d *deposit, over <-chan struct{}) rendering {
	o := media.RenderOptions{Bitrate: media.NoteBitrate(p.MaxDuration), MaxDuration: p.MaxDuration}
	if d.left {
		o.MaxDuration = media.LongestNote() // the call may have been allowed more than one is now
	}
	for {
		r := p.renderOnce(ctx, d, o, over)
		fits := media.NoteBitrate(r.facts.Duration)
		switch {
		case errors.Is(r.err, media.ErrNoCopy) && !o.Transcode:
			o.Transcode = true // the caller's own Opus was too generous, or does not fit together: encode it anew
		case r.facts.Bytes > media.NoteBytes && fits < o.Bitrate:
			o.Bitrate = fits // it is longer than a call may be now
		default:
			return r
		}
	}
}

func (p *Path) renderOnce(ctx context.Context, d *deposit, o media.RenderOptions, over <-chan struct{}) (r rendering) {
	defer func() {
		if cause := recover(); cause != nil {
			r = rendering{err: fmt.Errorf("rendering panicked: %v", cause)}
		}
	}()
	records := d.draft.Records()
	defer func() { _ = records.Close() }()
	var file bytes.Buffer
	facts, err := p.Renderers.Render(ctx, records, &file, o, over)
	return rendering{file: file.Bytes(), facts: facts, err: err}
}

// renderAgain renders a tape that is complete, from its start.
func (p *Path) renderAgain(ctx context.Context, d *deposit) rendering {
	over := make(chan struct{})
	close(over)
	return p.render(ctx, d, over)
}

// finish makes the tape safe, waits for its rendering, commits the note with
// its jobs and hands the first leases to the worker. After an error the deposit
// waits for Run to try again: a message is never taken for silence because
// something failed.
func (p *Path) finish(ctx context.Context, d *deposit, done <-chan rendering) (delivery.Note, media.Facts, error) {
	if d.ended.IsZero() {
		d.ended = time.Now()
	}
	note, facts, err := p.commit(ctx, d, done)
	d.settled = true
	switch {
	case errors.Is(err, delivery.ErrNotFound):
		p.Log.Info("note was erased before it was rendered", "note_id", d.draft.Note().ID)
	case err != nil:
		p.Log.Error("note held up: will be tried again", "note_id", d.draft.Note().ID, "error", config.Logged(err))
		p.held.add(d)
	}
	return note, facts, err
}

func (p *Path) commit(ctx context.Context, d *deposit, done <-chan rendering) (note delivery.Note, facts media.Facts, err error) {
	if err := d.draft.Recorded(ctx, d.cutOff); err != nil {
		return note, facts, fmt.Errorf("the end of the tape is not safe yet: %w", err)
	}
	r := <-done
	if r.err != nil {
		p.Log.Warn("tape is rendered once more, from its start", "note_id", d.draft.Note().ID, "error", r.err)
		r = p.renderAgain(ctx, d)
	}
	if r.err != nil {
		return note, facts, fmt.Errorf("the tape cannot be rendered: %w", r.err)
	}
	if d.mailbox == nil {
		if d.mailbox, err = p.mailbox(ctx, d.draft.Note()); err != nil {
			return note, r.facts, fmt.Errorf("the directory does not say where the note goes: %w", err)
		}
	}
	p.Metrics.Rendered(r.facts)
	note = describe(d.draft.Note(), r)
	note.EndedAt = d.ended
	leases, err := d.draft.Rendered(ctx, note, r.file, d.mailbox.Chains())
	if err != nil {
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

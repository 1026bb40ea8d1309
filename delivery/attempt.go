package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"
)

// more says that the chain has a target after this one.
func (l Lease) more() bool { return l.Step+1 < len(l.Chain) }

// left is what is left of the lease's time at its target.
func (ln *lane) left(l Lease) time.Duration {
	spent := ln.now().Sub(l.First)
	if l.more() && !ln.lacks(l) {
		return ln.within - spent
	}
	return giveUpAfter - spent
}

// send makes one attempt and keeps what came of it.
func (w *Worker) send(ctx context.Context, t ticket) {
	name := t.Target().Channel
	log := w.log.With("note_id", t.Note.ID, "job_id", t.Job, "channel", name, "attempt", t.Attempt)
	if !w.begin(ctx, t, log) {
		return
	}
	began := time.Now()
	receipt, failed := w.attempt(ctx, t, log)
	took := time.Since(began)
	if failed == nil {
		w.lanes.done(t, nil)
		r, counted := t.lane.accepted(t.Lease, receipt), w.counted(t.Job)
		w.o.Observer.Attempt(name, r.Outcome, took)
		w.finish(ctx, t.Lease, r)
		switch {
		case name == Operator:
			log.Info("operator told", "took_ms", took.Milliseconds())
		case r.Outcome == Waiting:
			log.Info("note taken; its report is waited for", "took_ms", took.Milliseconds(), "wait_s", int64(r.Wait.Seconds()))
		default:
			if counted.CompareAndSwap(false, true) {
				w.o.Observer.Delivered(t.Note, name)
			}
			log.Info("note delivered", "took_ms", took.Milliseconds())
		}
		return
	}
	w.lanes.done(t, verdict(ctx, failed))
	if failed.Early && failed.After < t.lane.left(t.Lease) {
		w.keep(ctx, t.Lease, func(ctx context.Context) error { return w.queue.PutOff(ctx, t.Lease, failed.After) })
		return
	}
	w.o.Observer.Attempt(name, failed.Outcome, took)
	log.Warn("note not delivered", "took_ms", took.Milliseconds(), "error", failed)
	if ctx.Err() != nil && failed.Outcome == Retry { // not the service's doing
		w.release(ctx, t.Lease)
		return
	}
	w.finish(ctx, t.Lease, t.lane.judge(t.Lease, receipt, failed))
}

// begin makes sure that the lease, which may have waited long for its turn, is
// still held: without it there is no attempt.
func (w *Worker) begin(ctx context.Context, t ticket, log *slog.Logger) bool {
	err := w.queue.Start(ctx, t.Lease)
	switch {
	case err == nil:
		return true
	case errors.Is(err, ErrFenced):
		w.lanes.done(t, errNoAttempt)
		w.leased.CompareAndDelete(t.Job, w.counted(t.Job))
		log.Warn("job's lease was lost before its turn came")
	default:
		w.lanes.done(t, errNoAttempt)
		log.Error("job's lease cannot be confirmed; trying again", "error", err)
		w.keep(ctx, t.Lease, func(ctx context.Context) error { return w.queue.PutOff(ctx, t.Lease, comeBackAfter) })
	}
	return false
}

// verdict is what a failure says about the channel: a service that refuses one
// note is well.
func verdict(ctx context.Context, failed *SendError) error {
	switch {
	case ctx.Err() != nil, failed.Early:
		return errNoAttempt
	case failed.Credentials:
		return errCredentials
	case failed.Outcome == Dead:
		return nil
	default:
		return errFailed
	}
}

// attempt calls the channel. Whatever happens in there, it comes back as a
// *SendError with one of the three outcomes of a failure.
func (w *Worker) attempt(ctx context.Context, t ticket, log *slog.Logger) (receipt Receipt, failed *SendError) {
	ctx, cancel := context.WithTimeout(ctx, w.timeFor(t))
	defer cancel()
	defer func() {
		if cause := recover(); cause != nil {
			log.Error("channel panicked", "stack", string(debug.Stack()))
			failed = &SendError{Outcome: Unknown, Err: panicked(cause)}
		}
	}()
	receipt, err := t.lane.channel.Send(ctx, w.parcel(t.Lease))
	if err == nil {
		return receipt, nil
	}
	if !errors.As(err, &failed) || failed.Outcome == Done {
		failed = &SendError{Outcome: Unknown, Err: err}
	}
	return receipt, failed
}

// timeFor is what an attempt may take. One for which the channel asks for more
// than the worker's own time-out ends with its target's time: no later target
// waits for it.
func (w *Worker) timeFor(t ticket) time.Duration {
	return min(t.lane.longest, max(w.o.Attempt, t.lane.left(t.Lease)))
}

// panicked describes a panic. Only the runtime's own words are certain to
// carry nothing of the note.
func panicked(cause any) error {
	if err, ok := cause.(runtime.Error); ok {
		return fmt.Errorf("the channel panicked: %w", err)
	}
	return fmt.Errorf("the channel panicked with a %T", cause)
}

func (w *Worker) parcel(l Lease) Parcel {
	p := Parcel{Key: l.Job, Note: l.Note, Address: l.Target().Address, Attempt: l.Attempt, Round: l.Round, Repeat: l.Unknown}
	if l.Note.Kind != Missed {
		p.Page = func(expires time.Time) string { return w.o.Page(l.Note.ID, expires) }
		p.Open = func(ctx context.Context) (io.ReadSeekCloser, error) {
			file, _, err := w.files.Open(ctx, l.Note.ID)
			return file, err
		}
		p.Link = func(expires time.Time) string { return w.o.Link(l.Note.ID, expires) }
		if w.o.Convert != nil {
			p.Convert = func(ctx context.Context, mimeType string) ([]byte, error) {
				return w.o.Convert(ctx, l.Note.ID, mimeType)
			}
		}
	}
	return p
}

// judge turns a failure into what the queue keeps: another try while there is
// time, and the next target at once when the channel itself is refused.
func (ln *lane) judge(l Lease, receipt Receipt, failed *SendError) Result {
	r := Result{Outcome: failed.Outcome, InDoubt: failed.Outcome == Unknown, Status: failed.Status, Detail: failed.Err.Error()}
	if receipt.Detail != "" {
		r.Detail += ": " + receipt.Detail
	}
	if r.Outcome == Dead || (failed.Credentials && l.more()) {
		r.Outcome = Dead
		return r
	}
	after, left := failed.After, ln.left(l)
	if r.Outcome == Unknown { // the service's status may still come: no target is skipped before its time is over
		after = min(after, left-1)
	}
	wait, ok := nextTry(l.Attempt, after, left)
	if !ok {
		r.Outcome = Dead
		r.Detail = "no time is left for another attempt: " + r.Detail
	}
	r.Wait = wait
	return r
}

// leaveFor is how long a note is not claimed whose channel this machine lacks:
// long enough for one that has the channel to come first.
const leaveFor = 5 * time.Second

// lacks says that the configuration does not have the channel of another
// machine's note. While a change of the configuration goes from machine to
// machine, the note waits for one that has it; its home's own word ends it.
func (ln *lane) lacks(l Lease) bool { return ln.name == "" && l.Foreign }

// unconfigured stands for the channels that jobs name and the configuration
// does not have.
type unconfigured struct{}

func (unconfigured) Send(context.Context, Parcel) (Receipt, error) {
	return Receipt{}, &SendError{Outcome: Dead, Err: errors.New("the configuration has no channel of this name; add it and redrive the note")}
}

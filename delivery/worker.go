package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// WorkerOptions sets a worker up; the zero value serves.
type WorkerOptions struct {
	Sends    int           // attempts at once, over all channels; 0 for 64
	Attempt  time.Duration // an attempt's time-out, connecting included, unless its channel is Unhurried; 0 for 30 s
	Grace    time.Duration // what running attempts get to finish at the end; 0 for 10 s
	Observer Observer      // nil for none
	Limiter  Limiter       // keeps the channels' rates; nil for one within this process

	// Now is the queue's clock, by which its leases and NextDue go; nil for
	// time.Now.
	Now func() time.Time

	// Page signs a URL to a page that plays a note, as Link does.
	Page func(noteID string, expires time.Time) string

	// Link signs a URL to a note's file that works until it expires, "" when
	// the gateway has no public URL.
	Link func(noteID string, expires time.Time) string
	// Convert is a note's file in another form, by its MIME type; nil when there
	// is none but its own.
	Convert func(ctx context.Context, noteID, mimeType string) ([]byte, error)
}

// Observer hears what the worker does, for metrics. Its methods must not block
// and may be called by many goroutines.
type Observer interface {
	Attempt(channel string, outcome Outcome, took time.Duration)
	Delivered(n Note, channel string)
	// Dead hears of a note that one of its chains could not deliver.
	Dead(noteID, channel string)
	// Breaker hears of a channel's breaker: open, half-open or closed.
	Breaker(channel, state string)
	// Reported hears of what a chat service told of a note, twice told too.
	Reported(channel string, what What)
}

// Opener reads notes' files, see [Notes].
type Opener interface {
	Open(ctx context.Context, id string) (io.ReadSeekCloser, Note, error)
}

// Worker sends jobs: those that Deliver brings at once, all others when the
// queue says that they are due.
type Worker struct {
	queue  Queue
	files  Opener
	o      WorkerOptions
	log    *slog.Logger
	lanes  *lanes
	leased sync.Map        // by job, while it is leased: an *atomic.Bool, whether its delivery was counted
	kick   chan struct{}   // a job may be due earlier than the queue last said
	lacks  map[string]bool // channels of other machines' notes that this configuration does not have, as far as claim met them
}

// NewWorker is a worker for the channels of the configuration file, by their
// names there.
func NewWorker(q Queue, files Opener, channels map[string]Channel, o WorkerOptions, log *slog.Logger) *Worker {
	if o.Sends == 0 {
		o.Sends = 64
	}
	if o.Attempt == 0 {
		o.Attempt = 30 * time.Second
	}
	if o.Grace == 0 {
		o.Grace = 10 * time.Second
	}
	if o.Limiter == nil {
		o.Limiter = &LocalLimiter{}
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Page == nil {
		o.Page = func(string, time.Time) string { return "" }
	}
	if o.Link == nil {
		o.Link = func(string, time.Time) string { return "" }
	}
	w := &Worker{queue: q, files: files, o: o, log: log, lanes: newLanes(o.Sends), kick: make(chan struct{}, 1), lacks: map[string]bool{}}
	for name, channel := range channels {
		w.addLane(name, channel)
	}
	w.addLane("", unconfigured{})
	return w
}

func (w *Worker) addLane(name string, channel Channel) {
	l := &lane{name: name, channel: channel, within: defaultPatient, longest: w.o.Attempt, ack: WasAccepted, hold: maxClaimed, now: w.o.Now}
	if p, ok := channel.(Patient); ok {
		l.within = p.Within()
	}
	if u, ok := channel.(Unhurried); ok {
		l.longest = u.Longest()
	}
	if a, ok := channel.(Acknowledged); ok {
		l.ack, l.tellsDelivered = a.Ack(), a.Tells(WasDelivered)
	}
	changed := func(from, to string) {
		w.o.Observer.Breaker(name, to)
		if from == "closed" || to == "closed" { // not each probe
			w.log.Warn("channel breaker changed", "channel", name, "state", to)
		}
	}
	l.breaker = newBreaker(changed, func() {
		w.log.Error("channel paused: the service refuses its credentials; mend them and restart", "channel", name)
	})
	if limited, ok := channel.(Limited); ok {
		l.limit(limited.Rate())
	}
	w.lanes.add(l)
}

// Deliver takes the leases that [Draft].Rendered gave and sends them without
// asking the queue. It does not wait; before Run they wait for it.
func (w *Worker) Deliver(leases ...Lease) {
	ended, end := context.WithCancel(context.Background())
	end()
	for _, l := range leases {
		w.leased.Store(l.Job, new(atomic.Bool))
		if !w.lanes.offer(l, true) { // Run has ended
			w.release(ended, l)
		}
	}
}

// Run sends until ctx ends. Then running attempts get the time of grace, what
// is unsent goes back to the queue, and Run returns when all is kept.
func (w *Worker) Run(ctx context.Context) {
	sending, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var senders sync.WaitGroup
	for range w.o.Sends {
		senders.Go(func() { w.serve(sending) })
	}
	for _, l := range w.lanes.limited() {
		senders.Go(func() { w.fetchGrants(ctx, l) })
	}
	w.claimDue(ctx)
	grace := time.AfterFunc(w.o.Grace, cut)
	defer grace.Stop()
	for _, l := range w.lanes.close() {
		senders.Go(func() { w.release(sending, l) })
	}
	senders.Wait()
}

const (
	minRest = 100 * time.Millisecond // between claims that brought nothing
	maxRest = time.Minute            // the clock may have been set
)

// claimDue claims jobs as they fall due, until ctx ends.
func (w *Worker) claimDue(ctx context.Context) {
	for ctx.Err() == nil {
		more, err := w.claim(ctx, w.room(ctx))
		if more {
			continue
		}
		rest := maxRest
		due, dueErr := w.queue.NextDue(ctx)
		if err = errors.Join(err, dueErr); err != nil && ctx.Err() == nil {
			w.log.Error("queue not readable; trying again", "error", err)
			rest = time.Second
		} else if !due.IsZero() {
			rest = min(max(due.Sub(w.o.Now()), minRest), maxRest)
		}
		select {
		case <-ctx.Done():
		case <-time.After(rest):
		case <-w.queue.Wake():
		case <-w.kick:
		}
	}
}

// room is how many jobs to claim: no more than the lanes can hold. While one
// stays full, the queue is searched step by step for jobs of the others.
func (w *Worker) room(ctx context.Context) int {
	room, full := w.lanes.room()
	if full {
		select {
		case <-ctx.Done():
		case <-time.After(minRest):
			return w.o.Sends
		case <-w.lanes.eased:
			room, _ = w.lanes.room()
		}
	}
	return min(room, w.o.Sends)
}

// claim takes what is due into the lanes and puts off what finds no place; true
// when there may be more.
func (w *Worker) claim(ctx context.Context, limit int) (more bool, err error) {
	leases, err := w.queue.Claim(context.WithoutCancel(ctx), limit) // one that was cut short could leave leases that nobody holds
	if err != nil {
		return false, fmt.Errorf("claiming jobs: %w", err)
	}
	var full sync.WaitGroup
	for _, l := range leases {
		w.leased.Store(l.Job, new(atomic.Bool))
		if l.Waited {
			full.Go(func() { w.giveUpWaiting(ctx, l) })
			continue
		}
		if name := l.Target().Channel; w.lanes.of(l).lacks(l) && !w.lacks[name] {
			w.lacks[name] = true
			w.log.Warn("other machines' notes name a channel that this configuration does not have; they are left to machines that have it", "channel", name)
		}
		if !w.lanes.offer(l, false) {
			full.Go(func() { w.refuse(ctx, l) }) // side by side: the store commits them together
		}
	}
	full.Wait()
	return len(leases) == limit, nil
}

// serve is one of the senders.
func (w *Worker) serve(ctx context.Context) {
	for {
		t, ok := w.lanes.take()
		switch {
		case !ok:
			return
		case t.settle == nil:
			w.refuse(ctx, t.Lease)
			w.poke()
		default:
			w.send(ctx, t)
		}
	}
}

// refuse gives a lease back that its channel cannot take now, or moves it on
// when its time at this target is over.
func (w *Worker) refuse(ctx context.Context, l Lease) {
	lane := w.lanes.of(l)
	wait, credentials := w.lanes.putOff(lane)
	left := lane.left(l)
	if lane.lacks(l) {
		wait = leaveFor
	}
	switch {
	case credentials && l.more():
		w.finish(ctx, l, Result{Outcome: Dead, Detail: "the channel is paused: " + errCredentials.Error()})
	case left <= 0:
		w.finish(ctx, l, Result{Outcome: Dead, Detail: "the channel took nothing until the time for this target was over"})
	default:
		w.keep(ctx, l, func(ctx context.Context) error { return w.queue.PutOff(ctx, l, min(wait, left)) })
	}
}

// counted says whether the delivery of a job was counted while it is leased: a
// report may come before the answer, and each counts it once.
func (w *Worker) counted(job string) *atomic.Bool {
	if c, ok := w.leased.Load(job); ok {
		return c.(*atomic.Bool)
	}
	return new(atomic.Bool)
}

// finish keeps a result and says so when it was the last word.
func (w *Worker) finish(ctx context.Context, l Lease, r Result) {
	counted := w.counted(l.Job)
	w.keep(ctx, l, func(ctx context.Context) error { return w.queue.Finish(ctx, l, r) })
	if r.Outcome == Done {
		return
	}
	w.poke()
	name := l.Target().Channel
	switch {
	case r.Outcome != Dead, counted.Load():
	case l.more():
		w.log.Warn("note goes on to the next target", "note_id", l.Note.ID, "job_id", l.Job, "channel", name, "next", l.Chain[l.Step+1].Channel)
	case name == Operator:
		w.log.Error("the operator could not be told of a note", "note_id", l.Note.ID, "job_id", l.Job, "event", l.Target().Address)
		w.o.Observer.Dead(l.Note.ID, name)
	default:
		w.log.Error("note is dead; see `afterbeep note show` and `note redrive`", "note_id", l.Note.ID, "job_id", l.Job, "channel", name)
		w.o.Observer.Dead(l.Note.ID, name)
	}
}

func (w *Worker) release(ctx context.Context, l Lease) {
	w.keep(ctx, l, func(ctx context.Context) error { return w.queue.Release(ctx, l) })
}

// keep makes a change to the queue, again and again while the worker runs and
// for some seconds at its end. A change that cannot be kept leaves the job
// leased, and after a restart its outcome is unknown: sent twice at worst, never
// lost.
func (w *Worker) keep(ctx context.Context, l Lease, change func(context.Context) error) {
	defer w.leased.CompareAndDelete(l.Job, w.counted(l.Job)) // unless it is leased anew by then
	const first, longest, atTheEnd = 100 * time.Millisecond, 30 * time.Second, 5 * time.Second
	ended := ctx.Done()
	for wait := first; ; wait = min(3*wait, longest) {
		err := change(context.WithoutCancel(ctx))
		switch {
		case err == nil:
			return
		case errors.Is(err, ErrFenced): // erased or taken over meanwhile
			w.log.Warn("job's lease was lost", "note_id", l.Note.ID, "job_id", l.Job)
			return
		case ctx.Err() != nil && wait > atTheEnd:
			w.log.Error("job's state not kept; it is sent again after a restart", "note_id", l.Note.ID, "job_id", l.Job, "error", err)
			return
		}
		if wait == longest {
			w.log.Error("job's state cannot be kept; trying on", "note_id", l.Note.ID, "job_id", l.Job, "error", err)
		}
		select {
		case <-time.After(wait):
		case <-ended:
			ended = nil // once
		}
	}
}

// poke makes claimDue ask the queue anew.
func (w *Worker) poke() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

type unobserved struct{}

func (unobserved) Attempt(string, Outcome, time.Duration) {}
func (unobserved) Delivered(Note, string)                 {}
func (unobserved) Dead(string, string)                    {}
func (unobserved) Breaker(string, string)                 {}
func (unobserved) Reported(string, What)                  {}

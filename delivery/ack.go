package delivery

import (
	"context"
	"fmt"
	"time"
)

// leastWait is what a service gets to report however late it took the note.
const leastWait = time.Minute

// accepted is what becomes of a job whose note, or an invitation to it, the
// service took.
func (ln *lane) accepted(l Lease, receipt Receipt) Result {
	r := Result{Outcome: Done, Receipt: receipt, Detail: receipt.Detail, Arrived: !ln.tellsDelivered}
	if receipt.Invited || ln.ack != WasAccepted {
		r.Outcome, r.Arrived = Waiting, false
		r.Wait = max(ln.left(l), min(ln.within, leastWait))
	}
	return r
}

// giveUpWaiting ends the waiting for a report: the next target has its turn.
// Nothing is sent, so that it asks neither the channel's breaker nor its rate.
func (w *Worker) giveUpWaiting(ctx context.Context, l Lease) {
	lane, waited := w.lanes.of(l), w.o.Now().Sub(l.First).Round(time.Second)
	detail := fmt.Sprintf("nobody asked for the note within %v", waited)
	if lane.ack != WasAccepted {
		detail = fmt.Sprintf("no word within %v that it was %s", waited, lane.ack)
	}
	w.finish(ctx, l, Result{Outcome: Dead, Detail: detail})
}

// Report keeps what a channel's service tells of a note, see [Reports].
func (w *Worker) Report(ctx context.Context, channel string, r Report) error {
	lane := w.lanes.of(Lease{Chain: Chain{{Channel: channel}}})
	m := Meaning{Settles: r.What.Includes(lane.ack)}
	m.Arrived = r.What.Includes(WasDelivered) || (m.Settles && !lane.tellsDelivered)
	counted := w.counted(r.Job)
	up, err := w.queue.Report(ctx, channel, r, m)
	if err != nil {
		return err
	}
	if r.What == WasRefused { // it may be dead after all
		counted.Store(false)
	}
	w.poke()
	w.o.Observer.Reported(channel, r.What)
	w.log.Info("chat service reported", "note_id", up.Note.ID, "job_id", r.Job, "channel", channel, "what", r.What)
	switch {
	case up.Settled && counted.CompareAndSwap(false, true):
		w.o.Observer.Delivered(up.Note, channel)
	case up.Dead:
		w.log.Error("note is dead; see `afterbeep note show` and `note redrive`", "note_id", up.Note.ID, "job_id", r.Job, "channel", channel)
		w.o.Observer.Dead(up.Note.ID, channel)
	}
	return nil
}

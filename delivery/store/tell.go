package store

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// tell tells Redis the outcome of an attempt; delivery.ErrFenced when the lease
// was lost. It is no error that Redis cannot hear it now: settle tells it again.
func (f *Fleet) tell(ctx context.Context, a attempt) error {
	defer f.settling.end(a.ID)
	j, otherwise, err := f.say(ctx, a)
	switch {
	case errors.Is(err, shared.ErrAway), errors.Is(err, shared.ErrUncertain):
		return nil
	case errors.Is(err, shared.ErrFenced):
		f.settling.heard(a)
		return delivery.ErrFenced
	case err != nil:
		return err
	}
	f.settling.heard(a)
	if otherwise && a.Outcome == string(delivery.Done) {
		if err := f.takeBack(ctx, a); err != nil {
			return err
		}
	}
	switch {
	case a.Home != f.machine:
	case otherwise: // its service had told something of it
		return f.mirrorAs(ctx, overrules, j)
	case j.State == shared.Delivered && a.Outcome != string(delivery.Done):
		return f.mirror(ctx, []shared.Job{j}) // another machine had delivered it before
	}
	return nil
}

// say makes the call that tell is about, and returns the job as it stands then,
// if it was an attempt, and whether that is otherwise than the outcome says.
func (f *Fleet) say(ctx context.Context, a attempt) (j shared.Job, otherwise bool, err error) {
	wait := max(0, a.NextAt.Sub(f.Now()))
	switch {
	case a.Outcome == returned && a.NextAt.IsZero():
		return j, false, f.shared.Release(ctx, a.Job)
	case a.Outcome == returned:
		return j, false, f.shared.PutOff(ctx, a.Job, wait)
	}
	event, err := json.Marshal(result{a.Receipt, a.Event})
	if err != nil {
		return j, false, err
	}
	return f.shared.Finish(ctx, a.Job, shared.Result{
		Outcome: a.Outcome, Wait: wait, Waits: a.Then, Arrived: a.Arrived, Receipt: []byte(a.Receipt), Event: event,
	})
}

// tellAll tells Redis the outcomes that it has not heard.
func (f *Fleet) tellAll(ctx context.Context) error {
	if !f.shared.Up() {
		return nil
	}
	left, err := f.unsettled(ctx, settleBatch)
	if err != nil {
		return err
	}
	left = slices.DeleteFunc(left, f.settling.has)
	err = each(left, func(a attempt) error {
		f.settling.begin(a.ID)
		if err := f.tell(ctx, a); !errors.Is(err, delivery.ErrFenced) {
			return err
		}
		return nil
	})
	return errors.Join(err, f.keepSettled(ctx))
}

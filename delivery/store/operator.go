package store

import (
	"slices"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// Each thing that the operator is told of is a job of its own, written by the
// commit that it tells of.

// inboxChannel is where the inbox's own marks are made.
const inboxChannel = "inbox"

// tellOperator queues what tells the operator of an event of a note at a
// channel, and says whether he is to be told of it at all. Of his own jobs he
// is told nothing.
func (t *txn) tellOperator(n kept, event, channel string, now time.Time) (told bool, err error) {
	if channel == delivery.Operator || !slices.Contains(t.operator, event) {
		return false, nil
	}
	to := delivery.Target{Channel: delivery.Operator, Address: event + "/" + channel}
	_, _, err = t.addJob(n, delivery.Chain{to}, now)
	return err == nil, err
}

// tellDelivered tells the operator once that a job was delivered.
func (t *txn) tellDelivered(n kept, job, channel string, now time.Time) (told bool, err error) {
	changed, err := t.exec("UPDATE job SET told = 1 WHERE id = ? AND told = 0", job)
	if err != nil || changed == 0 {
		return false, err
	}
	return t.tellOperator(n, delivery.EventDelivered, channel, now)
}

// tellMarked tells the operator that a note was read or played.
func (t *txn) tellMarked(n kept, mark, channel string, now time.Time) (told bool, err error) {
	event := map[string]string{string(delivery.MarkRead): delivery.EventRead, string(delivery.MarkPlayed): delivery.EventPlayed}[mark]
	return t.tellOperator(n, event, channel, now)
}

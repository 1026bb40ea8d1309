package store

import (
	"bytes"
	"cmp"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// scanner is a row of a result.
type scanner interface{ Scan(dest ...any) error }

// collect reads every row of a query with scan.
func collect[T any](rows *sql.Rows, err error, scan func(scanner) (T, error)) (all []T, _ error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// found turns sql's "no rows" into delivery.ErrNotFound.
func found(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return delivery.ErrNotFound
	}
	return err
}

// kept is a note as its row keeps it, and the box that seals what is its.
type kept struct {
	delivery.Note
	box *box
}

// noteColumns are what scanNote reads.
const noteColumns = "note.id, note.key, note.state, note.body, note.read_at, note.played_at, note.files"

// scanNote reads noteColumns, and what follows them into more. Of a note that
// cannot be opened there are its id and its state, and no box.
func (v *vault) scanNote(row scanner, more ...any) (n kept, err error) {
	var (
		id, state    string
		key, body    []byte
		read, played int64
		files        bool
	)
	if err := row.Scan(append([]any{&id, &key, &state, &body, &read, &played, &files}, more...)...); err != nil {
		return n, found(err)
	}
	closed := kept{Note: delivery.Note{ID: id, State: delivery.State(state)}}
	if n.box, err = v.open(id, key); err != nil {
		return closed, err
	}
	if err := n.box.openJSON("body", body, &n.Note); err != nil {
		return closed, err
	}
	n.State, n.ReadAt, n.PlayedAt = delivery.State(state), instant(read), instant(played)
	n.Media.Gone = !files && n.Media.Bytes > 0
	return n, nil
}

// sealJSON writes v as a row keeps it.
func (b *box) sealJSON(what string, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return b.seal(what, text), nil
}

// openJSON reads v as a row keeps it.
func (b *box) openJSON(what string, sealed []byte, v any) error {
	text, err := b.open(what, sealed)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("the %s of %s is %w: %w", what, b.owner, errDamaged, err)
	}
	return nil
}

// jobColumns are what scanJob reads.
const jobColumns = "job.id, job.state, job.chain, job.step, job.attempt, job.next_at, job.waits"

// scanJob reads jobColumns of a note's job.
func (n kept) scanJob(row scanner) (j delivery.Job, err error) {
	var (
		chain []byte
		next  int64
		waits int
	)
	if err := row.Scan(&j.ID, &j.State, &chain, &j.Step, &j.Attempt, &next, &waits); err != nil {
		return j, found(err)
	}
	if j.State == delivery.JobQueued {
		j.NextAt, j.Waits = instant(next), shared.Job{Waits: waits}.Waiting()
	}
	return j, n.box.openJSON("chain", chain, &j.Chain)
}

// operatorThread begins the threads of the jobs that tell the operator.
const operatorThread = "operator "

// threadOf names the thread of a job: what one caller sends to one mailbox at
// one target arrives in order. Callers without a number have nothing in common,
// so none of them waits for another. The hash keeps the index small. A job that
// tells the operator is a thread of its own: it blocks nothing, and nothing
// blocks it.
func (v *vault) threadOf(n delivery.Note, first delivery.Target, job string) []byte {
	if first.Channel == delivery.Operator {
		return []byte(operatorThread + job)
	}
	caller := cmp.Or(n.Caller.Number, n.ID)
	return v.hash(fmt.Sprintf("%q %q %q", n.Recipient.Number, caller, first.String()))
}

// apart is the name of a thread that is one job's alone.
func (v *vault) apart(job string) []byte { return v.hash("apart " + job) }

// sealThread makes of a thread's name in clear the one that threadOf gives.
func (v *vault) sealThread(thread []byte) []byte {
	if bytes.HasPrefix(thread, []byte(operatorThread)) {
		return thread
	}
	return v.keyed(thread)
}

// eventBody is what an event says of a person or a service.
type eventBody struct {
	Target string `json:"target"`
	Detail string `json:"detail"`
}

// box opens the box of a note.
func (t *txn) box(note string) (*box, error) {
	var key []byte
	if err := t.row("SELECT key FROM note WHERE id = ?", note).Scan(&key); err != nil {
		return nil, found(err)
	}
	return t.vault.open(note, key)
}

// event adds a line to the life of the note that b seals for, at the time of
// day by the machine's clock.
func (t *txn) event(b *box, e delivery.Event) error {
	body, err := b.sealJSON("event", eventBody{e.Target, e.Detail})
	if err != nil {
		return err
	}
	return t.addEvent(b.owner, e.Job, e.Name, body, 0)
}

// addEvent adds a sealed line to a note's life. With an epoch, it is about that
// lease of the job, and said twice it stands there once.
func (t *txn) addEvent(note, job, name string, body []byte, epoch int) error {
	_, err := t.exec("INSERT INTO event (note, job, at, name, body, epoch) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		note, job, micros(t.clock.Wall()), name, body, epoch)
	return err
}

// scanEvent reads at, job, name and body.
func (n kept) scanEvent(row scanner) (e delivery.Event, err error) {
	var (
		at   int64
		body []byte
		said eventBody
	)
	if err := row.Scan(&at, &e.Job, &e.Name, &body); err != nil {
		return e, err
	}
	err = n.box.openJSON("event", body, &said)
	e.At, e.Target, e.Detail = instant(at), said.Target, said.Detail
	return e, err
}

// micros is a time as a row keeps it, instant the way back.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}

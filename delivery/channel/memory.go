package channel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/afterbeep/afterbeep/delivery"
)

// recall is what the channel remembers under a key, "" for nothing. Its error is
// a *delivery.SendError.
func (e Env) recall(ctx context.Context, key string) (string, error) {
	value, err := e.Memory.Get(ctx, key)
	if err != nil && !errors.Is(err, delivery.ErrNotFound) {
		return "", unkept(err)
	}
	return string(value), nil
}

// recallJSON reads what keepJSON kept; it leaves to alone where there is
// nothing. Its error is a *delivery.SendError.
func (e Env) recallJSON(ctx context.Context, key string, to any) (known bool, err error) {
	value, err := e.recall(ctx, key)
	if err != nil || value == "" {
		return false, err
	}
	if err := json.Unmarshal([]byte(value), to); err != nil {
		return false, unkept(err)
	}
	return true, nil
}

// keepJSON keeps a value under the entry's key. Its error is a
// *delivery.SendError.
func (e Env) keepJSON(ctx context.Context, entry delivery.Entry, value any) (err error) {
	if entry.Value, err = json.Marshal(value); err == nil {
		err = e.Memory.Put(ctx, entry)
	}
	if err != nil {
		return unkept(err)
	}
	return nil
}

// unkept is what the channel cannot read or remember.
func unkept(err error) *delivery.SendError {
	return &delivery.SendError{Outcome: delivery.Retry, Err: fmt.Errorf("what the channel remembers is out of reach: %w", err)}
}

// remember keeps what only makes things nicer: a failure is logged.
func (e Env) remember(ctx context.Context, entry delivery.Entry) {
	if err := e.Memory.Put(ctx, entry); err != nil {
		e.Log.Warn("the channel cannot remember", "error", err)
	}
}

// forget is to Delete what remember is to Put.
func (e Env) forget(ctx context.Context, key string) {
	if err := e.Memory.Delete(ctx, key); err != nil {
		e.Log.Warn("the channel cannot forget", "error", err)
	}
}

// once does what must not be done twice, however often and on whichever machine
// it is heard of. The entry's key stands for it; what fails can be done again.
func (e Env) once(ctx context.Context, entry delivery.Entry, do func() error) error {
	added, err := e.Memory.Add(ctx, entry)
	if err != nil {
		return unkept(err)
	}
	if !added {
		return nil
	}
	if err := do(); err != nil {
		return errors.Join(err, e.Memory.Delete(context.WithoutCancel(ctx), entry.Key))
	}
	return nil
}

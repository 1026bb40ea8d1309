package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/channel"
)

// proofTime is how long a service may take to say that it knows us.
const proofTime = 10 * time.Second

// channels proves the credentials of all channels, side by side, and sends
// nothing. serve starts whatever a chat service answers.
func (c *checker) channels(ctx context.Context) {
	names := slices.Sorted(maps.Keys(c.cfg.Channels))
	found := make([]finding, len(names))
	var told finding
	var proving sync.WaitGroup
	for i, name := range names {
		proving.Go(func() { found[i] = c.channel(ctx, name) })
	}
	if c.cfg.Operator != nil {
		proving.Go(func() { told = c.operator(ctx) })
	}
	proving.Wait()
	if c.cfg.Operator != nil {
		c.found = append(c.found, told)
	}
	c.found = append(c.found, found...)
}

// channel proves one channel of the file.
func (c *checker) channel(ctx context.Context, name string) finding {
	kind, what := c.cfg.Channels[name].Type, "channel "+name
	proven, remark, err := prove(ctx, c.cfg.Channels[name].Options, trialEnv(c.cfg, name))
	switch opening := (openingError{}); {
	case errors.As(err, &opening):
		return finding{markFail, what, kind + ": " + err.Error()}
	case err != nil:
		return finding{markWarn, what, kind + ": " + err.Error() + "; until that is mended its notes wait"}
	case !used(c.cfg, name):
		return finding{markWarn, what, kind + ", which no mailbox delivers to"}
	case !proven:
		return finding{markOK, what, kind + ", not checked: it can be tried with a note alone, see `afterbeep channel test`"}
	default:
		return finding{markOK, what, kind + remark}
	}
}

func (c *checker) operator(ctx context.Context) finding {
	_, _, err := prove(ctx, c.cfg.Operator, trialEnv(c.cfg, delivery.Operator))
	switch opening := (openingError{}); {
	case errors.As(err, &opening):
		return finding{markFail, "operator", err.Error()}
	case err != nil:
		return finding{markWarn, "operator", err.Error() + "; until that is mended only the log and the metrics tell of what becomes of notes"}
	default:
		return finding{markOK, "operator", "told of " + strings.Join(c.cfg.Operator.Events.All(), ", ")}
	}
}

// openingError is what keeps a channel from being opened, and the gateway from
// starting.
type openingError struct{ error }

// remarker is a channel of which there is something to know though it works.
type remarker interface{ Remark() string }

// prove opens a channel and asks its service, if the channel can.
func prove(ctx context.Context, o channel.Options, env channel.Env) (proven bool, remark string, err error) {
	c, err := o.Open(env)
	if err != nil {
		return false, "", openingError{err}
	}
	if r, ok := c.(remarker); ok {
		remark = ", " + r.Remark()
	}
	if closer, ok := c.(io.Closer); ok {
		defer func() { _ = closer.Close() }() // idle connections alone
	}
	checker, ok := c.(delivery.Checker)
	if !ok {
		return false, remark, nil
	}
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	err = checker.Check(ctx)
	if failed := (*delivery.SendError)(nil); errors.As(err, &failed) {
		err = failed.Err // what a job would do about it is of no interest here
	}
	return err == nil, remark, err
}

// used says whether a mailbox delivers to the channel.
func used(cfg *config.Config, name string) bool {
	return slices.ContainsFunc(cfg.Mailboxes, func(m config.Mailbox) bool {
		return slices.ContainsFunc(m.Chains(), func(c delivery.Chain) bool {
			return slices.ContainsFunc(c, func(t delivery.Target) bool { return t.Channel == name })
		})
	})
}

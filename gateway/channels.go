package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/channel"
	"github.com/afterbeep/afterbeep/gateway/control"
	"github.com/afterbeep/afterbeep/gateway/web"
)

// openChannels opens the channels of the file, the inbox that is always there,
// and the one that tells the operator.
func (g *gateway) openChannels() (err error) {
	g.channels = map[string]delivery.Channel{}
	if g.channels[config.Inbox], err = channel.Table()[config.Inbox]().Open(g.env(config.Inbox)); err != nil {
		return err
	}
	for name, c := range g.cfg.Channels {
		env := g.env(name)
		env.Folder = filepath.Join(g.cfg.Store.Path, "channels", name)
		err := os.MkdirAll(env.Folder, 0o700)
		if err == nil {
			g.channels[name], err = c.Options.Open(env)
		}
		if err != nil {
			return fmt.Errorf("channels.%s: %w", name, err)
		}
	}
	if g.cfg.Operator != nil {
		if g.channels[delivery.Operator], err = g.cfg.Operator.Open(g.env(delivery.Operator)); err != nil {
			return fmt.Errorf("operator: %w", err)
		}
	}
	return nil
}

// env is what a channel gets, but for a folder.
func (g *gateway) env(name string) channel.Env {
	env := trialEnv(g.cfg, name)
	env.Log = g.log.With("channel", name)
	env.Language = g.languageOf
	env.Memory = g.store.Memory(name)
	env.Chats = delivery.NewChats(env.Memory)
	env.Report = func(ctx context.Context, r delivery.Report) error { return g.worker.Report(ctx, name, r) }
	return env
}

// trialEnv is what a channel gets that is only tried: it remembers nothing, and
// nobody has linked a chat to it.
func trialEnv(cfg *config.Config, name string) channel.Env {
	memory := &delivery.Scratch{}
	return channel.Env{
		Log: slog.New(slog.DiscardHandler), UserAgent: "afterbeep/" + versionText(),
		Name: name, PublicURL: strings.TrimRight(cfg.HTTP.PublicURL, "/"),
		Memory: memory, Chats: delivery.NewChats(memory),
		Report: func(context.Context, delivery.Report) error { return delivery.ErrNotFound },
	}
}

// callbacks are the channels whose services call back.
func (g *gateway) callbacks() map[string]http.Handler {
	all := map[string]http.Handler{}
	for name, c := range g.channels {
		if handler, ok := c.(http.Handler); ok {
			all[name] = handler
		}
	}
	return all
}

// linkables are the channels at which mailboxes can link a chat.
func (g *gateway) linkables() map[string]web.Linkable {
	all := map[string]web.Linkable{}
	for name, c := range g.channels {
		if linkable, ok := c.(delivery.Linkable); ok {
			all[name] = web.Linkable{Linkable: linkable, Chats: delivery.NewChats(g.store.Memory(name)), Type: g.cfg.Channels[name].Type}
		}
	}
	return all
}

// LinkChat implements control.Chats.
func (g *gateway) LinkChat(ctx context.Context, name, mailbox string) (control.ChatCode, error) {
	return linkChat(ctx, g.channels[name], delivery.NewChats(g.store.Memory(name)), mailbox)
}

// UnlinkChat implements control.Chats.
func (g *gateway) UnlinkChat(ctx context.Context, name, mailbox string) error {
	return delivery.NewChats(g.store.Memory(name)).Revoke(ctx, mailbox)
}

var errNoLinks = errors.New("this channel links no chats: its targets need an address")

// linkChat mints a code that links a chat, and says how it is used.
func linkChat(ctx context.Context, c delivery.Channel, chats delivery.Chats, mailbox string) (l control.ChatCode, err error) {
	linkable, ok := c.(delivery.Linkable)
	if !ok {
		return l, errNoLinks
	}
	if l.Code, l.Expires, err = chats.Code(ctx, mailbox); err != nil {
		return l, err
	}
	ctx, cancel := context.WithTimeout(ctx, deepLinkWithin)
	defer cancel()
	l.Link, l.Say, err = linkable.DeepLink(ctx, l.Code)
	return l, err
}

const (
	deepLinkWithin = 10 * time.Second // a chat service may have to say where its bot is

	listenAgain   = time.Second // after the first failure
	listenSlowest = time.Minute
)

// listen runs what a channel hears of its service until ctx ends, whatever
// becomes of it: the first time at once, then after waits that grow.
func (g *gateway) listen(ctx context.Context, name string, r delivery.Runner) {
	for wait := listenAgain; ; wait = min(2*wait, listenSlowest) {
		began := time.Now()
		err := g.listenOnce(ctx, name, r)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > listenSlowest {
			wait = listenAgain
		}
		g.log.Error("channel does not hear its service; trying again", "channel", name, "again_in_s", int64(wait.Seconds()), "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

var errListenEnded = errors.New("it ended by itself")

// listenOnce returns why a channel stopped listening.
func (g *gateway) listenOnce(ctx context.Context, name string, r delivery.Runner) (err error) {
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case runtime.Error: // the runtime's own words carry nothing of a note
			g.log.Error("channel panicked", "channel", name, "stack", string(debug.Stack()))
			err = fmt.Errorf("the channel panicked: %w", cause)
		default:
			g.log.Error("channel panicked", "channel", name, "stack", string(debug.Stack()))
			err = fmt.Errorf("the channel panicked with a %T", cause)
		}
	}()
	if err := r.Run(ctx); err != nil {
		return err
	}
	return errListenEnded
}

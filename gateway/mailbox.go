package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/gateway/control"
)

// findMailbox finds a mailbox for a command that runs beside the gateway: in
// the files, or as the directory service says. That one the running gateway
// asks; without one the command does, for which it needs the file's secrets.
func findMailbox(ctx context.Context, cfg *config.Config, path, number string) (control.Mailbox, error) {
	local := *cfg
	local.Directory.URL = ""
	m, err := lookup(ctx, &local, number)
	if errors.Is(err, config.ErrNoMailbox) && cfg.Directory.URL != "" {
		m, err = askForMailbox(ctx, cfg, path, number)
	}
	if errors.Is(err, config.ErrNoMailbox) || errors.Is(err, delivery.ErrNotFound) {
		return m, fmt.Errorf("there is no mailbox %s in %s, nor in its directory", number, path)
	}
	return m, err
}

// lookup opens a directory for one question.
func lookup(ctx context.Context, cfg *config.Config, number string) (m control.Mailbox, err error) {
	d, err := config.OpenDirectory(cfg, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	found, err := d.Lookup(ctx, number, "")
	if err != nil {
		return m, err
	}
	return mailboxOf(found), nil
}

// askForMailbox asks the service, through the running gateway if there is one.
func askForMailbox(ctx context.Context, cfg *config.Config, path, number string) (control.Mailbox, error) {
	if client, err := control.Dial(ctx, cfg.Store.Path); err == nil {
		m, err := client.Mailbox(ctx, number)
		return m, errors.Join(err, client.Close())
	}
	cfg, err := config.Load(path)
	if err != nil {
		return control.Mailbox{}, err
	}
	return lookup(ctx, cfg, number)
}

// mailboxOf is what an operator is told of a mailbox.
func mailboxOf(m *config.Mailbox) control.Mailbox {
	return control.Mailbox{Recipient: m.Recipient(), Links: openTargets(m)}
}

// mailbox finds one for the operator.
func (g *gateway) mailbox(ctx context.Context, number string) (control.Mailbox, error) {
	m, err := g.directory.Lookup(ctx, number, "")
	if errors.Is(err, config.ErrNoMailbox) {
		return control.Mailbox{}, delivery.ErrNotFound
	}
	if err != nil {
		return control.Mailbox{}, fmt.Errorf("the directory does not say: %w", err)
	}
	return mailboxOf(m), nil
}

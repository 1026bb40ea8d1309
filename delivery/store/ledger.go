package store

import (
	"context"

	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// ledger is what this machine knows, for a Redis that may have forgotten it.
type ledger struct{ f *Fleet }

// Recall implements shared.Ledger.
func (l ledger) Recall(context.Context, shared.Shards, func(shared.Fact) error) error { return nil }

// Learn implements shared.Ledger.
func (l ledger) Learn(context.Context, []shared.Job) error { return nil }

// Peers implements shared.Ledger.
func (l ledger) Peers(context.Context) ([]string, error) { return nil, nil }

// Met implements shared.Ledger.
func (l ledger) Met(context.Context, []string) error { return nil }

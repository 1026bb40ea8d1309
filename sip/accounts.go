package sip

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
)

// accounts are the registrations of a server.
type accounts struct {
	all   []*registration
	start func() // begins to register
	stop  func() // ends the registrations, without waiting
	wait  func() // for that to be done
}

func newAccounts(s *Server, o Options) accounts {
	root, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	a := accounts{stop: stop, wait: running.Wait}
	for _, account := range o.Accounts {
		a.all = append(a.all, newRegistration(s, account, account.trunk(o)))
	}
	a.start = func() {
		for _, r := range a.all {
			running.Go(func() { r.run(root) })
		}
	}
	return a
}

// Accounts tells how each account stands with its PBX, in the order of the
// options.
func (s *Server) Accounts() []AccountStatus {
	all := make([]AccountStatus, len(s.accounts.all))
	for i, r := range s.accounts.all {
		all[i] = r.standing()
	}
	return all
}

// TryAccount asks the PBX whether it knows the account and accepts its
// password, and changes nothing there. It returns the registrar that answered.
// The error says what to mend, for each registrar that was tried.
func TryAccount(ctx context.Context, a Account, log *slog.Logger) (netip.AddrPort, error) {
	o := Options{Accounts: []Account{a}}
	o.Listen = o.ListenForAccounts()
	s, err := Listen(o, log)
	if err != nil {
		return netip.AddrPort{}, err
	}
	s.accounts.start = func() {}
	var serving sync.WaitGroup
	serving.Go(func() {
		_ = s.Serve(context.WithoutCancel(ctx), func(_ context.Context, c *Call) { _ = c.Refuse(480, 0) })
	})
	addr, err := s.accounts.all[0].query(ctx)
	err = errors.Join(err, s.Close())
	serving.Wait()
	return addr, err
}

// query asks the registrars in their order.
func (r *registration) query(ctx context.Context) (netip.AddrPort, error) {
	targets, err := r.locate(ctx)
	for _, t := range targets {
		if _, failed := r.register(ctx, t, wish{query: true}, nil); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		return t.addr, nil
	}
	return netip.AddrPort{}, err
}

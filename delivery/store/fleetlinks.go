package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// A link is kept where it was made and, in the box that all machines have, in
// Redis. Where two machines made one while they could not ask, both lead to
// the mailbox.

// commonOwner owns the box of what belongs to all machines.
const commonOwner = "fleet"

// openCommon is the box of what belongs to all machines.
func (v *vault) openCommon() *box {
	if !v.seals() {
		return &box{owner: commonOwner}
	}
	return newBox(commonOwner, v.derive("common box"))
}

// LinkFor implements delivery.Links. The first link that any machine made is
// the one of all; while Redis is away, it is this machine's.
func (f *Fleet) LinkFor(ctx context.Context, mailbox string) (string, error) {
	f.erasing.RLock()
	defer f.erasing.RUnlock()
	token, err := f.keptLink(ctx, mailbox)
	fresh := errors.Is(err, delivery.ErrNotFound)
	if err != nil && !fresh {
		return "", err
	}
	if fresh {
		token = newToken()
	}
	common, sharedErr := f.shareLink(ctx, linkBody{mailbox, token})
	switch {
	case sharedErr == nil && fresh:
		return common, f.adoptLink(ctx, linkBody{mailbox, common})
	case sharedErr == nil:
		return common, nil
	}
	return f.Store.LinkFor(ctx, mailbox)
}

// keptLink is the token of a mailbox's link, if this machine has one.
// delivery.ErrNotFound.
func (f *Fleet) keptLink(ctx context.Context, mailbox string) (string, error) {
	return f.linkOf(ctx, f.vault.mailbox(mailbox))
}

// linkOf is keptLink of a mailbox as its rows have it.
func (f *Fleet) linkOf(ctx context.Context, mailbox string) (string, error) {
	var (
		body []byte
		l    linkBody
	)
	err := f.readers.QueryRowContext(ctx, "SELECT body FROM link WHERE mailbox = ?", mailbox).Scan(&body)
	if err != nil {
		return "", found(err)
	}
	err = f.box.openJSON("link", body, &l)
	return l.Token, err
}

// adoptLink keeps a link here that another machine may have made.
func (f *Fleet) adoptLink(ctx context.Context, l linkBody) error {
	_, err := write(ctx, f.Store, func(tx *txn) ([]byte, error) {
		return orMake(tx.row("SELECT body FROM link WHERE mailbox = ?", tx.vault.mailbox(l.Mailbox)), func() ([]byte, error) {
			return tx.addLink(f.box, l)
		})
	})
	return err
}

// shareLink makes a link known to all machines, and returns the token of the
// one that its mailbox has.
func (f *Fleet) shareLink(ctx context.Context, l linkBody) (string, error) {
	sealed, err := f.common.sealJSON("link", l)
	if err != nil {
		return "", err
	}
	kept, err := f.shared.KeepLink(ctx, f.vault.alias(l.Mailbox), hex.EncodeToString(tokenHash(l.Token)), sealed, sealed)
	if err != nil {
		return "", err
	}
	var common linkBody
	err = f.common.openJSON("link", kept, &common)
	return common.Token, err
}

// shareLinks makes every link of this machine known again.
func (f *Fleet) shareLinks(ctx context.Context) error {
	links, err := f.ownLinks(ctx)
	if err != nil {
		return err
	}
	for _, l := range links {
		if _, err := f.shareLink(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// LinkOwner implements delivery.Links, for the links of all machines.
func (f *Fleet) LinkOwner(ctx context.Context, token string) (string, error) {
	mailbox, err := f.Store.LinkOwner(ctx, token)
	if !errors.Is(err, delivery.ErrNotFound) {
		return mailbox, err
	}
	f.erasing.RLock() // a link that is erased meanwhile would stand again
	defer f.erasing.RUnlock()
	sealed, err := f.shared.LinkOwner(ctx, hex.EncodeToString(tokenHash(token)))
	if errors.Is(err, shared.ErrNotFound) {
		return "", delivery.ErrNotFound
	}
	if err != nil {
		return "", err
	}
	var l linkBody
	if err := f.common.openJSON("link", sealed, &l); err != nil {
		return "", err
	}
	return l.Mailbox, f.adoptLink(ctx, l) // it opens while Redis is away as well
}

// dropLink forgets in Redis the link that this machine has of a mailbox, as its
// rows have it: it may not be the one that all have.
func (f *Fleet) dropLink(ctx context.Context, mailbox, alias string) error {
	token, err := f.linkOf(ctx, mailbox)
	if errors.Is(err, delivery.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.shared.DropLink(ctx, alias, hex.EncodeToString(tokenHash(token)))
}

// dropLinks forgets a mailbox's link in Redis, and the one that this machine
// made.
func (f *Fleet) dropLinks(ctx context.Context, mailbox string) error {
	alias := f.vault.alias(mailbox)
	var tokens []string
	sealed, err := f.shared.LinkFor(ctx, alias)
	if err != nil && !errors.Is(err, shared.ErrNotFound) {
		return err
	}
	if err == nil {
		var l linkBody
		if err := f.common.openJSON("link", sealed, &l); err != nil {
			return err
		}
		tokens = append(tokens, l.Token)
	}
	own, err := f.keptLink(ctx, mailbox)
	if err != nil && !errors.Is(err, delivery.ErrNotFound) {
		return err
	}
	if err == nil {
		tokens = append(tokens, own)
	}
	for _, token := range tokens {
		if err := f.shared.DropLink(ctx, alias, hex.EncodeToString(tokenHash(token))); err != nil {
			return err
		}
	}
	return nil
}

// SigningKey implements delivery.Links: one key for all machines. It follows
// from the key file; without one it is the first that any machine had, from
// the next start on where Redis was away at this one.
func (f *Fleet) SigningKey(ctx context.Context) ([]byte, error) {
	if f.vault.seals() {
		return f.vault.derive("signing key"), nil
	}
	own, err := f.Store.SigningKey(ctx)
	if err != nil {
		return nil, err
	}
	if !f.shared.Up() { // it is asked before Run runs
		_ = f.shared.Reach(ctx)
	}
	common, err := f.shared.KeepSetting(ctx, "signing_key", own)
	if err != nil || string(common) == string(own) {
		return own, nil //nolint:nilerr // that Redis is away was said once
	}
	_, err = write(ctx, f.Store, func(tx *txn) (int64, error) {
		return tx.exec("UPDATE setting SET value = ? WHERE name = 'signing_key'", common)
	})
	if err != nil {
		return nil, fmt.Errorf("the signing key: %w", err)
	}
	return common, nil
}

// ownLinks are the links that this machine knows.
func (f *Fleet) ownLinks(ctx context.Context) ([]linkBody, error) {
	rows, err := f.readers.QueryContext(ctx, "SELECT body FROM link")
	return collect(rows, err, func(r scanner) (l linkBody, err error) {
		var body []byte
		if err := r.Scan(&body); err != nil {
			return l, err
		}
		return l, f.box.openJSON("link", body, &l)
	})
}

package shared

import (
	"context"
	"errors"
	"fmt"
)

// KeepLink binds a mailbox to a link, unless it has one, and returns the link
// it has. hash names the link without telling its token; link and owner are
// opaque: what LinkFor and LinkOwner return.
func (s *Shared) KeepLink(ctx context.Context, mailbox, hash string, link, owner []byte) ([]byte, error) {
	// The owner goes first: a link that nobody knows does no harm, one without
	// an owner would.
	if _, err := s.keep(ctx, ShardOf(hash), "owner:"+hash, owner); err != nil {
		return nil, fmt.Errorf("keep the link of a mailbox: %w", err)
	}
	kept, err := s.keep(ctx, ShardOf(mailbox), "link:"+mailbox, link)
	if err != nil {
		return nil, fmt.Errorf("keep the link of a mailbox: %w", err)
	}
	return kept, nil
}

// LinkFor returns the link that KeepLink kept of a mailbox. ErrNotFound.
func (s *Shared) LinkFor(ctx context.Context, mailbox string) ([]byte, error) {
	return s.get(ctx, ShardOf(mailbox), "link:"+mailbox)
}

// LinkOwner returns the owner of a link by its token's hash. ErrNotFound.
func (s *Shared) LinkOwner(ctx context.Context, hash string) ([]byte, error) {
	return s.get(ctx, ShardOf(hash), "owner:"+hash)
}

// DropLink forgets a mailbox's link, and its owner under the link's hash.
func (s *Shared) DropLink(ctx context.Context, mailbox, hash string) error {
	for _, drop := range []struct {
		shard int
		key   string
	}{{ShardOf(hash), "owner:" + hash}, {ShardOf(mailbox), "link:" + mailbox}} {
		if err := s.drop(ctx, drop.shard, drop.key); err != nil {
			return fmt.Errorf("drop the link of a mailbox: %w", err)
		}
	}
	return nil
}

// KeepSetting keeps a value under a name, unless there is one, and returns the
// one that all machines have.
func (s *Shared) KeepSetting(ctx context.Context, name string, value []byte) ([]byte, error) {
	kept, err := s.keep(ctx, ShardOf(name), "setting:"+name, value)
	if err != nil {
		return nil, fmt.Errorf("keep the setting %s: %w", name, err)
	}
	return kept, nil
}

// HasSetting says whether there is a value under a name.
func (s *Shared) HasSetting(ctx context.Context, name string) (bool, error) {
	_, err := s.get(ctx, ShardOf(name), "setting:"+name)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// DropSetting forgets a value.
func (s *Shared) DropSetting(ctx context.Context, name string) error {
	if err := s.drop(ctx, ShardOf(name), "setting:"+name); err != nil {
		return fmt.Errorf("drop the setting %s: %w", name, err)
	}
	return nil
}

func (s *Shared) drop(ctx context.Context, shard int, key string) error {
	if err := s.usable(shard); err != nil {
		return err
	}
	_, err := s.client.do(ctx, command{shard: shard, writes: true, args: []any{"DEL", prefix(shard) + key}})
	return err
}

// keep sets a value unless there is one, and returns the one that stands.
func (s *Shared) keep(ctx context.Context, shard int, key string, value []byte) ([]byte, error) {
	if err := s.usable(shard); err != nil {
		return nil, err
	}
	_, err := s.client.do(ctx, command{shard: shard, writes: true, args: []any{"SET", prefix(shard) + key, value, "NX"}})
	if err != nil {
		return nil, err
	}
	return s.get(ctx, shard, key)
}

package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/afterbeep/afterbeep/delivery/store/shared"
)

// RotateKeys is Store.RotateKeys, and with its last turn wraps anew what Redis
// has of this machine's notes. It fails while Redis is away: what lies there
// still needs the old keys. What all machines have in common, links above all,
// follows from the index, which is never turned.
func (f *Fleet) RotateKeys(ctx context.Context, keys []byte, after string) (last string, err error) {
	if last, err = f.Store.RotateKeys(ctx, keys, after); err != nil || last != "" {
		return last, err
	}
	if err := f.rotateParcels(ctx); err != nil {
		return "", fmt.Errorf("wrap the keys anew in Redis: %w; run this again when that is mended", err)
	}
	return "", nil
}

// rotateParcels replaces the parcels of this machine's notes that need another
// key than the first one.
func (f *Fleet) rotateParcels(ctx context.Context) error {
	if err := f.offering.pass(ctx); err != nil { // they may bring a parcel of before
		return err
	}
	first := f.vault.ring().first()
	for last := ""; ; {
		rows, err := f.readers.QueryContext(ctx, "SELECT id, mailbox FROM note WHERE id > ? AND state = 'rendered' ORDER BY id LIMIT ?", last, rotateBatch)
		page, err := collect(rows, err, func(r scanner) (p shared.Publication, err error) { return p, r.Scan(&p.ID, &p.Mailbox) })
		if err != nil || len(page) == 0 {
			return err
		}
		last = page[len(page)-1].ID
		for i := range page {
			page[i].Mailbox = f.vault.aliasOf(page[i].Mailbox)
		}
		if err := f.shared.Bodies(ctx, page); err != nil {
			return err
		}
		var old []shared.Publication
		for _, p := range page {
			if p.Body == nil || sealedWith(first, p.Body) {
				continue
			}
			fresh, err := f.publication(ctx, p.ID)
			if err != nil {
				return err
			}
			if fresh.ID != "" { // else it was erased meanwhile
				old = append(old, fresh)
			}
		}
		if err := f.shared.Rebody(ctx, old); err != nil {
			return err
		}
	}
}

// sealedWith says whether a parcel's key is wrapped with this one.
func sealedWith(key fileKey, body []byte) bool {
	var p parcel
	return json.Unmarshal(body, &p) == nil && bytes.HasPrefix(p.Key, key.id)
}

// pass waits until the notes that are being published now have been.
func (o *offering) pass(ctx context.Context) error {
	var before []string
	o.notes.Range(func(note, _ any) bool {
		before = append(before, note.(string))
		return true
	})
	for _, note := range before {
		for o.has(note) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}

package store

import (
	"context"
	"io"

	"github.com/afterbeep/afterbeep/delivery"
)

// Export writes a mailbox as a zip, see delivery.Export.
func (s *Store) Export(ctx context.Context, mailbox string, w io.Writer) error {
	return delivery.Export(ctx, s, mailbox, w)
}

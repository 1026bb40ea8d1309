package shared

import (
	"context"
	"strings"
	"time"
)

// News is a note that was published or marked.
type News struct {
	Mailbox string
	Note    string
}

// Watch hands what happens in any mailbox to tell, until ctx ends. Some may
// get lost: what matters is read again.
func (s *Shared) Watch(ctx context.Context, tell func(News)) {
	for ctx.Err() == nil {
		s.listen(ctx, tell)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// listen follows one subscription until it breaks.
func (s *Shared) listen(ctx context.Context, tell func(News)) {
	sub := s.client.PSubscribe(ctx, "afterbeep:{*}:news")
	defer func() { _ = sub.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer stop()
	for {
		m, err := sub.ReceiveMessage(ctx)
		if err != nil {
			return
		}
		if mailbox, note, ok := strings.Cut(m.Payload, " "); ok {
			tell(News{mailbox, note})
		}
	}
}

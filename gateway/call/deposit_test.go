package call

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/media"
)

// tape is a draft without audio on a store whose disk is full for a while.
type tape struct {
	delivery.Draft
	full     int // failures to come
	recorded int
	kept     []delivery.Note
	chains   []delivery.Chain
}

func (d *tape) Note() delivery.Note {
	return delivery.Note{ID: "06h0007dqpak5z3p5efbp7n79g", Recipient: delivery.Recipient{Number: "101"}, Partial: true}
}

func (d *tape) Records() delivery.RecordReader { return d }

func (d *tape) Next(context.Context) ([]byte, error) { return nil, io.EOF }

func (d *tape) Close() error { return nil }

func (d *tape) Recorded(context.Context, bool) error {
	d.recorded++
	return d.fail()
}

func (d *tape) Rendered(_ context.Context, n delivery.Note, _ []byte, chains []delivery.Chain) ([]delivery.Lease, error) {
	if err := d.fail(); err != nil {
		return nil, err
	}
	d.kept, d.chains = append(d.kept, n), chains
	return []delivery.Lease{{Job: "job"}}, nil
}

func (d *tape) fail() error {
	if d.full > 0 {
		d.full--
		return errors.New("no space left on device")
	}
	return nil
}

// drafts are what the last run left.
type drafts struct {
	delivery.Drafts
	left []delivery.Draft
}

func (d drafts) Unfinished(context.Context) ([]delivery.Draft, error) { return d.left, nil }

type deaf struct{}

func (deaf) CallBegan()             {}
func (deaf) CallEnded(Outcome)      {}
func (deaf) Received(media.Stats)   {}
func (deaf) Rendered(f media.Facts) { _ = f }

// What the last run left is finished, however often the disk says no, and the
// note is kept once.
func TestAFullDiskLosesNoNote(t *testing.T) {
	for full := range 5 {
		synctest.Test(t, func(t *testing.T) {
			draft := &tape{full: full}
			var delivered []delivery.Lease
			p := &Path{
				Directory: config.NewDirectory(nil), Renderers: media.NewRenderers(media.RenderersOptions{}),
				Drafts: drafts{left: []delivery.Draft{draft}}, Metrics: deaf{}, Log: slog.New(slog.DiscardHandler),
				Deliver: func(leases ...delivery.Lease) { delivered = append(delivered, leases...) },
			}
			ctx, stop := context.WithTimeout(t.Context(), time.Hour)
			defer stop()
			if err := p.Run(ctx); err != nil {
				t.Fatal(err)
			}
			if len(draft.kept) != 1 || len(delivered) != 1 || draft.recorded > full+1 {
				t.Fatalf("after %d failures: kept %d times, %d leases, recorded %d times", full, len(draft.kept), len(delivered), draft.recorded)
			}
			if n := draft.kept[0]; n.Kind != delivery.Missed || !n.Partial || n.EndedAt.IsZero() {
				t.Errorf("kept %+v", n)
			}
			if draft.chains[0][0].Channel != config.Inbox {
				t.Errorf("a mailbox that is no longer in the file delivers to %v, want the inbox", draft.chains)
			}
		})
	}
}

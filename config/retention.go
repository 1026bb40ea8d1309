package config

import (
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// MailboxRetention is a mailbox's own retention; what is nil is as for all.
type MailboxRetention struct {
	Audio    *time.Duration `yaml:"audio" example:"7d" help:"of the sound"`
	Metadata *time.Duration `yaml:"metadata" example:"365d" help:"of the rest"`
}

// over is the retention for all with what the mailbox has of its own.
func (own MailboxRetention) over(all delivery.Retention) delivery.Retention {
	if own.Audio != nil {
		all.Audio = *own.Audio
	}
	if own.Metadata != nil {
		all.Metadata = *own.Metadata
	}
	return all
}

func (d *decoder) checkRetention(key string, r delivery.Retention) {
	switch {
	case r.Metadata == 0:
	case r.Metadata < delivery.LeastMetadata:
		d.problem(key+".metadata", "expected %s or more, or 0s for ever: it keeps a note from being delivered twice", shortDuration(delivery.LeastMetadata))
	case r.Audio == 0 || r.Audio > r.Metadata:
		d.problem(key+".audio", "expected no more than metadata, %s: without its note a file means nothing", shortDuration(r.Metadata))
	}
}

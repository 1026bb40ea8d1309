package main

import (
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/afterbeep/afterbeep/delivery"
)

// filterFlags are the flags by which a command chooses notes.
func filterFlags(flags *pflag.FlagSet, f *delivery.Filter) {
	flags.StringVar(&f.Mailbox, "mailbox", "", "only this mailbox")
	flags.StringVar(&f.Channel, "channel", "", "only deliveries that stand at this channel")
	flags.Var(&moment{&f.Since}, "since", "only calls since then: a day (2026-11-20), a time (2026-11-20T08:00:00Z) or how long ago (48h)")
	flags.Var(&moment{&f.Until}, "until", "only calls before then, written like --since")
}

// moment is a flag that takes a time.
type moment struct{ at *time.Time }

var errMoment = errors.New("expected a day like 2026-11-20, a time like 2026-11-20T08:00:00Z, or how long ago, like 48h")

// Set reads a day, which begins at midnight here, a time of RFC 3339, or how
// long ago.
func (m *moment) Set(text string) error {
	at, err := parseMoment(text, time.Now())
	if err == nil {
		*m.at = at
	}
	return err
}

func parseMoment(text string, now time.Time) (time.Time, error) {
	if day, err := time.ParseInLocation(time.DateOnly, text, now.Location()); err == nil {
		return day, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, errMoment
}

// String writes the time.
func (m *moment) String() string {
	if m.at == nil || m.at.IsZero() {
		return ""
	}
	return m.at.Format(time.RFC3339)
}

// Type names what the flag takes.
func (*moment) Type() string { return "time" }

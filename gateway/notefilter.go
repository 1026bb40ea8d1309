package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/afterbeep/afterbeep/delivery"
)

// filterFlags are the flags by which a command chooses notes.
func filterFlags(flags *pflag.FlagSet, f *delivery.Filter) {
	flags.StringVar(&f.Mailbox, "mailbox", "", "only this mailbox")
	flags.StringVar(&f.Channel, "channel", "", "only deliveries that stand at this channel")
	flags.Var(&moment{&f.Since}, "since", "only calls since then: a day (2026-11-20), a time (2026-11-20T08:00:00Z) or how long ago (48h, 7d)")
	flags.Var(&moment{&f.Until}, "until", "only calls before then, written like --since")
}

// states are those of notes and deliveries.
func states() []string {
	return []string{"recording", "recorded", "rendered", "queued", "sending", "delivered", "dead"}
}

// checkFilter says what no note can answer to, which an empty list would hide.
func checkFilter(f delivery.Filter) error {
	switch {
	case f.State != "" && !slices.Contains(states(), f.State):
		return fmt.Errorf("there is no state %q: expected %s", f.State, strings.Join(states(), ", "))
	case f.Before != "" && !delivery.ValidID(f.Before):
		return fmt.Errorf("--before: %q is no note's id", f.Before)
	case !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until):
		return errors.New("--until is not after --since: no call can lie between them")
	}
	return nil
}

// moment is a flag that takes a time.
type moment struct{ at *time.Time }

var errMoment = errors.New("expected a day like 2026-11-20, a time like 2026-11-20T08:00:00Z, or how long ago, like 48h or 7d")

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
	if days, found := strings.CutSuffix(text, "d"); found {
		if n, err := strconv.ParseUint(days, 10, 15); err == nil && n > 0 {
			return now.AddDate(0, 0, -int(n)), nil
		}
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

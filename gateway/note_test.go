package main

import (
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

func TestNextText(t *testing.T) {
	at := time.Date(2026, 11, 22, 14, 3, 0, 0, time.Local)
	stamp := at.Format(time.RFC3339)
	for want, j := range map[string]delivery.Job{
		"":                                    {State: delivery.JobDelivered, NextAt: at},
		", next try " + stamp:                 {State: delivery.JobQueued, NextAt: at},
		", waits for a report until " + stamp: {State: delivery.JobQueued, NextAt: at, Waits: true},
	} {
		if got := nextText(j); got != want {
			t.Errorf("%+v: %q, want %q", j, got, want)
		}
	}
}

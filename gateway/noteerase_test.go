package main

import (
	"strings"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
)

func TestPrintErasure(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		erased delivery.Erasure
		want   string // its beginning
		also   string
	}{
		"no notes":          {delivery.Erasure{}, "there were no notes of this mailbox", ""},
		"no notes anywhere": {delivery.Erasure{Machines: 1}, "there were no notes of this mailbox", "calls under way on other machines are not erased"},
		"a note":            {delivery.Erasure{Notes: 1, Files: 2}, "erased 1 note, 2 files, ", ""},
		"one elsewhere":     {delivery.Erasure{Elsewhere: 1, Machines: 1}, "erased 0 notes, 0 files, ", "calls under way on other machines are not erased"},
		"a call under way":  {delivery.Erasure{InProgress: 1}, "erased 0 notes, 0 files, ", "not erased: 1 call under way on this machine"},
	} {
		var out strings.Builder
		if err := printErasure(&out, tt.erased); err != nil || !strings.HasPrefix(out.String(), tt.want) || !strings.Contains(out.String(), tt.also) {
			t.Errorf("%s: %v, said %q", name, err, out.String())
		}
	}
}

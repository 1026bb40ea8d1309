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
		want   string
	}{
		"no notes":          {delivery.Erasure{}, "there were no notes of this mailbox"},
		"no notes anywhere": {delivery.Erasure{Machines: 1}, "there were no notes of this mailbox"},
		"a note":            {delivery.Erasure{Notes: 1, Files: 2}, "erased 1 note, 2 files, "},
		"one elsewhere":     {delivery.Erasure{Elsewhere: 1, Machines: 1}, "erased 0 notes, 0 files, "},
		"a call under way":  {delivery.Erasure{InProgress: 1}, "erased 0 notes, 0 files, "},
	} {
		var out strings.Builder
		if err := printErasure(&out, tt.erased); err != nil || !strings.HasPrefix(out.String(), tt.want) {
			t.Errorf("%s: %v, said %q", name, err, out.String())
		}
	}
}

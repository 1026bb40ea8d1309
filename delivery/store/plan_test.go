package store

import (
	"slices"
	"strings"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
)

// What runs often, at a start or beside calls finds its rows by an index: a
// store holds a million notes.
func TestQueriesUseTheirIndexes(t *testing.T) {
	s := openStore(t, Options{Path: t.TempDir()})
	for _, q := range []struct{ query, index string }{
		{selectEnded, "note_ended ((ended_at,id)>(?,?)"},
		{pageQuery(delivery.Filter{Mailbox: "101"}), "note_mailbox (mailbox=? AND id>?"},
		{selectNewest, "COVERING INDEX note_mailbox"},
		{"SELECT id FROM job" + sendingHere, "job_state (state=?)"},
		{unsent, "event_epoch (job=? AND epoch=?"},
		{"SELECT 1 " + oldAttempts, "attempt_settled (settled=? AND began_at<?)"},
		{"SELECT 1 " + oldRelays, "MULTI-INDEX OR"},
		{"DELETE " + oldRelays, "MULTI-INDEX OR"},
		{eraseMemory, "memory_mailbox (mailbox=?)"},
		{anyHere, "COVERING INDEX job_due"},
		{countUntold, "job_untold"},
		{countStates, "COVERING INDEX job_state"},
		{countStates, "job_head (thread>? AND thread<?)"},
		{takeBack, "job_shared"},
		{promoteThread, "MULTI-INDEX OR"},
		{countThread, "MULTI-INDEX OR"},
		{keepAlone, "MULTI-INDEX OR"},
		{leadThread, "job_behind (thread=?)"},
	} {
		args := make([]any, strings.Count(q.query, "?"))
		rows, err := s.readers.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+q.query, args...)
		plan, err := collect(rows, err, func(r scanner) (detail string, err error) {
			var skip int
			return detail, r.Scan(&skip, &skip, &skip, &detail)
		})
		check(t, err)
		if slices.Contains(plan, "SCAN job") || !strings.Contains(strings.Join(plan, "; "), q.index) {
			t.Errorf("%s\n%q, want %s", q.query, plan, q.index)
		}
	}
}

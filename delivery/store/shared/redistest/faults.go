package redistest

import (
	"fmt"
	"testing"
	"time"
)

// What follows is done to a Replicated set-up.

// Failover kills the master and waits until the replica has its place.
func (s *Setup) Failover(tb testing.TB) {
	tb.Helper()
	s.Servers[0].Kill()
	s.Promoted(tb)
}

// Promoted has the replica take the place of a master that is silent, and waits
// until Sentinel says so.
func (s *Setup) Promoted(tb testing.TB) {
	tb.Helper()
	s.bear(downAfter)
	defer s.bear(downNever)
	s.Servers[1].Wait("INFO replication", Has("role:master"))
	port := fmt.Sprint(s.Servers[1].Port)
	s.sentinel.Wait("SENTINEL GET-MASTER-ADDR-BY-NAME main", func(v any) bool {
		at, _ := v.([]any)
		return len(at) == 2 && at[1] == port
	})
}

// Return has the old master, killed or paused before, come back as a replica of
// the new one, which is the first of Servers then.
func (s *Setup) Return(tb testing.TB) {
	tb.Helper()
	old, master := s.Servers[0], s.Servers[1]
	if old.cmd == nil {
		old.Start()
	} else {
		old.Resume()
	}
	old.Do(fmt.Sprintf("REPLICAOF 127.0.0.1 %d", master.Port))
	old.Wait("INFO replication", Has("master_link_status:up"))
	s.Servers[0], s.Servers[1] = master, old
}

// bear sets how long a master may be silent before its replica takes over.
func (s *Setup) bear(d time.Duration) {
	s.sentinel.Do(fmt.Sprintf("SENTINEL SET main down-after-milliseconds %d", d.Milliseconds()))
}

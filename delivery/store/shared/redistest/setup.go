package redistest

import (
	"fmt"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// How long Sentinel waits for a master that is silent: one that a test wants
// replaced, and one that merely stands still with the machine.
const (
	downAfter = 500 * time.Millisecond
	downNever = time.Minute
)

// Setup is what a URL leads to.
type Setup struct {
	URL     string
	Servers []*Server // the first is the master of a replicated set-up

	sentinel *Server
}

// Setups are the kinds of set-up, by name.
func Setups() map[string]func(testing.TB) *Setup {
	return map[string]func(testing.TB) *Setup{
		"single":   func(tb testing.TB) *Setup { tb.Helper(); return Single(tb) },
		"sentinel": Replicated,
		"cluster":  Cluster,
	}
}

// Single is one server; lines are added to its configuration.
func Single(tb testing.TB, lines ...string) *Setup {
	tb.Helper()
	s := start(tb, lines...)
	return &Setup{URL: "redis://" + s.Addr(), Servers: []*Server{s}}
}

// Replicated is a master and a replica, watched by a Sentinel. Its URL asks
// for one replica to have each write.
func Replicated(tb testing.TB) *Setup {
	tb.Helper()
	master := start(tb, "repl-diskless-sync-delay 0")
	replica := start(tb, "repl-diskless-sync-delay 0", fmt.Sprintf("replicaof 127.0.0.1 %d", master.Port))
	replica.Wait("INFO replication", Has("master_link_status:up"))
	sentinel := start(tb,
		fmt.Sprintf("sentinel monitor main 127.0.0.1 %d 1", master.Port),
		fmt.Sprintf("sentinel down-after-milliseconds main %d", downNever.Milliseconds()),
		"sentinel failover-timeout main 3000",
	)
	sentinel.Wait("SENTINEL REPLICAS main", func(v any) bool { list, _ := v.([]any); return len(list) == 1 })
	master.Wait("INFO replication", Has("connected_slaves:1"))
	return &Setup{
		URL:     fmt.Sprintf("redis+sentinel://%s/main?replicas=1", sentinel.Addr()),
		Servers: []*Server{master, replica}, sentinel: sentinel,
	}
}

// Guard has the Sentinel want a password from now on.
func (s *Setup) Guard(tb testing.TB, password string) {
	tb.Helper()
	s.sentinel.Do("ACL SETUSER default resetpass >" + password)
}

// Cluster is three masters without replicas.
func Cluster(tb testing.TB) *Setup {
	tb.Helper()
	const nodes, slots = 3, 16384
	s := &Setup{}
	for i := range nodes {
		node := start(tb, "cluster-enabled yes", "cluster-node-timeout 15000", fmt.Sprintf("cluster-port %d", peertest.Ports(tb, 1)))
		s.Servers = append(s.Servers, node)
		node.Do(fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", i*slots/nodes, (i+1)*slots/nodes-1))
		node.Do(fmt.Sprintf("CLUSTER SET-CONFIG-EPOCH %d", i+1))
	}
	first := s.Servers[0]
	for _, node := range s.Servers[1:] {
		var bus string
		for _, line := range node.args {
			if _, err := fmt.Sscanf(line, "cluster-port %s", &bus); err == nil {
				break
			}
		}
		first.Do(fmt.Sprintf("CLUSTER MEET 127.0.0.1 %d %s", node.Port, bus))
	}
	for _, node := range s.Servers {
		node.Wait("CLUSTER INFO", Has("cluster_state:ok"))
		node.Wait("CLUSTER INFO", Has("cluster_known_nodes:3"))
	}
	s.URL = "redis+cluster://" + first.Addr()
	return s
}

// Flush empties every server.
func (s *Setup) Flush() {
	for _, server := range s.Servers {
		_, _ = server.Try("FLUSHALL") // a replica refuses, and follows its master
	}
}

package store

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery/store/shared"
	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// machine is a gateway's store in a test, running.
type machine struct {
	*Fleet
	stop func() // ends Run
}

// Close ends it in order.
func (m *machine) Close() error {
	m.stop()
	return m.Fleet.Close()
}

// crash ends it without a last word to the others.
func (m *machine) crash(tb testing.TB) {
	tb.Helper()
	check(tb, m.shared.Close())
	m.stop()
	check(tb, m.Store.Close())
}

// startFleet starts a machine.
func startFleet(tb testing.TB, o Options, with shared.Options) *machine {
	tb.Helper()
	return startFleetLogging(tb, o, with, quiet())
}

func startFleetLogging(tb testing.TB, o Options, with shared.Options, log *slog.Logger) *machine {
	tb.Helper()
	with.URL, with.Answer = o.Redis, cmp.Or(with.Answer, 20*time.Second) // which outlasts a pause of the whole test machine
	f, err := openFleet(o, with, log)
	check(tb, err)
	f.every, f.lastWords = settleEvery/5, 20*time.Second
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	m := &machine{Fleet: f, stop: sync.OnceFunc(func() { cancel(); running.Wait() })}
	tb.Cleanup(func() {
		m.stop()
		closeStore(tb, m)
	})
	return m
}

// joinFleet starts a machine and waits until leases are given out.
func joinFleet(tb testing.TB, o Options) *machine {
	tb.Helper()
	m := startFleet(tb, o, shared.Options{})
	m.awaitReady(tb)
	return m
}

func (m *machine) awaitReady(tb testing.TB) {
	tb.Helper()
	eventually(tb, "the gates open", m.shared.Ready)
}

// eventually waits for something that other goroutines and processes do.
func eventually(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("%s: not within a minute", what)
		}
	}
}

// fleetSuite are the tests of the suite that concern what machines share.
func fleetSuite() map[string]func(*testing.T, composition) {
	return map[string]func(*testing.T, composition){
		"life of a note": testLifeOfANote, "missed note": testMissedNote, "steps out of order": testStepsOutOfOrder,
		"discard": testDiscard, "ids are checked": testIDsAreChecked,
		"retry waits": testRetryWaits, "unknown is remembered": testUnknownIsRemembered, "doubt outlives death": testDoubtOutlivesDeath, "chain and dead": testChainAndDead,
		"lease is fenced": testLeaseIsFenced, "release and put off": testReleaseAndPutOff, "thread order": testThreadOrder,
		"fresh is not starved": testFreshIsNotStarved, "workers share the queue": testWorkersShareTheQueue,
		"operator is told of a dead note": testOperatorIsToldOfADeadNote, "operator jobs block nothing": testOperatorJobsBlockNothing,
		"no operator": testNoOperator, "start": testStart,
		"waiting is settled": testWaitingIsSettled, "waiting is over": testWaitingIsOver, "late report": testLateReport,
		"report settles the unknown": testReportSettlesTheUnknown, "report of a target": testReportOfATarget, "refused": testRefused, "delivered is not refused": testDeliveredIsNotRefused,
		"asked for": testAskedFor, "bounced": testBounced, "report while sending": testReportWhileSending, "erase takes reports": testEraseTakesReports,
		"erase beside a send": testEraseBesideASend,
		"operator events":     testOperatorEvents, "delivered is not dead": testDeliveredIsNotDead,
		"list": testList, "thread": testThread, "mark": testMark,
		"memory": testMemory, "memory ends": testMemoryEnds, "memory at once": testMemoryAtOnce, "chats": testChats,
	}
}

// TestFleetSuite runs the suite over each kind of Redis. In the Cluster the
// store is sealed.
func TestFleetSuite(t *testing.T) {
	t.Parallel()
	for name, start := range redistest.Setups() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := start(t)
			c := composition{name: name, fleet: true, options: func(tb testing.TB, path string) Options {
				tb.Helper()
				o := Options{Path: path, Redis: setup.URL}
				if name == "cluster" {
					o.KeyFile = writeKeys(tb, testIndex+testKey)
				}
				return o
			}}
			for what, test := range fleetSuite() {
				t.Run(what, func(t *testing.T) {
					setup.Flush()
					test(t, c)
				})
			}
		})
	}
}

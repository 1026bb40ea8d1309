package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"testing"
)

// fault is what must not cost a note, and the tests that provoke it, each
// written FOLDER.TEST.
type fault struct {
	number int
	what   string
	proofs []string
}

// faults are those of fault_root_test.go too, which deploy/faults.sh runs.
func faults() []fault {
	return []fault{
		{1, "crash in mid-call", []string{"gateway.TestKilledDuringTheCall", "store.TestKill"}},
		{2, "crash between the intent and the request", []string{"gateway.TestKilledAroundTheRequest", "store.TestCrashBetweenSteps"}},
		{3, "crash after the request, before its answer is kept", []string{"gateway.TestKilledAroundTheRequest", "store.TestCrashBetweenSteps"}},
		{4, "crash loop at start", []string{"gateway.TestKilledWhileItRecovers", "store.TestKill"}},
		{5, "power cut", []string{"gateway.TestPowerCut"}},
		{6, "torn or flipped file", []string{"store.TestDamagedFrames", "store.TestDamagedTape", "store.TestDamagedFile", "store.TestDamagedDatabase"}},
		{7, "disk full before the answer", []string{"gateway.TestDiskFullBeforeTheAnswer", "store.TestFullDisk"}},
		{8, "disk full in mid-call", []string{"gateway.TestDiskFullDuringTheCall"}},
		{9, "disk full when a delivery is to be kept", []string{"gateway.TestDiskFullAtTheReceipt", "store.TestBallastKeepsADelivery", "store.TestFullDatabase"}},
		{10, "fsync error", []string{"store.TestFailedSync"}},
		{11, "file system turns read-only", []string{"gateway.TestDiskTurnsReadOnly"}},
		{12, "Redis down", []string{
			"gateway.TestRedisIsDown", "gateway.TestRedisIsAwayForLong", "gateway.TestMachinesShareTheirNotes",
			"store.TestFleetWithoutRedis", "shared.TestAwayDoesNotCount",
		}},
		{13, "Redis stalled", []string{"gateway.TestRedisStandsStill", "gateway.TestSoak", "store.TestFleetForgetfulRedis", "shared.TestStallLeavesOneEntry", "shared.TestLostClaim"}},
		{14, "failover that loses writes", []string{"gateway.TestSoak", "store.TestFleetForgetfulRedis", "shared.TestFailoverLosesWrites", "shared.TestTooFewReplicas"}},
		{15, "Redis flushed, restarted or full", []string{
			"gateway.TestSoak", "store.TestFleetForgetfulRedis", "store.TestFleetForgottenFile",
			"shared.TestForgetful", "shared.TestMissingMachine", "shared.TestFull",
		}},
		{16, "one-way partition", []string{"gateway.TestOneWayPartition"}},
		{17, "chat service down for days", []string{"store.TestServiceDownForDays", "delivery.TestServiceDeadForEightDays"}},
		{18, "answer lost, slow, 429, redirect", []string{"gateway.TestStrangeAnswers", "channel.TestSuiteFaults"}},
		{19, "clock set a year forth or back", []string{
			"store.TestClockAtAStart", "store.TestClockWhileRunning", "store.TestRetentionWaitsAfterAJump", "delivery.TestWorkerGoesByTheQueuesClock",
		}},
		{20, "upgrade, store of a later program, second process", []string{
			"store.TestUpgrade", "store.TestSealingIsInterrupted", "store.TestNewerSchemaIsRefused",
			"store.TestSecondProcessIsRefused", "gateway.TestSecondGatewayIsRefused",
			"gateway.TestRollingUpgrade", "shared.TestRollingUpgrade", "shared.TestNewerFormat",
		}},
	}
}

func TestEveryFaultHasItsTest(t *testing.T) {
	var tests []string
	for _, folder := range []string{".", "../delivery", "../delivery/store", "../delivery/store/shared", "../delivery/channel"} {
		tests = append(tests, testsIn(t, folder)...)
	}
	if len(faults()) != 20 {
		t.Errorf("%d faults stand in the table, want 20", len(faults()))
	}
	for i, f := range faults() {
		if f.number != i+1 {
			t.Errorf("fault %d stands in the place of fault %d", f.number, i+1)
		}
		for _, proof := range f.proofs {
			if !slices.Contains(tests, proof) {
				t.Errorf("fault %d, %s: there is no test %s", f.number, f.what, proof)
			}
		}
	}
}

// testsIn are the tests of a folder, FOLDER.TEST.
func testsIn(t *testing.T, folder string) (tests []string) {
	t.Helper()
	whole, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(whole, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", whole, err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				tests = append(tests, filepath.Base(whole)+"."+f.Name.Name)
			}
		}
	}
	return tests
}

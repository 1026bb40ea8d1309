package shared

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery/store/shared/redistest"
)

// duo is a test of two machines.
type duo struct {
	*testing.T
	a, b *machine
}

// TestSuite runs every behaviour on every kind of set-up. The mailboxes differ,
// so that they need no new servers.
func TestSuite(t *testing.T) {
	t.Parallel()
	for name, start := range redistest.Setups() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := start(t)
			a, b := join(t, setup.URL, "a"), join(t, setup.URL, "b")
			for name, test := range map[string]func(duo){
				"life": testLife, "publish twice": testPublishTwice, "late job": testLateJob, "thread": testThread, "turns": testTurns,
				"chain": testChain, "give back": testGiveBack, "redrive": testRedrive, "delivered wins": testDeliveredWins,
				"inbox": testInbox, "erase": testErase, "links": testLinks, "take": testTake, "watch": testWatch,
			} {
				t.Run(name, func(t *testing.T) {
					test(duo{t, a, b})
					a.depth(t, 0, 0, 0)
					a.drain(t)
					b.drain(t)
				})
			}
		})
	}
}

func testLife(t duo) {
	a, b := t.a, t.b
	if j := a.publish(t, "life", "01", false); j.State != Queued || j.Leased {
		t.Fatalf("published: %+v", j)
	}
	ls := b.claim(t, 10)
	if len(ls) != 1 || string(ls[0].Body) != "body of life-01" || ls[0].Attempt != 1 || ls[0].Home != "a" || string(ls[0].Chain) != "\x00\xff\x00" {
		t.Fatalf("claimed %+v", ls)
	}
	l := ls[0].Job
	if !b.Held(l.ID, l.Epoch) || a.Held(l.ID, l.Epoch) {
		t.Error("the lease is held by the wrong machine")
	}
	if len(a.claim(t, 10)) != 0 {
		t.Error("claimed what is being sent")
	}
	if again := b.finish(t, l, "retry"); again.State != Queued || again.Attempt != 1 || b.Held(l.ID, l.Epoch) {
		t.Errorf("after retry: %+v", again)
	}
	l = b.claimOne(t).Job
	if l.Attempt != 2 || l.Unknown != 0 || l.First.IsZero() {
		t.Errorf("claimed again: %+v", l)
	}
	b.finish(t, l, "unknown")
	if l = a.claimOne(t).Job; l.Unknown != 1 || l.Epoch != 3 {
		t.Errorf("after unknown: %+v", l)
	}
	if got := a.finish(t, l, "done"); got.State != Delivered || len(got.Chain) != 0 {
		t.Errorf("after done: %+v", got)
	}
	_, _, err := a.Finish(t.Context(), l, Result{Outcome: "retry"})
	expect(t, err, ErrFenced)
	var names []string
	for _, m := range a.drain(t) {
		names = append(names, m.Name)
		if m.Name == "retry" && (string(m.Event) != "event\x00\xff" || m.Job != l.ID || m.Note != "life-01" || m.State != Queued || m.Attempt != 1) {
			t.Errorf("message %+v", m)
		}
	}
	if want := []string{"sending", "retry", "sending", "unknown"}; !slices.Equal(names, want) {
		t.Errorf("messages %v, want %v", names, want)
	}
}

func testPublishTwice(t duo) {
	a, b := t.a, t.b
	publish := func(again bool) []Job {
		jobs, err := a.Publish(t.Context(), publication("twice", "01", 2), again, true)
		check(t, err)
		return jobs
	}
	first, again := publish(false), publish(true)
	for i, j := range again {
		if !first[i].Leased || j.Leased || j.State != Sending || j.Epoch != first[i].Epoch || j.Attempt != 1 || j.Pos != i {
			t.Errorf("published %+v, again %+v", first[i], j)
		}
		a.finish(t, j, "done")
	}
	for _, j := range publish(true) {
		if j.State != Delivered || j.Leased || len(b.claim(t, 10)) != 0 {
			t.Errorf("after delivery: %+v", j)
		}
	}
}

// testLateJob: a job that joins a note later is erased with it, and nothing waits
// behind it any more.
func testLateJob(t duo) {
	a, b := t.a, t.b
	a.publish(t, "late", "01", false)
	_, err := a.Publish(t.Context(), publication("late", "01", 2), true, false)
	check(t, err)
	_, err = a.Erase(t.Context(), "late", "late-01")
	check(t, err)
	a.depth(t, 0, 0, 0)
	next := publication("late", "02", 2)
	_, err = a.Publish(t.Context(), next, false, false)
	check(t, err)
	ls := b.claim(t, 10)
	for _, l := range ls {
		b.finish(t, l.Job, "done")
	}
	if len(ls) != 2 {
		t.Errorf("claimed %+v", ls)
	}
}

// testThread: whatever order machines publish in, a thread goes out in order,
// one at a time.
func testThread(t duo) {
	a, b := t.a, t.b
	b.publish(t, "thread", "02", false)
	a.publish(t, "thread", "03", false)
	a.publish(t, "thread", "01", false)
	for i, want := range []string{"01", "02", "03"} {
		m := []*machine{a, b}[i%2]
		ls := m.claim(t, 10)
		if len(ls) != 1 || ls[0].Note != "thread-"+want {
			t.Fatalf("claimed %+v, want note %s", ls, want)
		}
		if i == 0 {
			a.publish(t, "thread", "00", false)                 // older, but too late
			a.finish(t, a.finishFirst(t, b, ls[0].Job), "done") // once more: no harm
			continue
		}
		m.finish(t, ls[0].Job, "done")
	}
}

// finishFirst ends a lease and the job that came after it, and returns that.
func (m *machine) finishFirst(tb testing.TB, other *machine, j Job) Job {
	tb.Helper()
	m.finish(tb, j, "done")
	l := other.claimOne(tb)
	if l.Note != "thread-00" {
		tb.Fatalf("the next of the thread is %s", l.Note)
	}
	other.finish(tb, l.Job, "done")
	return l.Job
}

// retire drops a note of a mailbox, or its audio alone.
func (m *machine) retire(tb testing.TB, mailbox, id string, audioOnly bool) error {
	tb.Helper()
	return m.Retire(tb.Context(), []Retirement{{ID: id, Mailbox: mailbox, AudioOnly: audioOnly}})[0]
}

func testTurns(t duo) {
	a, b := t.a, t.b
	var all []Lease
	for i := range 6 { // one shard, six threads
		p := publication("turns", fmt.Sprintf("%02d", i), 1)
		p.Jobs[0].Thread = fmt.Sprintf("turns-%d", i)
		if i < 3 {
			p.Jobs[0].Attempt, p.Jobs[0].First = 1, time.Now()
		}
		_, err := a.Publish(t.Context(), p, false, false)
		check(t, err)
		time.Sleep(2 * time.Millisecond)
	}
	all = b.claim(t, 4)
	var order []string
	for _, l := range all {
		order = append(order, strings.TrimPrefix(l.Note, "turns-"))
	}
	if got := fmt.Sprint(order); got != "[05 00 04 01]" && got != "[00 05 01 04]" {
		t.Errorf("claimed %v, want the newest and the oldest by turns", got)
	}
	for _, l := range append(all, a.claim(t, 16)...) {
		b.finish(t, l.Job, "done")
		a.finish(t, l.Job, "done")
	}
}

func testChain(t duo) {
	a, b := t.a, t.b
	j := a.publish(t, "chain", "01", true)
	if j = a.finish(t, j, "dead"); j.State != Queued || j.Step != 1 || j.Attempt != 0 || !j.First.IsZero() {
		t.Fatalf("at the next target: %+v", j)
	}
	j = b.claimOne(t).Job
	if j = b.finish(t, j, "dead"); j.State != Dead {
		t.Fatalf("at the end of the chain: %+v", j)
	}
	a.depth(t, 0, 0, 1)
	expect(t, a.retire(t, "chain", "chain-01", false), nil)
}

func testGiveBack(t duo) {
	a, b := t.a, t.b
	j := a.publish(t, "back", "01", true)
	check(t, a.PutOff(t.Context(), j, 3*time.Second))
	expect(t, a.Release(t.Context(), j), ErrFenced)
	if len(b.claim(t, 1)) != 0 {
		t.Error("claimed before its time")
	}
	due, err := b.NextDue(t.Context())
	check(t, err)
	if d := time.Until(due); d <= 0 || d > 3*time.Second {
		t.Errorf("due in %v", d)
	}
	l := b.claimOne(t).Job
	if l.Attempt != 1 || l.First.Sub(j.First).Abs() > 2*time.Second {
		t.Errorf("claimed %+v after %+v", l, j)
	}
	check(t, b.Release(t.Context(), l))
	b.finish(t, b.claimOne(t).Job, "done")
}

func testRedrive(t duo) {
	a, b := t.a, t.b
	j := a.publish(t, "redrive", "01", true)
	a.finish(t, j, "unknown")
	a.finish(t, a.claimOne(t).Job, "dead")
	a.finish(t, a.claimOne(t).Job, "dead")
	jobs, err := b.Redrive(t.Context(), "redrive", "redrive-01")
	check(t, err)
	if len(jobs) != 1 || jobs[0].Step != 0 || jobs[0].Unknown != 1 || jobs[0].Round != 1 {
		t.Errorf("redriven %+v", jobs)
	}
	_, err = b.Redrive(t.Context(), "redrive", "redrive-02")
	expect(t, err, ErrNotFound)
	expect(t, b.retire(t, "redrive", "redrive-01", false), ErrBusy)
	b.finish(t, b.claimOne(t).Job, "done")
}

// testDeliveredWins: that a note arrived is kept whoever holds its job now.
func testDeliveredWins(t duo) {
	a, b := t.a, t.b
	j := a.publish(t, "wins", "01", true)
	a.finish(t, j, "retry")
	l := b.claimOne(t).Job
	if got := a.finish(t, j, "done"); got.State != Sending {
		t.Errorf("under way elsewhere: %+v", got)
	}
	if got := b.finish(t, l, "retry"); got.State != Delivered {
		t.Errorf("its end: %+v", got)
	}
	j = a.publish(t, "wins", "02", true)
	a.finish(t, j, "retry")
	if got := a.finish(t, j, "done"); got.State != Delivered || len(b.claim(t, 1)) != 0 {
		t.Errorf("queued: %+v", got)
	}
	j = a.publish(t, "wins", "03", true)
	a.finish(t, j, "dead")
	a.finish(t, a.claimOne(t).Job, "dead")
	if got := b.finish(t, j, "done"); got.State != Delivered {
		t.Errorf("dead: %+v", got)
	}
}

func testInbox(t duo) {
	a, b := t.a, t.b
	for _, id := range []string{"03", "01", "02"} {
		a.finish(t, a.publish(t, "inbox", id, true), "done")
	}
	page, err := b.Thread(t.Context(), "inbox", "", 2)
	check(t, err)
	rest, err := b.Thread(t.Context(), "inbox", "inbox-02", 2)
	check(t, err)
	if len(page) != 2 || len(rest) != 1 || page[0].ID != "inbox-03" || rest[0].ID != "inbox-01" || string(rest[0].Body) != "body of inbox-01" {
		t.Errorf("pages %+v, %+v", page, rest)
	}
	for _, want := range []bool{true, false} {
		if first, err := b.Mark(t.Context(), "inbox", "inbox-02", "played"); err != nil || first != want {
			t.Errorf("marked: %v, %v", first, err)
		}
	}
	_, err = b.Mark(t.Context(), "inbox", "inbox-09", "played")
	expect(t, err, ErrNotFound)
	n, err := b.Note(t.Context(), "inbox-02")
	check(t, err)
	if n.Mailbox != "inbox" || n.Played.IsZero() || !n.Read.IsZero() || n.Home != "a" || !n.Audio {
		t.Errorf("note %+v", n)
	}
	if ms := a.drain(t); len(ms) != 1 || ms[0].Name != "played" || ms[0].Note != "inbox-02" {
		t.Errorf("messages %+v", ms)
	}
	audio, err := b.Audio(t.Context(), "inbox", "inbox-02")
	check(t, err)
	if string(audio) != "audio of inbox-02" {
		t.Errorf("audio %q", audio)
	}
	check(t, a.retire(t, "inbox", "inbox-02", true))
	_, err = b.Audio(t.Context(), "inbox", "inbox-02")
	expect(t, err, ErrNotFound)
	page, err = b.Thread(t.Context(), "inbox", "", 2)
	check(t, err)
	if len(page) != 2 || !page[0].Audio || page[1].Audio || page[1].Played.IsZero() {
		t.Errorf("without the audio of one: %+v", page)
	}
	check(t, a.retire(t, "inbox", "inbox-02", false))
	_, err = a.Publish(t.Context(), publication("inbox", "02", 1), true, false) // it was under way
	check(t, err)
	_, err = b.Note(t.Context(), "inbox-02")
	expect(t, err, ErrNotFound)
}

func testErase(t duo) {
	a, b := t.a, t.b
	version := a.ErasureVersion(ShardOf("erase"))
	j := a.publish(t, "erase", "01", true)
	a.publish(t, "erase", "02", false)
	a.publish(t, "erase", "04", false)
	n, err := b.Erase(t.Context(), "erase", "erase-03")
	check(t, err)
	if n != 2 {
		t.Errorf("%d notes erased", n)
	}
	_, _, err = a.Finish(t.Context(), j, Result{Outcome: "retry"})
	expect(t, err, ErrFenced)
	late := publication("erase", "03", 1)
	_, err = a.Publish(t.Context(), late, false, true)
	expect(t, err, ErrErased)
	if late.Outlives = "erase-03"; a.notesAfter(t, late) != 2 {
		t.Error("a note whose call was under way was refused")
	}
	if n, err = b.Erase(t.Context(), "erase", "erase-03"); err != nil || n != 0 || a.notesAfter(t, late) != 2 {
		t.Errorf("told again, the erasure took %d notes, %v", n, err)
	}
	if n, err = b.Erase(t.Context(), "erase", "erase-03z"); err != nil || n != 1 {
		t.Errorf("a further erasure took %d notes, %v", n, err)
	}
	_, err = a.Publish(t.Context(), late, true, false)
	expect(t, err, ErrErased)
	_, err = b.Audio(t.Context(), "erase", "erase-01")
	expect(t, err, ErrNotFound)
	last, err := a.Erasures(t.Context(), ShardOf("erase"))
	check(t, err)
	if last["erase"] != "erase-03z" {
		t.Errorf("erasures %v", last)
	}
	eventually(t, "the version of the erasures changes", func() bool { return a.ErasureVersion(ShardOf("erase")) != version })
	l := b.claimOne(t)
	if l.Note != "erase-04" {
		t.Errorf("claimed %s", l.Note)
	}
	b.finish(t, l.Job, "done")
	names := map[string]int{}
	for _, m := range a.drain(t) {
		names[m.Name]++
	}
	if names["erased"] != 3 {
		t.Errorf("messages %v", names)
	}
}

func testLinks(t duo) {
	a, b := t.a, t.b
	ctx := t.Context()
	_, err := a.LinkFor(ctx, "links")
	expect(t, err, ErrNotFound)
	for _, m := range []*machine{a, b} {
		got, err := m.KeepLink(ctx, "links", "hash-of-"+m.o.Machine, []byte("token "+m.o.Machine), []byte("links"))
		check(t, err)
		if string(got) != "token a" {
			t.Errorf("link %q", got)
		}
		key, err := m.KeepSetting(ctx, "key", []byte(m.o.Machine))
		check(t, err)
		if string(key) != "a" {
			t.Errorf("setting %q", key)
		}
	}
	owner, err := b.LinkOwner(ctx, "hash-of-a")
	check(t, err)
	if string(owner) != "links" {
		t.Errorf("owner %q", owner)
	}
}

package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// children are what the test binary does as a child that is to be killed.
func children() map[string]func() {
	return map[string]func(){
		"work":   func() { childWork(true) },
		"settle": func() { childWork(false) },
	}
}

// childWork takes up what is left in the store, and then, if it shall go on,
// records and delivers notes until it is killed. It says on its standard
// output what the store has promised, as soon as it has.
func childWork(goOn bool) {
	must := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	s, err := Open(Options{Path: os.Getenv("AFTERBEEP_STORE_PATH")}, quiet())
	must(err)
	drafts, err := s.Unfinished(ctx)
	must(err)
	for _, d := range drafts {
		_, err := d.Rendered(ctx, d.Note(), []byte("recovered"), []delivery.Chain{chainTo("crm")})
		must(err)
	}
	for {
		leases, err := s.Claim(ctx, 16)
		must(err)
		if len(leases) == 0 {
			break
		}
		for _, l := range leases {
			must(s.Finish(ctx, l, delivery.Result{Outcome: delivery.Done}))
		}
	}
	var calls sync.WaitGroup
	for caller := range 4 {
		calls.Go(func() {
			for goOn {
				must(childCall(ctx, s, fmt.Sprint(caller)))
			}
		})
	}
	calls.Wait()
	must(s.Close())
}

func childCall(ctx context.Context, s *Store, caller string) error {
	n := newNote("101", caller)
	d, err := s.Begin(ctx, n, 1<<16)
	if err != nil {
		return err
	}
	fmt.Println("begun", n.ID, 0)
	records := 1 + rand.IntN(40)
	for i := range records {
		if err := d.Append(recordOf(n.ID, i)); err != nil {
			return err
		}
		fmt.Println("appended", n.ID, i+1)
	}
	if err := d.Recorded(ctx, false); err != nil {
		return err
	}
	fmt.Println("recorded", n.ID, records)
	leases, err := d.Rendered(ctx, d.Note(), []byte("file of "+n.ID), []delivery.Chain{chainTo("crm")})
	if err != nil {
		return err
	}
	fmt.Println("rendered", n.ID, records)
	for _, l := range leases {
		if err := s.Finish(ctx, l, delivery.Result{Outcome: delivery.Done}); err != nil {
			return err
		}
		fmt.Println("delivered", n.ID, records)
	}
	return nil
}

func recordOf(id string, i int) []byte {
	return fmt.Appendf(nil, "record %d of %s %s", i, id, strings.Repeat("x", i*53))
}

// promise is what the child last said of a note.
type promise struct {
	step    string
	records int
}

// run runs a child on the store at path and returns what it promised. After
// life it is killed, wherever it is then; 0 lets it end.
func run(t *testing.T, what, path string, life time.Duration) map[string]promise {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) // its own tests must not run: see TestMain
	cmd.Env = append(os.Environ(), childEnv+"="+what, "AFTERBEEP_STORE_PATH="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	if life > 0 {
		time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
	}
	said, err := io.ReadAll(out)
	check(t, err)
	if err := cmd.Wait(); life == 0 {
		check(t, err)
	}
	promises := map[string]promise{}
	for line := range strings.Lines(string(said)) {
		var id string
		var p promise
		if n, _ := fmt.Sscan(line, &p.step, &id, &p.records); n == 3 {
			promises[id] = p
		}
	}
	return promises
}

// Killed at any moment, even while it takes up what the last one left, the
// store keeps what it promised: every record whose Append returned, every note
// that was recorded, every file and delivery.
func TestKill(t *testing.T) {
	path := t.TempDir()
	promised := map[string]promise{}
	for range 8 {
		for id, p := range run(t, "work", path, time.Duration(30+rand.IntN(170))*time.Millisecond) {
			promised[id] = p
		}
		s := openAt(t, path)
		for id, p := range promised {
			checkPromise(t, s, id, p)
		}
		if rand.IntN(2) == 0 { // else the next child finds them as they are
			_, err := s.Unfinished(t.Context())
			check(t, err)
		}
		check(t, s.Close())
	}
	if len(promised) == 0 {
		t.Fatal("no child lived long enough to promise anything")
	}
	run(t, "settle", path, 0)
	s := openAt(t, path)
	for id, p := range promised {
		l := life(t, s, id)
		if l.Note.State != delivery.Rendered || len(l.Jobs) != 1 || l.Jobs[0].State != delivery.JobDelivered {
			t.Errorf("note %s, once %s, ended as %s with %+v", id, p.step, l.Note.State, l.Jobs)
		}
	}
	depth, err := s.Depth(t.Context())
	if err != nil || depth["queued"]+depth["sending"]+depth["dead"] != 0 {
		t.Errorf("depth %v, %v", depth, err)
	}
}

// checkPromise compares what a child said of a note with what is there.
func checkPromise(t *testing.T, s *Store, id string, p promise) {
	t.Helper()
	l, err := s.Life(t.Context(), id)
	if err != nil {
		t.Errorf("note %s was %s: %v", id, p.step, err)
		return
	}
	tape, _, err := recoverTape(s.tapePath(id))
	check(t, err)
	records, err := read(t, tape.follow())
	if err != nil || len(records) < p.records {
		t.Errorf("%d of %d records of note %s: %v", len(records), p.records, id, err)
	}
	for i, r := range records {
		if r != string(recordOf(id, i)) {
			t.Errorf("record %d of note %s differs", i, id)
		}
	}
	reached := slices.Index([]string{"begun", "appended", "recorded", "rendered", "delivered"}, p.step)
	if reached >= 2 && (l.Note.State == delivery.Recording || l.Note.Partial) {
		t.Errorf("note %s was recorded whole and is %s, partial %v", id, l.Note.State, l.Note.Partial)
	}
	if reached >= 3 {
		f, _, err := s.Open(t.Context(), id)
		if err != nil {
			t.Errorf("the file of note %s: %v", id, err)
			return
		}
		if b, err := io.ReadAll(f); err != nil || string(b) != "file of "+id {
			t.Errorf("the file of note %s holds %q, %v", id, b, err)
		}
		check(t, f.Close())
	}
	if reached >= 4 && l.Jobs[0].State != delivery.JobDelivered {
		t.Errorf("note %s was delivered and is %s", id, l.Jobs[0].State)
	}
}

// images copies a store's folder as it stands, as a crash would leave it.
type images struct {
	t    *testing.T
	from string
	list map[string]string // name to folder
}

func (i *images) take(name string) {
	to := filepath.Join(i.t.TempDir(), "image")
	check(i.t, os.CopyFS(to, os.DirFS(i.from)))
	i.list[name] = to
}

// A crash between each pair of steps: the store is opened again as it stood
// there, and from every place the note ends delivered, by one job.
func TestCrashBetweenSteps(t *testing.T) {
	img := &images{t: t, from: t.TempDir(), list: map[string]string{}}
	atSync := ""
	d := realDisk()
	d.sync = func(f *os.File) error {
		if atSync != "" {
			img.take(atSync)
		}
		return syncFS(f)
	}
	s, err := open(Options{Path: img.from}, quiet(), d)
	check(t, err)
	defer closeStore(t, s)
	ctx, n := t.Context(), newNote("101", "201")
	dr := begin(t, s, n)
	img.take("begun")
	check(t, dr.Append([]byte("one")))
	check(t, dr.Append([]byte("two")))
	img.take("appended")
	atSync = "tape ended"
	check(t, dr.Recorded(ctx, false))
	img.take("recorded")
	atSync = "file written"
	leases, err := dr.Rendered(ctx, dr.Note(), []byte("OggS"), []delivery.Chain{chainTo("crm")})
	check(t, err)
	atSync = ""
	img.take("rendered")
	finish(t, s, leases[0], delivery.Result{Outcome: delivery.Retry})
	img.take("queued")
	again := claim(t, s, 1)
	img.take("claimed")
	finish(t, s, again[0], delivery.Result{Outcome: delivery.Done})
	img.take("delivered")

	tests := []struct {
		at      string
		records string // on the tape of the draft that is handed out; "-" for none
		partial bool
		attempt int // of the lease that is given out then, 0 for none
		unknown bool
	}{
		{"begun", "", true, 1, false},
		{"appended", "one two", true, 1, false},
		{"tape ended", "one two", true, 1, false},
		{"recorded", "one two", false, 1, false},
		{"file written", "one two", false, 1, false},
		{"rendered", "-", false, 2, true},
		{"queued", "-", false, 2, false},
		{"claimed", "-", false, 3, true},
		{"delivered", "-", false, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.at, func(t *testing.T) {
			path, ok := img.list[tt.at]
			if !ok {
				t.Fatal("no image was taken there")
			}
			s := openAt(t, path)
			drafts, err := s.Unfinished(ctx)
			check(t, err)
			var leases []delivery.Lease
			if (len(drafts) == 1) != (tt.records != "-") {
				t.Fatalf("%d drafts", len(drafts))
			}
			for _, d := range drafts {
				records, err := read(t, d.Records())
				if got := strings.Join(records, " "); err != nil || got != tt.records {
					t.Errorf("the tape holds %q, %v", got, err)
				}
				if n := d.Note(); n.Partial != tt.partial || n.State != delivery.Recorded {
					t.Errorf("the draft is %s, partial %v", n.State, n.Partial)
				}
				check(t, d.Recorded(ctx, false)) // nothing to do
				leases, err = d.Rendered(ctx, d.Note(), []byte("OggS"), []delivery.Chain{chainTo("crm")})
				check(t, err)
			}
			leases = append(leases, claim(t, s, 10)...)
			if (len(leases) == 1) != (tt.attempt > 0) {
				t.Fatalf("leases %+v", leases)
			}
			for _, l := range leases {
				if l.Attempt != tt.attempt || l.Unknown != tt.unknown || l.Note.Partial != tt.partial {
					t.Errorf("lease %+v", l)
				}
				finish(t, s, l, delivery.Result{Outcome: delivery.Done})
			}
			l := life(t, s, n.ID)
			if len(l.Jobs) != 1 || l.Jobs[0].State != delivery.JobDelivered {
				t.Errorf("ended with %+v", l.Jobs)
			}
			if more, err := s.Unfinished(ctx); err != nil || len(more) != 0 {
				t.Errorf("handed out again: %d, %v", len(more), err)
			}
		})
	}
}

// A tape that was torn or flipped is read to the first bad record, and the
// rest of the file is left as it is.
func TestDamagedTape(t *testing.T) {
	path := t.TempDir()
	s := openAt(t, path)
	whole, torn, flipped := newNote("101", "1"), newNote("101", "2"), newNote("101", "3")
	for _, n := range []delivery.Note{whole, torn, flipped} {
		d := begin(t, s, n)
		for _, r := range []string{"one", "two", "three"} {
			check(t, d.Append([]byte(r)))
		}
		check(t, d.Recorded(t.Context(), false))
	}
	check(t, s.Close())
	b, err := os.ReadFile(s.tapePath(torn.ID))
	check(t, err)
	check(t, os.Truncate(s.tapePath(torn.ID), int64(len(b)-1)))
	b[16] ^= 1 // within the second record
	check(t, os.WriteFile(s.tapePath(flipped.ID), b, 0o600))
	check(t, os.WriteFile(s.tapePath(torn.ID)[:len(s.tapePath(torn.ID))-26]+delivery.NewID(), nil, 0o600)) // an orphan

	s = openAt(t, path)
	drafts, err := s.Unfinished(t.Context())
	check(t, err)
	want := map[string]string{whole.ID: "one two three", torn.ID: "one two", flipped.ID: "one"}
	for _, d := range drafts {
		records, err := read(t, d.Records())
		if got := strings.Join(records, " "); err != nil || got != want[d.Note().ID] {
			t.Errorf("read %q, %v, want %q", got, err, want[d.Note().ID])
		}
		if cut := d.Note().ID != whole.ID; d.Note().Partial != cut {
			t.Errorf("partial: %v", d.Note().Partial)
		}
		delete(want, d.Note().ID)
	}
	if len(want) != 0 {
		t.Errorf("not handed out: %v", want)
	}
	if left, err := os.ReadFile(s.tapePath(flipped.ID)); err != nil || !slices.Equal(left, b) {
		t.Errorf("the damaged tape was changed: %v", err)
	}
}

// A damaged byte that turns up while a tape is followed is an error, not an end.
func TestDamageWhileFollowing(t *testing.T) {
	s := openAt(t, t.TempDir())
	n := newNote("101", "201")
	d := begin(t, s, n)
	check(t, d.Append([]byte("one")))
	check(t, d.Append([]byte("two")))
	f, err := os.OpenFile(s.tapePath(n.ID), os.O_RDWR, 0)
	check(t, err)
	_, err = f.WriteAt([]byte{0xff}, 20)
	check(t, errors.Join(err, f.Close()))
	if got, err := read(t, d.Records()); !errors.Is(err, errTorn) || len(got) != 1 {
		t.Fatalf("read %q, %v", got, err)
	}
}

func TestOrphansAreReported(t *testing.T) {
	path := t.TempDir()
	s := openAt(t, path)
	kept := newNote("101", "201")
	begin(t, s, kept)
	check(t, s.Close())
	orphan := s.tapePath(delivery.NewID())
	f, err := create(orphan, 0)
	check(t, errors.Join(err, f.Close()))
	s = openAt(t, path)
	begin(t, s, newNote("101", "202"))
	n, err := s.orphansIn(t.Context(), filepath.Base(filepath.Dir(orphan)))
	if err != nil || n != 1 {
		t.Errorf("%d orphans, %v", n, err)
	}
	if _, err := s.Unfinished(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(orphan); err != nil {
		t.Error("the orphan is gone:", err)
	}
}

package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// openDirectory is the directory of a configuration file's text.
func openDirectory(tb testing.TB, text string, memory delivery.Memory, log *slog.Logger) *Directory {
	tb.Helper()
	c, err := Parse(filepath.Join(tb.TempDir(), "afterbeep.yaml"), []byte(text), env)
	if err != nil {
		tb.Fatal(err)
	}
	d, err := OpenDirectory(c, memory, log)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = d.Close() })
	return d
}

func TestLookup(t *testing.T) {
	d := openDirectory(t, `
mailboxes:
  - {number: "101", name: extension}
  - {number: "+49101", name: number}
  - {number: "200-299", name: rooms}
  - {number: "2*", name: twos}
  - {number: "2000*", name: two thousands}
  - {number: "+49301234*", name: block}
  - {number: "+493012345*", name: part of the block}
  - {number: "+49301234560-+49301234569", name: ten of it}
  - {number: "+493012345678", name: one of it}
  - {number: "030123*", name: as dialled}
  - {number: room-12, name: a room}
  - {number: "*97", name: a service code}
`, nil, slog.New(slog.DiscardHandler))
	for _, c := range []struct{ user, number, want, as string }{
		{"101", "+49101", "extension", "101"},
		{"0101", "+49101", "number", "+49101"},
		{"102", "", "", ""},
		{"", "", "", ""},
		{"199", "", "", ""},
		{"200", "", "rooms", "200"},
		{"250", "", "rooms", "250"},
		{"299", "", "rooms", "299"},
		{"300", "", "", ""},
		{"2", "", "twos", "2"},
		{"0200", "", "", ""},
		{"2500", "", "twos", "2500"},
		{"20001", "", "two thousands", "20001"},
		{"+250", "", "", ""},
		{"25a", "", "", ""},
		{"2*", "", "", ""},
		{"200-299", "", "", ""},
		{"+49301234", "", "block", "+49301234"},
		{"+493012349", "", "block", "+493012349"},
		{"+493012345", "", "part of the block", "+493012345"},
		{"+49301234565", "", "ten of it", "+49301234565"},
		{"+493012345678", "", "one of it", "+493012345678"},
		{"+493012345678;npdi=yes", "+493012345678", "one of it", "+493012345678"},
		{"0301234888", "+49301234888", "block", "+49301234888"}, // however it was dialled
		{"0301234888", "", "as dialled", "0301234888"},
		{"+491701234567", "+491701234567", "", ""},
		{"+493012341234567890", "", "", ""}, // longer than any number
		{"room-12", "", "a room", "room-12"},
		{"*97", "", "a service code", "*97"},
		{"*971", "", "", ""},
	} {
		m, err := d.Lookup(t.Context(), c.user, c.number)
		if c.want == "" {
			if !errors.Is(err, ErrNoMailbox) {
				t.Errorf("Lookup(%q, %q) = %v, %v; want none", c.user, c.number, m, err)
			}
			continue
		}
		if err != nil || m.Name != c.want || m.Number != c.as {
			t.Errorf("Lookup(%q, %q) = %v, %v; want %q as %q", c.user, c.number, m, err, c.want, c.as)
			continue
		}
		if again, err := d.Lookup(t.Context(), m.Number, ""); err != nil || again.Number != m.Number || again.Name != m.Name {
			t.Errorf("by its number %q it is %v, %v", m.Number, again, err)
		}
	}
}

func TestSearch(t *testing.T) {
	d := openDirectory(t, `mailboxes: [{number: "101", name: Anna}, {number: "200-299", name: Rooms}, {number: "1010", name: Bert}, {number: lobby}]`, nil, slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		query string
		most  int
		want  string
		more  bool
	}{
		{"", 10, "101 1010 lobby", false},
		{"", 2, "101 1010", true},
		{"AN", 10, "101", false},
		{"10 1", 10, "101 1010", false},
		{"205", 10, "205", false}, // one of the rooms
		{"rooms", 10, "", false},
		{"999", 10, "", false},
	} {
		found, more := d.Search(t.Context(), c.query, c.most)
		var got []string
		for _, r := range found {
			got = append(got, r.Number)
		}
		if strings.Join(got, " ") != c.want || more != c.more {
			t.Errorf("%q finds %v, %v; want %s, %v", c.query, got, more, c.want, c.more)
		}
	}
}

// sheetConfig names a CSV file in a folder of its own.
func sheetConfig(tb testing.TB, text string) (config, path string) {
	tb.Helper()
	path = filepath.Join(tb.TempDir(), "mailboxes.csv")
	write(tb, path, text)
	return fmt.Sprintf("directory: {file: %q}\nmailboxes:\n  - {number: 7, name: of the file}\n", path), path
}

// logbook is a log that is read while it is written.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A new version of the CSV file counts once it was left alone for a moment; one
// with a mistake leaves the mailboxes as they are, and the log says where it is.
func TestSheetIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		text, path := sheetConfig(t, "number,name\n101,Anna\n7,of the sheet\n")
		d := openDirectory(t, text, nil, slog.New(slog.NewTextHandler(&log, nil)))
		go d.Run(t.Context())
		name := func(number string) string {
			m, err := d.Lookup(t.Context(), number, "")
			if err != nil {
				return err.Error()
			}
			return m.Name
		}
		replace := func(text string) {
			write(t, path+".new", text)
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * lookAgain)
			synctest.Wait()
		}
		none := ErrNoMailbox.Error()
		check := func(when, number, want string) {
			t.Helper()
			if got := name(number); got != want {
				t.Errorf("%s: %s is %q, want %q", when, number, got, want)
			}
		}
		check("at the start", "101", "Anna")
		check("the configuration file goes before", "7", "of the file")
		replace("number,name\n101,Bert\n102,Carl\n")
		check("changed", "101", "Bert")
		check("changed", "102", "Carl")
		replace("number,name\n101,Dora\n+49 30 5550,Emil\n")
		check("broken", "101", "Bert")
		if d.Standing().Up {
			t.Error("a broken file is as it should be")
		}
		if !strings.Contains(log.String(), "line 3, column 1, number: `afterbeep check` says") {
			t.Errorf("the log does not say which line:\n%s", log.String())
		}
		if n := strings.Count(log.String(), "cannot be read"); n != 1 {
			t.Errorf("it is said %d times:\n%s", n, log.String())
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * lookAgain)
		check("gone", "101", "Bert")
		replace("number;name\n103;Frida\n")
		check("mended", "101", none)
		check("mended", "103", "Frida")
		if !d.Standing().Up {
			t.Error("a mended file is not as it should be")
		}
		for _, secret := range []string{"5550", "Anna", "Emil", "101", path} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log shows %q:\n%s", secret, log.String())
			}
		}
	})
}

// A number's own mailbox goes before a range or a wildcard, whichever file has
// it; of two alike the configuration file's goes before.
func TestFilesTogether(t *testing.T) {
	text, path := sheetConfig(t, "number,name\n101,own of the sheet\n1*,wildcard of the sheet\n20*,wildcard of the sheet\n")
	d := openDirectory(t, text+`  - {number: "1*", name: wildcard of the file}`+"\n"+`  - {number: "200-201", name: range of the file}`, nil, slog.New(slog.DiscardHandler))
	for number, want := range map[string]string{"101": "own of the sheet", "102": "wildcard of the file", "201": "range of the file", "202": "wildcard of the sheet"} {
		if m, err := d.Lookup(t.Context(), number, ""); err != nil || m.Name != want {
			t.Errorf("%s is %v, %v; want the %s", number, m, err, want)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	d.look()
	if d.Standing().Up {
		t.Error("without its file the directory is as it should be")
	}
	next := *d.sources.Load().config
	next.Directory.File = ""
	if err := d.Reload(&next); err != nil || !d.Standing().Up {
		t.Errorf("when no file is named: %v, %+v", err, d.Standing())
	}
}

// A file that is being written is not taken for whole.
func TestSheetInWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, path := sheetConfig(t, "number\n101\n102\n")
		d := openDirectory(t, text, nil, slog.New(slog.DiscardHandler))
		go d.Run(t.Context())
		out, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"number\n", "101\n", "102\n", "103\n"} {
			if _, err := out.WriteString(line); err != nil {
				t.Fatal(err)
			}
			time.Sleep(lookAgain)
			synctest.Wait()
			if _, err := d.Lookup(t.Context(), "102", ""); err != nil {
				t.Errorf("after %q: %v", line, err)
			}
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lookAgain)
		synctest.Wait()
		if _, err := d.Lookup(t.Context(), "103", ""); err != nil {
			t.Error(err)
		}
	})
}

// Reload puts all in place at once, or nothing.
func TestReload(t *testing.T) {
	text, path := sheetConfig(t, "number,deliver,retention.audio\n101,inbox,7d\n")
	d := openDirectory(t, text, nil, slog.New(slog.DiscardHandler))
	next, err := Parse("afterbeep.yaml", []byte(strings.Replace(text, "number: 7", "number: 8", 1)+"retention: {audio: 1d, metadata: 20d}"), env)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "number,deliver\n101,nowhere\n")
	if err := d.Reload(next); err == nil || !strings.Contains(err.Error(), `mailboxes.csv:2:5: deliver[0]: there is no channel "nowhere"`) {
		t.Errorf("a sheet with a mistake: %v", err)
	}
	if _, err := d.Lookup(t.Context(), "7", ""); err != nil {
		t.Errorf("after a Reload that failed: %v", err)
	}
	if got := d.Retention(t.Context(), "101"); got != (delivery.Retention{Audio: 7 * day, Metadata: 90 * day}) {
		t.Errorf("retention %v", got)
	}
	write(t, path, "number\n101\n")
	if err := d.Reload(next); err != nil {
		t.Fatal(err)
	}
	for _, number := range []string{"101", "999"} {
		if got := d.Retention(t.Context(), number); got != (delivery.Retention{Audio: day, Metadata: 20 * day}) {
			t.Errorf("retention of %s: %v", number, got)
		}
	}
	if _, err := d.Lookup(t.Context(), "7", ""); !errors.Is(err, ErrNoMailbox) {
		t.Errorf("a mailbox that was taken out: %v", err)
	}
	if s := d.Standing(); s != (Standing{Mailboxes: 2, Up: true}) {
		t.Errorf("it stands: %+v", s)
	}
}

// many is n mailboxes: extensions, numbers, and blocks.
func many(n int) []Mailbox {
	all := make([]Mailbox, 0, n)
	for i := range n {
		number := fmt.Sprintf("+4930%07d", i)
		switch i % 10 {
		case 8:
			number = fmt.Sprintf("+4940%07d0-+4940%07d9", i, i)
		case 9:
			number = fmt.Sprintf("+4950%07d*", i)
		}
		all = append(all, Mailbox{Number: number})
	}
	return all
}

// BenchmarkLookup asks directories of one mailbox and of a hundred thousand by
// turns, for a number of their own, one of a range, and one that is nobody's.
func BenchmarkLookup(b *testing.B) {
	open := func(mailboxes []Mailbox) *Directory {
		d, err := OpenDirectory(&Config{Mailboxes: mailboxes}, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		return d
	}
	all := many(100_000)
	for _, c := range []struct {
		name, number string
		one          int
	}{
		{"own", "+49300054320", 54_320}, {"range", "+49400054328" + "5", 54_328}, {"wildcard", "+49500054329" + "77", 54_329}, {"none", "+49891234567", 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			one, hundredThousand := open(all[c.one:c.one+1]), open(all)
			var took [2]time.Duration
			const round = 1000
			for b.Loop() {
				for i, d := range []*Directory{one, hundredThousand} {
					began := time.Now()
					for range round {
						if m, err := d.Lookup(b.Context(), c.number, ""); (err == nil) != (c.name != "none") {
							b.Fatal(m, err)
						}
					}
					took[i] += time.Since(began)
				}
			}
			lookups := float64(b.N * round)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(took[0])/lookups, "ns/lookup-of-1")
			b.ReportMetric(float64(took[1])/lookups, "ns/lookup-of-100000")
			b.ReportMetric(float64(took[1])/float64(took[0]), "ratio")
		})
	}
}

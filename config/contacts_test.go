package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/emersion/go-vcard"
)

func TestReadBook(t *testing.T) {
	for file, tc := range map[string]struct {
		cards, broken, numbers int
		names                  map[string]string // by the number of a call, at a trunk in Germany
	}{
		"phone21.vcf": {2, 0, 3, map[string]string{
			"+491711234567": "Jürgen Müller der Ältere aus Köln",
			"+49301234567":  "Jürgen Müller der Ältere aus Köln",
			"+49307654321":  "Zoë Grün",
			"+4930999999":   "", // a line of a picture
			"1234567":       "",
		}},
		"phone30.vcf": {3, 0, 5, map[string]string{
			"+493055501234":  "Maria Kowalska",
			"+12125551234":   "Maria Kowalska",
			"+33123456789":   "Bäckerei Krüger",
			"101":            "Bäckerei Krüger",
			"+49101":         "",
			"+442079460958":  "A very long name that an address book has to fold because its lines are no longer than seventy-five octets; so it says",
			"+4942079460958": "",
			"":               "",
			"alice":          "",
		}},
		"server40.vcf": {2, 0, 3, map[string]string{
			"+97221234567": "אבי כהן",
			"+4930123456":  "Zoë",
			"7042":         "Zoë",
		}},
		"broken.vcf": {3, 2, 1, map[string]string{
			"+4930000001": "", "+4930000002": "", "+4930000003": "Whole", "+4930000004": "", "+4930000005": "", "+4930000006": "", "5": "",
		}},
	} {
		t.Run(file, func(t *testing.T) {
			book, err := ReadBook(filepath.Join("testdata", "contacts", file))
			if err != nil {
				t.Fatal(err)
			}
			if book.Cards != tc.cards || book.Broken != tc.broken || book.Numbers != tc.numbers {
				t.Errorf("%d cards, %d broken, %d numbers; want %d, %d, %d", book.Cards, book.Broken, book.Numbers, tc.cards, tc.broken, tc.numbers)
			}
			for number, want := range tc.names {
				if got := book.Name(number, "DE"); got != want {
					t.Errorf("%q is %q, want %q", number, got, want)
				}
			}
		})
	}
}

// Another program's cards, in the character sets that address books write.
func TestReadBookOfOtherPrograms(t *testing.T) {
	var text bytes.Buffer
	cards := vcard.NewEncoder(&text)
	for i := range 100 {
		card := vcard.Card{}
		card.SetValue(vcard.FieldFormattedName, fmt.Sprintf("Zoë, no. %d", i))
		card.AddValue(vcard.FieldTelephone, fmt.Sprintf("030 55 50%04d", i))
		vcard.ToV4(card)
		if err := cards.Encode(card); err != nil {
			t.Fatal(err)
		}
	}
	wide := func(high, low int) string {
		var out []byte
		for _, unit := range utf16.Encode([]rune("\ufeff" + text.String())) {
			pair := []byte{byte(unit >> 8), byte(unit)}
			out = append(out, pair[high], pair[low])
		}
		return string(out)
	}
	for name, file := range map[string]string{
		"UTF-8":                text.String(),
		"UTF-8 with a mark":    "\ufeff" + text.String(),
		"UTF-16 big-endian":    wide(0, 1),
		"UTF-16 little-endian": wide(1, 0),
		"Latin 1":              strings.ReplaceAll(text.String(), "ë", "\xeb"),
	} {
		book, err := readBook(strings.NewReader(file))
		if err != nil || book.Cards != 100 || book.Numbers != 100 {
			t.Errorf("%s: %+v, %v", name, book, err)
			continue
		}
		if got := book.Name("+4930555 0042", "DE"); got != "" {
			t.Errorf("%s: what is no E.164 is called %q", name, got)
		}
		if got := book.Name("+493055500042", "DE"); got != "Zoë, no. 42" {
			t.Errorf("%s: the name is %q", name, got)
		}
		if got := book.Name("+493055500042", "FR"); got != "" {
			t.Errorf("%s: a German number in France is %q", name, got)
		}
	}
}

func TestReadBookOfWhatIsNone(t *testing.T) {
	huge := filepath.Join(t.TempDir(), "huge.vcf")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, maxBook+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		t.TempDir():             errNoFile,
		os.DevNull:              errNoFile,
		"contacts.go":           errNoCards,
		huge:                    errTooBig,
		"testdata/nowhere.vcf":  os.ErrNotExist,
		"testdata/example.yaml": errNoCards,
	} {
		_, err := ReadBook(path)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		if err != nil && strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%v names the file", err)
		}
	}
}

func card(name, number string) string {
	return "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:" + name + "\r\nTEL:" + number + "\r\nEND:VCARD\r\n"
}

// addressBooks are contacts for all, and a mailbox's own.
func addressBooks(t *testing.T, log *slog.Logger) (*Contacts, *Config) {
	t.Helper()
	dir := t.TempDir()
	all := filepath.Join(dir, "contacts.vcf")
	own := filepath.Join(dir, "own.vcf")
	write(t, all, card("Maria K.", "030 555 012 34")+card("Headquarters", "+49 30 1234567"))
	write(t, own, card("Mum", "+493055501234"))
	cfg := Default()
	cfg.Contacts = all
	cfg.Mailboxes = []Mailbox{{Number: "101"}, {Number: "102", Contacts: own}, {Number: "103", Contacts: all}}
	return NewContacts(&cfg, log), &cfg
}

// numbered is the mailbox of a number; an empty one for none.
func (c *Config) numbered(number string) *Mailbox {
	return cmp.Or(newIndex(c.Mailboxes, nil).byNumber(number), &Mailbox{})
}

func write(tb testing.TB, path, text string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

func TestContacts(t *testing.T) {
	c, cfg := addressBooks(t, slog.New(slog.DiscardHandler))
	for _, tc := range []struct{ mailbox, number, country, want string }{
		{"101", "+493055501234", "DE", "Maria K."},
		{"102", "+493055501234", "DE", "Mum"},
		{"102", "+493055501234", "", "Mum"},
		{"101", "+493055501234", "", ""}, // in which country is 030?
		{"102", "+49301234567", "DE", "Headquarters"},
		{"103", "+49301234567", "DE", "Headquarters"},
		{"104", "+49301234567", "DE", "Headquarters"},
		{"101", "", "DE", ""},
	} {
		if got := c.Name(cfg.numbered(tc.mailbox), tc.number, tc.country); got != tc.want {
			t.Errorf("%v: %q", tc, got)
		}
	}
	if got := (*Contacts)(nil).Name(&Mailbox{Number: "101"}, "+49301234567", "DE"); got != "" {
		t.Errorf("no contacts call somebody %q", got)
	}
}

// A changed file is read again; while it cannot be read, the old names stay,
// and that is said once, without any name.
func TestContactsChange(t *testing.T) {
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		c, cfg := addressBooks(t, slog.New(slog.NewTextHandler(&log, nil)))
		path := cfg.Contacts
		const number = "+493055501234"
		is := func(want, when string) {
			t.Helper()
			if got := c.Name(cfg.numbered("101"), number, "DE"); got != want {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		is("Maria K.", "at first")
		write(t, path, card("Mary", number))
		is("Maria K.", "within the second")
		time.Sleep(lookAgain)
		is("Mary", "after it")
		for range 3 {
			write(t, path, "")
			time.Sleep(lookAgain)
			is("Mary", "an empty file")
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookAgain)
		is("Mary", "no file")
		write(t, path, card("Marie", number))
		time.Sleep(lookAgain)
		is("Marie", "another file")
	})
	if n := strings.Count(log.String(), "cannot be read"); n != 1 {
		t.Errorf("said %d times that it cannot be read:\n%s", n, log.String())
	}
	for _, secret := range []string{"Mar", "555", "contacts.vcf"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log shows %q:\n%s", secret, log.String())
		}
	}
}

// A file that was written a while ago is not read again for nothing; one that
// was written just now may still have been half-way.
func TestContactsAreReadOnce(t *testing.T) {
	for age, want := range map[time.Duration]int{0: 3, time.Hour: 1} {
		var log bytes.Buffer
		path := filepath.Join(t.TempDir(), "contacts.vcf")
		write(t, path, card("Maria K.", "101"))
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		f := &contactFile{path: path, log: slog.New(slog.NewTextHandler(&log, nil))}
		for range 3 {
			f.looked = time.Time{}
			if got := f.current().Name("101", ""); got != "Maria K." {
				t.Errorf("the name is %q", got)
			}
		}
		if n := strings.Count(log.String(), "contacts read"); n != want {
			t.Errorf("a file %v old is read %d times, want %d", age, n, want)
		}
	}
}

// While one call reads, the others go on with what there is.
func TestContactsDoNotWait(t *testing.T) {
	c, cfg := addressBooks(t, slog.New(slog.DiscardHandler))
	path := cfg.Contacts
	c.files.Load().all.mu.Lock()
	defer c.files.Load().all.mu.Unlock()
	write(t, path, card("Mary", "+493055501234"))
	if got := c.Name(cfg.numbered("101"), "+493055501234", "DE"); got != "Maria K." {
		t.Errorf("the name is %q", got)
	}
}

// Other files can take the place of those that are named.
func TestContactsReload(t *testing.T) {
	c, cfg := addressBooks(t, slog.New(slog.DiscardHandler))
	next := *cfg
	next.Contacts = ""
	next.Mailboxes = []Mailbox{{Number: "101", Contacts: cfg.Mailboxes[1].Contacts}, {Number: "102"}}
	c.Reload(&next)
	for number, want := range map[string]string{"101": "Mum", "102": ""} {
		if got := c.Name(next.numbered(number), "+493055501234", "DE"); got != want {
			t.Errorf("%s calls her %q, want %q", number, got, want)
		}
	}
}

func TestContactFiles(t *testing.T) {
	text := "contacts: a.vcf\nmailboxes: [{number: 1, contacts: a.vcf}, {number: 2}, {number: 3, contacts: /b.vcf}, {number: 4, contacts: /b.vcf}]"
	c, err := Parse("/etc/afterbeep.yaml", []byte(text), env)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.ContactFiles()); got != "[{contacts /etc/a.vcf} {mailboxes[2].contacts /b.vcf}]" {
		t.Error(got)
	}
}

func FuzzBook(f *testing.F) {
	files, err := filepath.Glob("testdata/contacts/*.vcf")
	if err != nil || len(files) == 0 {
		f.Fatalf("no files: %v", err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("\xff\xfeB\x00E\x00"))
	f.Add([]byte("BEGIN:VCARD\nFN;QUOTED-PRINTABLE:=\n=\n=zz\nTEL:+\nEND:VCARD"))
	f.Fuzz(func(t *testing.T, text []byte) {
		book, err := readBook(bytes.NewReader(text))
		if err != nil {
			return
		}
		numbers := 0
		for end, contacts := range book.byTail {
			for _, c := range contacts {
				numbers++
				if c.name == "" || !utf8.ValidString(c.name) || strings.ContainsAny(c.name, "\r\n") {
					t.Errorf("a name is %q", c.name)
				}
				if !strings.HasSuffix(c.number, end) || strings.Trim(strings.TrimPrefix(c.number, "+"), "0123456789") != "" {
					t.Errorf("a number is %q under %q", c.number, end)
				}
				if book.Name(c.number, "DE") == "" {
					t.Errorf("%q is not found", c.number)
				}
			}
		}
		if numbers != book.Numbers {
			t.Errorf("%d numbers are counted, %d are there", book.Numbers, numbers)
		}
	})
}

// A company's address book: 50,000 cards with two numbers each.
func BenchmarkReadBook(b *testing.B) {
	var text bytes.Buffer
	for i := range 50_000 {
		fmt.Fprintf(&text, "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Muster;Maria %d;;;\r\nFN:Maria Muster %d\r\nORG:Atelier Nord\r\n", i, i)
		fmt.Fprintf(&text, "TEL;TYPE=CELL:+49 171 %07d\r\nTEL;TYPE=WORK:030 / 5%06d\r\nEMAIL:maria%d@example.org\r\nEND:VCARD\r\n", i, i, i)
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if book, err := readBook(bytes.NewReader(text.Bytes())); err != nil || book.Numbers != 100_000 {
			b.Fatal(book, err)
		}
	}
}

func BenchmarkName(b *testing.B) {
	book, err := ReadBook("testdata/contacts/phone21.vcf")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		book.Name("+49301234567", "DE")
	}
}

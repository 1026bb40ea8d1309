package config

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/afterbeep/afterbeep/delivery"
)

// twoChannels is a configuration with crm and bot, of which bot has addresses
// of digits.
func twoChannels() *Config {
	c := Default()
	c.Channels = map[string]Channel{"crm": {Type: "crm"}, "bot": {Type: "bot", Options: picky{}}}
	return &c
}

func TestSheet(t *testing.T) {
	week, ever := 7*day, 0*day
	want := []Mailbox{
		{
			Number: "+4930123456", Name: "Empfang, Süd", Language: "de", Timezone: "Europe/Berlin",
			Deliver:   delivery.Chain{{Channel: "bot", Address: "12345"}, {Channel: "crm"}, {Channel: "inbox"}},
			Also:      []delivery.Chain{{{Channel: "crm"}, {Channel: "inbox"}}, {{Channel: "inbox"}}},
			Retention: MailboxRetention{Audio: &week}, Keep: delivery.Retention{Audio: week, Metadata: 90 * day},
		},
		{Number: "101", Deliver: delivery.Chain{{Channel: "inbox"}}, Retention: MailboxRetention{Audio: &ever, Metadata: &ever}},
		{Number: "200-299", Name: "Rooms", Deliver: delivery.Chain{{Channel: "crm"}}, Keep: Default().Retention},
	}
	text, err := os.ReadFile("testdata/sheets/good.csv")
	if err != nil {
		t.Fatal(err)
	}
	semicolons := withSemicolons(t, text)
	var wide []byte // as spreadsheets save "Unicode text"
	for _, r := range "\ufeff" + semicolons {
		wide = append(wide, byte(r), byte(r>>8))
	}
	for name, text := range map[string][]byte{
		"with commas":        text,
		"with semicolons":    []byte(semicolons),
		"with a mark":        append([]byte("\ufeff"), text...),
		"with CRLF":          bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")),
		"Latin 1":            bytes.ReplaceAll(text, []byte("ü"), []byte{0xfc}),
		"of another program": wide,
	} {
		x, err := parseSheet(twoChannels(), "mailboxes.csv", text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(x.mailboxes, want) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", name, x.mailboxes, want)
		}
	}
}

// withSemicolons is a sheet as spreadsheets write it in countries whose numbers
// have commas.
func withSemicolons(t *testing.T, text []byte) string {
	t.Helper()
	in := csv.NewReader(bytes.NewReader(text))
	in.Comment, in.TrimLeadingSpace = '#', true
	lines, err := in.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	out.Comma = ';'
	if err := out.WriteAll(lines); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Every mistake is found at once, with its line, its column and what was
// expected.
func TestSheetTellsEveryMistake(t *testing.T) {
	sheets, err := filepath.Glob("testdata/sheets/wrong*.csv")
	if err != nil || len(sheets) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range sheets {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = parseSheet(twoChannels(), "mailboxes.csv", text)
			if problems := (FileErrors{}); !errors.As(err, &problems) {
				t.Fatalf("got %v, want FileErrors", err)
			}
			got := []byte(err.Error() + "\n")
			isGolden(t, strings.TrimSuffix(path, ".csv")+".txt", got)
		})
	}
}

// What deploy/directory.md shows is read.
func TestDirectoryDocument(t *testing.T) {
	text, err := os.ReadFile("../deploy/directory.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{} // the last of each kind
	for i, part := range strings.Split(string(text), "```") {
		if kind, block, _ := strings.Cut(part, "\n"); i%2 == 1 {
			blocks[kind] = block
		}
	}
	c := twoChannels()
	c.Channels["team-bot"] = c.Channels["bot"]
	x, err := parseSheet(c, "directory.md", []byte(blocks["csv"]))
	if err != nil || len(x.mailboxes) != 2 {
		t.Errorf("its CSV file: %v", err)
	}
	for _, column := range columnKeys() {
		if !strings.Contains(string(text), "`"+column+"`") {
			t.Errorf("it does not name the column %s", column)
		}
	}
	a, err := newService(c, nil, nil, slog.New(slog.DiscardHandler)).read(question{user: "030123456", number: "+4930123456"}, []byte(blocks["json"]))
	if err != nil || len(a.mailbox.Chains()) != 3 || x != nil && a.mailbox.Name != x.mailboxes[0].Name {
		t.Errorf("its answer: %v", err)
	}
	_, err = Parse("directory.md", []byte(blocks["yaml"]), func(string) (string, bool) { return "open sesame", true })
	if err != nil {
		t.Errorf("its settings: %v", err)
	}
}

func TestSheetsThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "nowhere.csv"): "no such file or directory",
		dir:                               errNoFile.Error(),
	} {
		if _, err := readSheet(twoChannels(), path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A sheet that is wrong throughout is not told of line by line to the end.
func TestSheetsWithTooManyMistakes(t *testing.T) {
	text := "number,deliver\n" + strings.Repeat("101,nowhere\n", 10*maxSheetProblems)
	_, err := parseSheet(twoChannels(), "mailboxes.csv", []byte(text))
	if problems := (FileErrors{}); !errors.As(err, &problems) || len(problems) > 3*maxSheetProblems {
		t.Errorf("%d mistakes are told", len(problems))
	}
}

func FuzzSheet(f *testing.F) {
	sheets, err := filepath.Glob("testdata/sheets/*.csv")
	if err != nil || len(sheets) == 0 {
		f.Fatalf("no files: %v", err)
	}
	for _, path := range sheets {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	c := twoChannels()
	f.Fuzz(func(t *testing.T, text []byte) {
		x, err := parseSheet(c, "mailboxes.csv", text)
		if err != nil {
			if problems := (FileErrors{}); !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("%v is no FileErrors", err)
			}
			return
		}
		for i := range x.mailboxes {
			m := &x.mailboxes[i]
			if m.Number == "" || strings.ContainsAny(m.Number, " \t\r\n@<>") || !utf8.ValidString(m.Number) {
				t.Errorf("a number is %q", m.Number)
			}
			for _, chain := range m.Chains() {
				for _, target := range chain {
					if !slices.Contains([]string{"crm", "bot", Inbox}, target.Channel) {
						t.Errorf("a target is %v", target)
					}
				}
			}
			if p, _ := parsePattern(m.Number); p.exact() && x.byNumber(m.Number) != m {
				t.Errorf("%q is not found", m.Number)
			}
		}
	})
}

// FuzzIndex compares the index with a look at each range and wildcard in turn.
func FuzzIndex(f *testing.F) {
	f.Add("200-299 2* 20* 300-399 +1-+3 +* 0-9", "250")
	f.Add("10-19 100-199 1*", "15")
	f.Fuzz(func(t *testing.T, numbers, number string) {
		var mailboxes []Mailbox
		for n := range strings.FieldsSeq(numbers) {
			mailboxes = append(mailboxes, Mailbox{Number: n})
		}
		double := false
		x := newIndex(mailboxes, func(int, int) { double = true })
		if double {
			return
		}
		want := ""
		if isDigits(number) {
			longest := -1
			for _, m := range mailboxes {
				switch p, _ := parsePattern(m.Number); {
				case p.first != "" && len(p.first) == len(number) && p.first <= number && number <= p.last:
					want, longest = m.Number, len(number)+1
				case p.wild && strings.HasPrefix(number, p.prefix) && len(p.prefix) > longest:
					want, longest = m.Number, len(p.prefix)
				}
			}
		}
		got := x.byPattern(number)
		switch {
		case (got != nil) != (want != ""):
			t.Errorf("%q in %q: got %v, want %q", number, numbers, got, want)
		case got != nil && got.Number != number:
			t.Errorf("%q has the mailbox %q", number, got.Number)
		}
	})
}

// A sheet of a hundred thousand mailboxes.
func BenchmarkSheet(b *testing.B) {
	var text bytes.Buffer
	out := csv.NewWriter(&text)
	_ = out.Write([]string{"number", "name", "language", "timezone", "deliver"})
	for i := range 100_000 {
		_ = out.Write([]string{fmt.Sprintf("+4930%07d", i), fmt.Sprintf("Maria Muster %d", i), "de", "Europe/Berlin", "bot:12345 inbox"})
	}
	out.Flush()
	c := twoChannels()
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if x, err := parseSheet(c, "mailboxes.csv", text.Bytes()); err != nil || len(x.exact) != 100_000 {
			b.Fatal(err)
		}
	}
}

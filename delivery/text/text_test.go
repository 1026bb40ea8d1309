package text

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the tests need no zone files
	"unicode/utf8"

	"github.com/afterbeep/afterbeep/delivery"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each field of each row is filled, names whom it must name, and is no
// English left over.
func TestEveryRowIsWhole(t *testing.T) {
	english := reflect.ValueOf(*english())
	for tag, row := range Table() {
		texts := reflect.ValueOf(*row())
		if got := texts.FieldByName("Language").String(); got != tag {
			t.Errorf("%s: the row says it is %q", tag, got)
		}
		for i := range texts.NumField() {
			name := texts.Type().Field(i).Name
			own, theirs := wordsOf(t, texts.Field(i)), wordsOf(t, english.Field(i))
			for key, word := range own {
				switch {
				case word == "" || strings.TrimSpace(word) != word:
					t.Errorf("%s: %s %v is %q", tag, name, key, word)
				case strings.Count(word, "%s") != strings.Count(theirs[key], "%s") || strings.Count(word, "%") != strings.Count(word, "%s"):
					t.Errorf("%s: %s %v names somebody else than English does: %q", tag, name, key, word)
				case !slices.Equal(gaps(word), gaps(theirs[key])):
					t.Errorf("%s: %s %v has other gaps than English: %q", tag, name, key, word)
				case tag != "en" && word == theirs[key] && !slices.Contains([]string{"First", "Months"}, name) && tag+" "+key != "nl inbox":
					t.Errorf("%s: %s %v is English: %q", tag, name, key, word)
				}
			}
			if !slices.Equal(slices.Sorted(maps.Keys(own)), slices.Sorted(maps.Keys(theirs))) {
				t.Errorf("%s: %s has %v, English %v", tag, name, own, theirs)
			}
		}
		for _, part := range []string{"{day}", "{d}", "{month}", "{time}"} {
			if date := texts.FieldByName("Date").String(); strings.Count(date, part) != 1 {
				t.Errorf("%s: the date is %q", tag, date)
			}
		}
		if !strings.Contains(texts.FieldByName("StopWord").String(), "/stop") {
			t.Errorf("%s: how to end it is not said", tag)
		}
	}
}

// gaps are the places in a text of the page that its script fills, sorted.
func gaps(text string) []string {
	found := regexp.MustCompile(`\{\d+\}`).FindAllString(text, -1)
	slices.Sort(found)
	return found
}

// wordsOf are the words of a field of Texts by their key or index.
func wordsOf(t *testing.T, v reflect.Value) map[string]string {
	t.Helper()
	all := map[string]string{}
	switch v.Kind() {
	case reflect.String:
		all[""] = v.String()
	case reflect.Array:
		for i := range v.Len() {
			all[fmt.Sprint(i)] = v.Index(i).String()
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			all[key.String()] = v.MapIndex(key).String()
		}
	default:
		t.Fatalf("a text is a %s", v.Type())
	}
	return all
}

func TestFor(t *testing.T) {
	for tag, want := range map[string]string{
		"": "en", "en": "en", "xx": "en", "zh-Hant-TW": "en", "-": "en", "den": "en",
		"de": "de", "deu": "de", "de-AT": "de", "DE": "de", "pt_BR": "pt", "PT-br": "pt", "tr-TR": "tr",
	} {
		if got := For(tag).Language; got != want {
			t.Errorf("For(%q) is %s, want %s", tag, got, want)
		}
	}
}

// TestCaptions prints what recipients read in each language.
func TestCaptions(t *testing.T) {
	note := delivery.Note{
		Kind:      delivery.Voice,
		Recipient: delivery.Recipient{Number: "101", Name: "Atelier Nord", Timezone: "Europe/Berlin"},
		Caller:    delivery.Caller{Number: "+493055501234", Name: "Maria K."},
		CalledAt:  time.Date(2026, 11, 22, 13, 3, 0, 0, time.UTC),
		Duration:  12_340 * time.Millisecond,
		Reason:    "busy", Partial: true,
	}
	missed, video, private := note, note, note
	missed.Kind, missed.Reason, missed.Partial = delivery.Missed, "unreachable", false
	missed.CalledAt = time.Date(2026, 7, 31, 22, 30, 0, 0, time.UTC) // the first of August in Berlin
	video.Kind, video.Reason, video.Partial, video.Caller.Name = delivery.Video, "forwarded", false, ""
	private.Caller, private.Reason, private.Partial = delivery.Caller{Private: true, Trust: "verified"}, "declined", false
	verified, doubtful := note, note
	verified.Caller.Trust, verified.Partial = "verified", false
	doubtful.Caller.Trust, doubtful.Partial, doubtful.Reason = "doubtful", false, ""

	var got bytes.Buffer
	for _, tag := range slices.Sorted(maps.Keys(Table())) {
		texts := For(tag)
		fmt.Fprintf(&got, "== %s\n", tag)
		for i, n := range []delivery.Note{note, missed, video, private, verified, doubtful} {
			fmt.Fprintf(&got, "%s\n\n", texts.Caption(n, i == 0).Plain())
		}
		fmt.Fprintf(&got, "%s\n[%s] %s\n%s\n", texts.Private, texts.Play, texts.Listen, texts.Expired)
		fmt.Fprintf(&got, "%s %s\n%s\n%s\n%s\n\n", fmt.Sprintf(texts.Linked, note.Recipient.Name), texts.StopWord, texts.Unlinked, texts.BadCode, texts.Help)
	}
	const golden = "testdata/captions.txt"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s is not what the table says; run: go test ./delivery/text -update\n%s", golden, got.Bytes())
	}
}

func TestWho(t *testing.T) {
	for want, c := range map[string]delivery.Caller{
		"Maria K. (+49 30 55501234)":  {Name: "Maria K.", Number: "+493055501234"},
		"Maria":                       {Name: " Maria\t"},
		"101":                         {Number: "101"},
		"Private number":              {Name: "Maria", Number: "+493055501234", Private: true},
		"Eve 2nd line (101)":          {Name: "Eve\r\n2nd\u2028line", Number: "10\u202e1\x00"},
		"evil exe. ogg (101)":         {Name: "evil\u202e \u2066exe\u2069.ogg\u200f\x1b", Number: "101"},
		"\u2068אבי כהן\u2069 (+49 1)": {Name: "אבי\u202e כהן", Number: "+49 1"},
		"\u2068ليلى\u2069":            {Name: "ليلى"},
		"👩\u200d👧 (7)":                {Name: "👩\u200d👧", Number: "7"}, // a joiner belongs to its emoji
		"broken":                      {Name: "bro\xff\xfeken"},
		"https: // evil. example/a":   {Name: "https://evil.example/a"},
		"1. 2. 3. 4/a":                {Name: "1.2.3.4/a"},
		"evil． example":               {Name: "evil．example"},
		"/ stop":                      {Name: "/stop"},
		"a / b, c/o @ all":            {Name: "a / b, c/o @all"},
		"= ?utf-8?q?x?=":              {Name: "=?utf-8?q?x?="},
		"J. R. Müller, Inc., 2 (101)": {Name: "J.R. Müller, Inc., 2", Number: "101"},
	} {
		if got := For("en").Who(c); got != want {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
	}
	long := For("en").Who(delivery.Caller{Name: strings.Repeat("ü", 500)})
	if utf8.RuneCountInString(long) != maxVisible || !strings.HasSuffix(long, "ü…") {
		t.Errorf("a long name is %q", long)
	}
	empty := delivery.Caller{Name: "\u202e\x00 ", Number: "\n"}
	if got := For("en").Who(empty); got != "Private number" {
		t.Errorf("who cannot be seen is %q", got)
	}
}

func FuzzWho(f *testing.F) {
	f.Add("Maria\r\n\u202eK.", "+49 30\u2066")
	f.Add("אבי", "101")
	f.Fuzz(func(t *testing.T, name, number string) {
		n := delivery.Note{Caller: delivery.Caller{Name: name, Number: number}}
		c := For("de").Caption(n, false)
		if strings.ContainsAny(c.Title+c.Number, "\r\n\x00\u2028\u2029\u202a\u202b\u202d\u202e\u2066\u2067") || !utf8.ValidString(c.Title) {
			t.Errorf("the title is %q", c.Title)
		}
		if strings.Count(c.Title, "\u2068") != strings.Count(c.Title, "\u2069") {
			t.Errorf("the title %q leaves its direction open", c.Title)
		}
		for _, limit := range []int{-1, 0, 1, 20, 70, 160} {
			if short := c.Short(limit); Units(short) > max(limit, 0) || !utf8.ValidString(short) {
				t.Errorf("%d units are allowed, and %q has %d", limit, short, Units(short))
			}
		}
	})
}

func TestNumberToCallBack(t *testing.T) {
	for number, want := range map[string]string{
		"+493055501234": "tel:+493055501234", "101": "tel:101", "alice": "", "+": "", "+-1": "", "1;x=y": "", "*97": "",
	} {
		c := For("en").Caption(delivery.Note{Caller: delivery.Caller{Number: number}}, false)
		if c.URI != want || c.Number == "" {
			t.Errorf("%q: %q, %q, want %q", number, c.Number, c.URI, want)
		}
	}
	if c := For("en").Caption(delivery.Note{Caller: delivery.Caller{Private: true, Number: "101"}}, false); c.URI != "" || c.Number != "" {
		t.Errorf("a private caller can be called back: %+v", c)
	}
}

func TestShort(t *testing.T) {
	c := For("en").Caption(delivery.Note{
		Kind: delivery.Voice, Caller: delivery.Caller{Number: "+493055501234", Name: "Zoë 🙂"}, Partial: true,
		CalledAt: time.Date(2026, 11, 22, 13, 3, 0, 0, time.UTC),
	}, false)
	lines := strings.Split(c.Plain(), "\n")
	for _, want := range []string{
		c.Plain(), strings.Join(lines[:3], "\n"), strings.Join(lines[:2], "\n"), lines[0], "Voice message from Zoë…", "Voice…", "…", "",
	} {
		if got := c.Short(Units(want)); got != want {
			t.Errorf("%d units: %q, want %q", Units(want), got, want)
		}
	}
	if got := c.Short(Units("Voice message from Zoë 🙂")); got != "Voice message from Zoë…" {
		t.Errorf("half a character is left: %q", got)
	}
}

func TestWhenWithoutAZone(t *testing.T) {
	n := delivery.Note{Recipient: delivery.Recipient{Timezone: "Nowhere/Land"}, CalledAt: time.Date(2026, 3, 1, 23, 5, 0, 0, time.FixedZone("", 3600))}
	if got := For("en").When(n); got != "Sunday 1 March, 22:05" {
		t.Errorf("got %q", got)
	}
}

func TestLength(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0:00", 400 * time.Millisecond: "0:00", 12_500 * time.Millisecond: "0:13", time.Minute: "1:00", 3723 * time.Second: "1:02:03",
	} {
		if got := Length(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	for said, want := range map[string]string{"": "", "abcd": "abcd", "abcde": "abc…", "🙂🙂": "🙂🙂", "🙂🙂x": "🙂…", "a🙂🙂": "a🙂…"} {
		if got := Clip(said, 4); got != want || Units(got) > 4 {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}

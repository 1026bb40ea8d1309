package media

import (
	"bytes"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"
)

var updateSDP = flag.Bool("update.sdp", false, "write testdata/sdp/*.answer anew")

// answerEngine negotiates and never opens a port.
func answerEngine(tb testing.TB, told string) *Engine {
	tb.Helper()
	o := DefaultOptions()
	o.Address = netip.MustParseAddr(told)
	o.Beep = false
	e, err := NewEngine(o, quietLog())
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// answerTo is what Open answers, on port 20000 and with a session id of 1.
func answerTo(e *Engine, offer []byte) ([]byte, error) {
	d, err := parseDescription(offer)
	if err != nil {
		return nil, err
	}
	chosen, a, err := e.choose(d)
	if err != nil {
		return nil, err
	}
	s := e.newSpeaker(20000)
	s.id = 1
	return s.describe(d, chosen, a, a.direction, false), nil
}

// anew is what differs in each answer.
var anew = regexp.MustCompile(`(inline:|ice-ufrag:|ice-pwd:|fingerprint:sha-256 )[^\r\n]+`)

// TestAnswers compares the answer to each testdata/sdp/*.offer with the file
// beside it; a refusal is the line "refused: " and why.
func TestAnswers(t *testing.T) {
	files, err := filepath.Glob("testdata/sdp/*.offer")
	if err != nil || len(files) == 0 {
		t.Fatalf("no offers: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".offer")
		t.Run(name, func(t *testing.T) {
			told := "192.0.2.10"
			if name == "ipv6" {
				told = "2001:db8::10"
			}
			offer, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := answerTo(answerEngine(t, told), offer)
			if err != nil {
				if !errors.Is(err, ErrNoCommonCodec) {
					t.Errorf("refused with %v, want ErrNoCommonCodec", err)
				}
				got = []byte("refused: " + err.Error() + "\n")
			} else {
				checkAnswer(t, offer, got)
				got = anew.ReplaceAll(got, []byte("${1}ANEW"))
			}
			golden := strings.TrimSuffix(file, ".offer") + ".answer"
			if *updateSDP {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("answer\n%s\nwant\n%s", got, want)
			}
		})
	}
}

var sdpLine = regexp.MustCompile(`^[a-z]=[^\r\n]+$`)

// checkAnswer holds any answer against RFC 3264 §6.
func checkAnswer(t *testing.T, offer, answer []byte) {
	t.Helper()
	offered, err := parseDescription(offer)
	if err != nil {
		t.Fatal(err)
	}
	answered, err := parseDescription(answer)
	if err != nil {
		t.Fatalf("the answer cannot be read: %v\n%s", err, answer)
	}
	if len(answered) != len(offered) {
		t.Fatalf("%d streams answered, %d offered\n%s", len(answered), len(offered), answer)
	}
	accepted := 0
	for i := range answered {
		if answered[i].media != offered[i].media || answered[i].proto != offered[i].proto {
			t.Errorf("stream %d: answered %s %s, offered %s %s", i,
				answered[i].media, answered[i].proto, offered[i].media, offered[i].proto)
		}
		if answered[i].port != 0 {
			accepted++
		}
		for _, f := range answered[i].formats {
			if !slices.Contains(offered[i].formats, f) {
				t.Errorf("stream %d: format %s was not offered", i, f)
			}
		}
	}
	if accepted != 1 {
		t.Errorf("%d streams accepted, want 1", accepted)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(answer), "\r\n"), "\r\n") {
		if !sdpLine.MatchString(line) {
			t.Errorf("line %q", line)
		}
	}
	// A parser that is not ours reads the answer wherever it reads the offer.
	var other sdp.SessionDescription
	if other.Unmarshal(offer) == nil {
		if err := other.Unmarshal(answer); err != nil {
			t.Errorf("pion/sdp: %v\n%s", err, answer)
		}
	}
}

func TestParseDescriptionErrors(t *testing.T) {
	tests := map[string]string{
		"nothing":         "",
		"no version":      "o=- 1 1 IN IP4 127.0.0.1\r\n",
		"not SDP":         "v=0\r\nhello\r\n",
		"long type":       "v=0\r\nab=1\r\n",
		"short m=":        "v=0\r\nm=audio 4000 RTP/AVP\r\n",
		"port too high":   "v=0\r\nm=audio 65536 RTP/AVP 0\r\n",
		"port no number":  "v=0\r\nm=audio x RTP/AVP 0\r\n",
		"too long":        "v=0\r\n" + strings.Repeat("a=x\r\n", maxDescription/5),
		"too many m=":     "v=0\r\n" + strings.Repeat("m=audio 1 RTP/AVP 0\r\n", maxStreams+1),
		"a later version": "v=1\r\n",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := parseDescription([]byte(text)); !errors.Is(err, ErrBadOffer) {
				t.Errorf("error %v, want ErrBadOffer", err)
			}
		})
	}
}

func TestParseConnection(t *testing.T) {
	tests := []struct {
		line string
		want string // "" for a host name
		ok   bool
	}{
		{"IN IP4 198.51.100.7", "198.51.100.7", true},
		{"IN IP6 2001:db8::7", "2001:db8::7", true},
		{"IN IP4 0.0.0.0", "0.0.0.0", true},
		{"IN IP4 media.example.com", "", true},
		{"", "", false},
		{"IN IP4", "", false},
		{"IN IP4 198.51.100.7 x", "", false},
		{"XX IP4 198.51.100.7", "", false},
		{"IN IP5 198.51.100.7", "", false},
		{"IN IP6 198.51.100.7", "", false},
		{"IN IP4 2001:db8::7", "", false},
		{"IN IP6 ::ffff:198.51.100.7", "", false},
		{"IN IP6 fe80::1%eth0", "", false},
		{"IN IP6 ff02::1", "", false},
		{"IN IP4 224.0.0.1/127", "", false},
		{"IN IP4 239.1.1.1", "", false},
		{"IN IP4 255.255.255.255", "", false},
		{"IN IP4 0.1.2.3", "", false},
		{"IN IP4 999.1.2.3", "", false},
		{"IN IP4 198.51.100.7;rm", "", false},
	}
	for _, tt := range tests {
		addr, err := parseConnection(tt.line)
		if (err == nil) != tt.ok {
			t.Errorf("%q: error %v, want ok %v", tt.line, err, tt.ok)
		}
		if got := addr; tt.want == "" && got.IsValid() || tt.want != "" && got.String() != tt.want {
			t.Errorf("%q: address %s, want %q", tt.line, got, tt.want)
		}
	}
}

func FuzzDescription(f *testing.F) {
	files, _ := filepath.Glob("testdata/sdp/*.offer")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	e := answerEngine(f, "192.0.2.10")
	f.Fuzz(func(t *testing.T, offer []byte) {
		answer, err := answerTo(e, offer)
		if err == nil {
			checkAnswer(t, offer, answer)
		} else if !errors.Is(err, ErrBadOffer) && !errors.Is(err, ErrNoCommonCodec) {
			t.Errorf("error of no known kind: %v", err)
		}
	})
}

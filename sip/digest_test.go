package sip

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// The examples of RFC 7616 section 3.9.1.
func TestDigestOfTheRFC(t *testing.T) {
	d := &Digest{User: "Mufasa", Password: "Circle of Life", Realm: "http-auth@example.org"}
	for algorithm, response := range map[string]string{
		"MD5":     "8ca523f5e9506fed4657c9700eebdbec",
		"SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
		"sha-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
		"":        "8ca523f5e9506fed4657c9700eebdbec",
	} {
		c := &digest.Credentials{
			Username: "Mufasa", Realm: "http-auth@example.org", URI: "/dir/index.html", Algorithm: algorithm,
			Nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", Nc: 1,
			Cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", QOP: "auth", Response: response,
		}
		if !d.proves(c, "GET") {
			t.Errorf("%q: the right response was refused", algorithm)
		}
		if d.proves(c, "POST") {
			t.Errorf("%q: the response of another method was taken", algorithm)
		}
	}
}

// login is how a peer of the tests answers a challenge, computed apart from
// the library.
type login struct {
	user, password, realm, algorithm, nonce, qop string
	count                                        int
}

func (l login) header(method, uri string) string {
	hash := func(s string) string {
		if l.algorithm == "SHA-256" {
			sum := sha256.Sum256([]byte(s))
			return hex.EncodeToString(sum[:])
		}
		sum := md5.Sum([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	ha1, ha2 := hash(l.user+":"+l.realm+":"+l.password), hash(method+":"+uri)
	h := fmt.Sprintf(`Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q, algorithm=%s`, l.user, l.realm, l.nonce, uri, l.algorithm)
	if l.qop == "" { // RFC 2069
		return h + fmt.Sprintf(`, response=%q`, hash(ha1+":"+l.nonce+":"+ha2))
	}
	nc := fmt.Sprintf("%08x", l.count)
	return h + fmt.Sprintf(`, cnonce="c0ffee", nc=%s, qop=%s, response=%q`, nc, l.qop, hash(ha1+":"+l.nonce+":"+nc+":c0ffee:"+l.qop+":"+ha2))
}

// askPassword makes the test trunk ask for a password.
func askPassword(s *Server) {
	s.trunks.find(loopback).Digest = &Digest{User: "pbx", Password: "open sesame"}
}

// challenged sends a request and reads the challenges of its 401.
func (c *rawCall) challenged(method string) []*digest.Challenge {
	c.peer.t.Helper()
	c.send(method)
	return c.challengesIn(method)
}

func (c *rawCall) challengesIn(method string) []*digest.Challenge {
	c.peer.t.Helper()
	refusal := c.peer.expect("SIP/2.0 401 Unauthorized", method)
	if method == "INVITE" {
		ack := *c
		ack.toTag, ack.body = refusal.toTag(), ""
		ack.send("ACK")
	}
	var all []*digest.Challenge
	for _, h := range refusal.headers["www-authenticate"] {
		challenge, err := digest.ParseChallenge(h)
		if err != nil {
			c.peer.t.Fatal(err)
		}
		all = append(all, challenge)
	}
	return all
}

// answer is a right answer to a challenge.
func answer(c *digest.Challenge) login {
	return login{user: "pbx", password: "open sesame", realm: c.Realm, algorithm: c.Algorithm, nonce: c.Nonce, qop: "auth", count: 1}
}

// as sends a request anew, with a login.
func (c *rawCall) as(method string, l login) {
	c.peer.t.Helper()
	c.next().extra = []string{l.header(method, "sip:"+c.user+"@127.0.0.1")}
	c.send(method)
}

func TestTrunkAsksForAPassword(t *testing.T) {
	for name, tt := range map[string]struct {
		change   func(*login)
		answered bool
		stale    bool
		refused  uint64
	}{
		"SHA-256":           {answered: true, change: func(l *login) { l.algorithm = "SHA-256" }},
		"MD5":               {answered: true, change: func(l *login) { l.algorithm = "MD5" }},
		"a count above 1":   {answered: true, change: func(l *login) { l.count = 300 }},
		"a wrong password":  {refused: 1, change: func(l *login) { l.password = "open Sesame" }},
		"a wrong user":      {refused: 1, change: func(l *login) { l.user = "fax" }},
		"a wrong realm":     {refused: 1, change: func(l *login) { l.realm = "asterisk" }},
		"another algorithm": {refused: 1, change: func(l *login) { l.algorithm = "SHA-512-256" }},
		"no qop":            {refused: 1, change: func(l *login) { l.qop = "" }},
		"qop auth-int":      {refused: 1, change: func(l *login) { l.qop = "auth-int" }},
		"a nonce of its own": {stale: true, change: func(l *login) {
			l.nonce = strings.Repeat("A", len(l.nonce))
		}},
		"no nonce": {stale: true, change: func(l *login) { l.nonce = "" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ts := serveTest(t, askPassword, nil)
			call := newRawPeer(t, ts, "127.0.0.1").newCall()
			challenges := call.challenged("INVITE")
			offered := func(c *digest.Challenge) string {
				return fmt.Sprintf("%s %s %v %t %t", c.Algorithm, c.Realm, c.QOP, c.Stale, c.Nonce == challenges[0].Nonce)
			}
			if len(challenges) != 2 || offered(challenges[0]) != "SHA-256 afterbeep [auth] false true" || offered(challenges[1]) != "MD5 afterbeep [auth] false true" {
				t.Fatalf("challenges %+v", challenges)
			}
			l := answer(challenges[0])
			tt.change(&l)
			call.as("INVITE", l)
			if tt.answered {
				call.toTag = call.peer.expect("SIP/2.0 200", "INVITE").toTag()
				call.ack("")
				call.bye() // within the dialog nobody is asked
			} else if again := call.challengesIn("INVITE"); again[0].Stale != tt.stale || again[0].Nonce == l.nonce {
				t.Errorf("challenged again with %+v", again[0])
			}
			if got := ts.Stats(); got.Logins != tt.refused || got.Calls != uint64(len(ts.calls)) || (len(ts.calls) == 1) != tt.answered {
				t.Errorf("stats %+v, %d calls", got, len(ts.calls))
			}
		})
	}
}

// Whoever overhears a login cannot use it again; the peer itself may go on
// with its nonce, and resend what was lost.
func TestLoginCountsOnce(t *testing.T) {
	ts := serveTest(t, askPassword, nil)
	peer := newRawPeer(t, ts, "127.0.0.1")
	first := peer.newCall()
	l := answer(first.challenged("INVITE")[0])
	first.as("INVITE", l)
	peer.expect("SIP/2.0 200", "INVITE")
	first.send("INVITE") // its 200 was lost
	first.toTag = peer.expect("SIP/2.0 200", "INVITE").toTag()
	first.ack("")

	replay := newRawPeer(t, ts, "127.0.0.2").newCall()
	replay.as("INVITE", l)
	if again := replay.challengesIn("INVITE"); !again[0].Stale {
		t.Error("the peer is not told that its password was right")
	}
	l.count = 3
	next := peer.newCall()
	next.as("INVITE", l)
	next.toTag = peer.expect("SIP/2.0 200", "INVITE").toTag()
	next.ack("")
	l.count = 2
	late := peer.newCall()
	late.as("INVITE", l)
	late.challengesIn("INVITE")
	next.bye()
	first.bye()
	if got := ts.Stats(); got.Calls != 2 || got.Logins != 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestWhoIsAskedForAPassword(t *testing.T) {
	ts := serveTest(t, askPassword, nil)
	peer := newRawPeer(t, ts, "127.0.0.1")
	options := peer.newCall()
	l := answer(options.challenged("OPTIONS")[1])
	options.as("OPTIONS", l)
	peer.expect("SIP/2.0 200", "OPTIONS")

	stranger := newRawPeer(t, ts, "127.9.9.9")
	for _, method := range []string{"INVITE", "OPTIONS", "REGISTER"} {
		stranger.newCall().send(method)
	}
	if m, ok := stranger.read(300 * time.Millisecond); ok {
		t.Errorf("a stranger was answered: %s", m.start)
	}
	ts.Drain()
	for _, method := range []string{"INVITE", "OPTIONS"} {
		peer.newCall().send(method)
		peer.expect("SIP/2.0 503", method)
	}
}

// A peer that never answers a challenge is found in the log, once.
func TestUnansweredChallengesAreTold(t *testing.T) {
	var lines bytes.Buffer
	ts := serveTest(t, func(s *Server) {
		askPassword(s)
		s.log = slog.New(slog.NewTextHandler(&lines, nil))
	}, nil)
	peer := newRawPeer(t, ts, "127.0.0.1")
	for range mostUnanswered + 2 {
		peer.newCall().challenged("INVITE")
	}
	if err := ts.Close(); err != nil {
		t.Fatal(err)
	}
	if said := lines.String(); strings.Count(said, "digest.algorithms") != 1 || strings.Contains(said, "refused") {
		t.Errorf("the log says:\n%s", said)
	}
}

func TestNonceSpend(t *testing.T) {
	ours, theirs := newNonces(), newNonces()
	start := time.Unix(1_800_000_000, 0)
	nonce := ours.mint("pbx", start)
	if nonce == ours.mint("pbx", start) {
		t.Error("two nonces are alike")
	}
	flipped := []byte(nonce)
	flipped[3] ^= 1
	for _, step := range []struct {
		name  string
		nonce string
		count int
		trunk string
		after time.Duration
		want  bool
	}{
		{"another machine's", theirs.mint("pbx", start), 1, "pbx", 0, false},
		{"another trunk's", nonce, 1, "sbc", 0, false},
		{"a bit of it turned", string(flipped), 1, "pbx", 0, false},
		{"cut", nonce[:20], 1, "pbx", 0, false},
		{"no base64", strings.Repeat("!", len(nonce)), 1, "pbx", 0, false},
		{"the first use", nonce, 1, "pbx", 30 * time.Second, true},
		{"the same once more", nonce, 1, "pbx", 30 * time.Second, false},
		{"the next count", nonce, 2, "pbx", 31 * time.Second, true},
		{"another nonce, which turns the memory", ours.mint("pbx", start.Add(50*time.Second)), 1, "pbx", 59 * time.Second, true},
		{"the same, remembered from the life before", nonce, 2, "pbx", 60 * time.Second, false},
		{"too late", nonce, 3, "pbx", 61 * time.Second, false},
		{"before its time", ours.mint("pbx", start.Add(2*time.Minute)), 1, "pbx", 61 * time.Second, false},
	} {
		if got := ours.spend(step.nonce, step.count, step.trunk, start.Add(step.after)); got != step.want {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
}

// What proved a password long ago is forgotten.
func TestNoncesForget(t *testing.T) {
	n := newNonces()
	at := time.Unix(1_800_000_000, 0)
	for range 1000 {
		n.spend(n.mint("pbx", at), 1, "pbx", at)
		at = at.Add(time.Second)
	}
	if kept := len(n.spent.young) + len(n.spent.old); kept > 130 {
		t.Errorf("%d nonces are remembered of two minutes with 120", kept)
	}
}

func FuzzLogin(f *testing.F) {
	a := logins{nonces: newNonces()}
	at := time.Now()
	right := login{user: "pbx", password: "open sesame", realm: "afterbeep", algorithm: "MD5", qop: "auth", count: 1, nonce: "x"}
	f.Add(strings.TrimPrefix(right.header("INVITE", "sip:101@127.0.0.1"), "Authorization: "))
	f.Add(`Digest username="pbx",realm="afterbeep",nonce="",uri="",response="",qop=auth,nc=ffffffffff,cnonce=""`)
	f.Add(`Basic cGJ4`)
	f.Add(`Digest =,"\`)
	d := &Digest{User: "pbx", Password: "open sesame"}
	f.Fuzz(func(t *testing.T, header string) {
		req, err := newParser().ParseSIP([]byte("INVITE sip:101@127.0.0.1 SIP/2.0\r\nAuthorization: " + strings.NewReplacer("\r", "", "\n", "").Replace(header) + "\r\n\r\n"))
		if err != nil {
			t.Skip()
		}
		in := &incoming{Request: req.(*sipmsg.Request), trunk: &Trunk{Name: "pbx"}}
		if a.judge(d, in, at) == proven {
			t.Error("proven without a nonce of ours")
		}
	})
}

func TestDigestSettings(t *testing.T) {
	var a DigestAlgorithm
	if err := a.UnmarshalText([]byte("sha-256")); err != nil || a != "SHA-256" {
		t.Errorf("%q, %v", a, err)
	}
	if err := a.UnmarshalText([]byte("SHA1")); err == nil {
		t.Error("SHA1 was taken")
	}
	alone := &Digest{User: "pbx", Password: "x", Realm: "office", Algorithms: []DigestAlgorithm{"MD5"}}
	want := []string{`Digest realm="office", nonce="n", stale=true, algorithm=MD5, qop="auth"`}
	if got := alone.challenges("n", true); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A trunk's password is asked of whoever its networks cover, and of nobody
// whom another trunk covers more closely.
func TestTheNearestTrunkDecides(t *testing.T) {
	o := Options{
		Listen: []ListenAddress{{"udp", netip.AddrPortFrom(loopback, 0)}},
		Trunks: []Trunk{
			{Name: "anywhere", From: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, Digest: &Digest{User: "pbx", Password: "open sesame"}},
			{Name: "here", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
		},
	}
	s, err := Listen(o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for source, asked := range map[string]bool{"127.0.0.1": false, "127.0.0.2": true, "203.0.113.5": true} {
		if trunk := s.trunks.find(netip.MustParseAddr(source)); (trunk.Digest != nil) != asked {
			t.Errorf("%s belongs to %s", source, trunk.Name)
		}
	}
}

package media

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

const (
	secret30 = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
	secret28 = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubA=="
)

func TestParseCrypto(t *testing.T) {
	for line, want := range map[string]struct { // want is the suite's tail, "" for a line that is not accepted
		suite string
		mki   []byte
	}{
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30:                           {"SHA1_80", nil},
		"42 AES_CM_128_HMAC_SHA1_32 inline:" + secret30:                          {"SHA1_32", nil},
		"1 aes_cm_128_hmac_sha1_80 INLINE:" + secret30:                           {"SHA1_80", nil},
		"1 AEAD_AES_128_GCM inline:" + secret28:                                  {"128_GCM", nil},
		"1 AEAD_AES_128_GCM inline:" + strings.TrimRight(secret28, "="):          {"128_GCM", nil},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + "|2^31":                 {"SHA1_80", nil},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + "|1048576|1:4":          {"SHA1_80", []byte{0, 0, 0, 1}},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + "|258:2":                {"SHA1_80", []byte{1, 2}},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + " WSH=64":               {"SHA1_80", nil},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + " -SOMETHING":           {"SHA1_80", nil},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + "|1:1|2^31":             {},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + "|258:1":                {},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + "|1:129":                {},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + "|1:0":                  {},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + "|x":                    {},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + ";inline:" + secret30:   {},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + " UNENCRYPTED_SRTP":     {},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + " UNAUTHENTICATED_SRTP": {},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + " KDR=4":                {},
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret28:                           {},
		"1 AES_CM_128_HMAC_SHA1_80 inline:$" + secret30[1:]:                      {},
		"1 AES_CM_128_HMAC_SHA1_80 uri:" + secret30:                              {},
		"1 AES_CM_128_HMAC_SHA1_80":                                              {},
		"1 F8_128_HMAC_SHA1_80 inline:" + secret30:                               {},
		"x AES_CM_128_HMAC_SHA1_80 inline:" + secret30:                           {},
		"01 AES_CM_128_HMAC_SHA1_80 inline:" + secret30:                          {},
		"1000000000 AES_CM_128_HMAC_SHA1_80 inline:" + secret30:                  {},
		"": {},
	} {
		tag, m, ok := parseCrypto(line)
		if ok != (want.suite != "") {
			t.Errorf("%q: accepted: %t", line, ok)
		}
		if !ok {
			continue
		}
		if !strings.HasSuffix(m.suite.name, want.suite) || !bytes.Equal(m.mki, want.mki) || tag != strings.Fields(line)[0] {
			t.Errorf("%q: tag %s, %s, mki %v", line, tag, m.suite.name, m.mki)
		}
		if got := base64.RawStdEncoding.EncodeToString(m.secret); !strings.Contains(line, got) {
			t.Errorf("%q: another key", line)
		}
	}
}

// The peer's order decides, and its tag is in the answer; a key of ours is in
// one description alone.
func TestChooseCrypto(t *testing.T) {
	lines := []string{
		"7 F8_128_HMAC_SHA1_80 inline:" + secret30,
		"8 AES_CM_128_HMAC_SHA1_32 inline:" + secret30,
		"9 AES_CM_128_HMAC_SHA1_80 inline:" + secret30,
	}
	one, err := chooseCrypto(lines)
	if err != nil {
		t.Fatal(err)
	}
	other, err := chooseCrypto(lines)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(one.line.text(), "8 AES_CM_128_HMAC_SHA1_32 inline:") || one.line.text() == other.line.text() {
		t.Errorf("%s and %s", one.line.text(), other.line.text())
	}
	if _, again, ok := parseCrypto(one.line.text()); !ok || !again.equal(one.line.ours) {
		t.Error("our own line is not understood")
	}
	if _, err := chooseCrypto(lines[:1]); err == nil {
		t.Error("a suite that is not known is chosen")
	}
}

// TestNoKeyIsTold looks for keys in what a call that goes wrong in every way
// has logged, and in each refusal.
func TestNoKeyIsTold(t *testing.T) {
	var told bytes.Buffer
	e := newTestEngine(t, nil)
	e.log = slog.New(slog.NewTextHandler(&told, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p := newPhone(t, "127.0.0.1:0")
	for _, line := range []string{
		"1 F8_128_HMAC_SHA1_80 inline:" + secret30, "1 AES_CM_128_HMAC_SHA1_80 inline:" + secret28, "inline:" + secret30,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + " UNENCRYPTED_SRTP", secret30,
	} {
		offer := bytes.Replace(p.offer("0", "a=crypto:"+line), []byte("RTP/AVP"), []byte("RTP/SAVP"), 1)
		_, err := e.Open(offer, nil)
		if err == nil {
			t.Fatalf("%q is accepted", line)
		}
		told.WriteString(err.Error())
	}
	key := testMaster(cm80(), 0x5a)
	l := p.openSecure(e, key)
	r := record(t, l, discard{})
	stranger := newPhone(t, "127.9.9.9:0")
	stranger.to = p.to
	p.send(0, 1)
	eventually(t, "the caller", arrived(l, 1))
	stranger.send(0, 2*strangersCounted)
	eventually(t, "the stranger is logged", func() bool { return l.Stats().Foreign >= strangersCounted })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	for _, shown := range []any{key, *key, l.agreed.Load().protected, *l.agreed.Load().protected, l.agreed.Load().protected.line} {
		slog.New(slog.NewTextHandler(&told, nil)).Info("key", "key", shown)
		fmt.Fprintf(&told, "%v %+v %#v", shown, shown, shown)
	}
	for _, m := range []*master{key, l.agreed.Load().protected.line.ours} {
		for _, secret := range []string{
			base64.StdEncoding.EncodeToString(m.secret)[:8], fmt.Sprintf("%x", m.secret)[:8], fmt.Sprintf("%d", m.secret)[1:12], string(m.secret[:4]),
			fmt.Sprintf("%#v", m.secret[:4]), secret30[:8],
		} {
			if strings.Contains(told.String(), secret) {
				t.Errorf("a key is told: %s", told.String())
			}
		}
	}
}

// FuzzCrypto reads whatever stands in an a=crypto line.
func FuzzCrypto(f *testing.F) {
	f.Add("1 AES_CM_128_HMAC_SHA1_80 inline:" + secret30 + "|2^20|1:4 WSH=64")
	f.Add("2 AEAD_AES_128_GCM inline:" + secret28)
	f.Fuzz(func(t *testing.T, line string) {
		tag, m, ok := parseCrypto(line)
		if !ok {
			return
		}
		if len(m.secret) != m.suite.key+m.suite.salt || len(m.mki) > 128 || !slices.Contains(strings.Fields(line), tag) {
			t.Errorf("%q: tag %q, %d bytes, mki %v", line, tag, len(m.secret), m.mki)
		}
		if _, err := m.context(); err != nil {
			t.Error(err)
		}
	})
}

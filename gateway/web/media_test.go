package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

func serve(s http.Handler, r *http.Request) int {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code
}

func TestMediaLink(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	n, other := m.add(delivery.Note{Kind: delivery.Voice}), m.add(delivery.Note{Kind: delivery.Voice})
	link, err := url.Parse(s.Link(n.ID, time.Now().Add(time.Hour)))
	if err != nil || link.Scheme != "https" || link.Host != "notes.example" || link.Path != "/voice/media/"+n.ID {
		t.Fatalf("link %v: %v", link, err)
	}
	q := link.Query()
	exp, sig := q.Get("exp"), q.Get("sig")
	later := strconv.FormatInt(time.Now().Add(2*time.Hour).Unix(), 10)
	over := strconv.FormatInt(time.Now().Add(-time.Second).Unix(), 10)
	unknown := delivery.NewID()
	want404 := dump(ask(t, s, "GET", "/"))
	for _, c := range []struct {
		why, id, exp, sig string
		ok                bool
	}{
		{"as signed", n.ID, exp, sig, true},
		{"other note", other.ID, exp, sig, false},
		{"later end", n.ID, later, sig, false},
		{"over", n.ID, over, sign(s.linkKey, n.ID, over), false},
		{"end written otherwise", n.ID, "0" + exp, sig, false},
		{"end is no number", n.ID, "never", sign(s.linkKey, n.ID, "never"), false},
		{"no end", n.ID, "", sign(s.linkKey, n.ID, ""), false},
		{"parts shifted", n.ID + "\x00" + exp[:2], exp[2:], sig, false},
		{"signature cut", n.ID, exp, sig[:len(sig)-1], false},
		{"signature padded", n.ID, exp, sig + "=", false},
		{"no signature", n.ID, exp, "", false},
		{"session's key", n.ID, exp, sign(s.sessionKey, n.ID, exp), false},
		{"no such note, well signed", unknown, exp, sign(s.linkKey, unknown, exp), false},
		{"no id, well signed", "note", exp, sign(s.linkKey, "note", exp), false},
	} {
		t.Run(c.why, func(t *testing.T) {
			target := "/media/" + url.PathEscape(c.id) + "?" + url.Values{"exp": {c.exp}, "sig": {c.sig}}.Encode()
			r := ask(t, s, "GET", target)
			if c.ok && (r.Code != http.StatusOK || r.Body.String() != string(tone)) {
				t.Errorf("got %d", r.Code)
			}
			if !c.ok {
				if got := dump(r); got != want404 {
					t.Errorf("got %s", got)
				}
			}
		})
	}
	if got := newServer(t, m, func(o *Options) { o.PublicURL = "" }).Link(n.ID, time.Now()); got != "" {
		t.Errorf("a link without a public URL: %q", got)
	}
}

func TestMediaLinkEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := newServer(t, m, nil)
		n := m.add(delivery.Note{Kind: delivery.Voice})
		link, _ := url.Parse(s.Link(n.ID, time.Now().Add(time.Hour)))
		target := strings.TrimPrefix(link.RequestURI(), "/voice")
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{59 * time.Minute, http.StatusOK}, {time.Minute, http.StatusNotFound}} {
			time.Sleep(step.wait)
			if r := ask(t, s, "GET", target); r.Code != step.want {
				t.Errorf("after %v more: %d, want %d", step.wait, r.Code, step.want)
			}
		}
	})
}

func TestMediaHeaders(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	n := m.add(delivery.Note{Kind: delivery.Voice})
	etag := `"` + n.Media.SHA256 + `"`
	for _, c := range []struct {
		name, method string
		change       func(*http.Request)
		status       int
		body         string
	}{
		{"whole", "GET", header("X", ""), http.StatusOK, string(tone)},
		{"head", "HEAD", header("X", ""), http.StatusOK, ""},
		{"range", "GET", header("Range", "bytes=0-3"), http.StatusPartialContent, "OggS"},
		{"end", "GET", header("Range", "bytes=-5"), http.StatusPartialContent, string(tone[len(tone)-5:])},
		{"range beyond", "GET", header("Range", "bytes=99999999-"), http.StatusRequestedRangeNotSatisfiable, "invalid range: failed to overlap\n"},
		{"range of this file", "GET", func(r *http.Request) { r.Header.Set("Range", "bytes=0-3"); r.Header.Set("If-Range", etag) }, http.StatusPartialContent, "OggS"},
		{"range of another file", "GET", func(r *http.Request) { r.Header.Set("Range", "bytes=0-3"); r.Header.Set("If-Range", `"x"`) }, http.StatusOK, string(tone)},
		{"known", "GET", header("If-None-Match", etag), http.StatusNotModified, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ask(t, s, c.method, "/inbox/"+receptionToken+"/notes/"+n.ID+"/media", c.change)
			if got := r.Body.String(); r.Code != c.status || got != c.body {
				t.Errorf("got %d and %d bytes, want %d and %d", r.Code, len(got), c.status, len(c.body))
			}
			if c.status == http.StatusOK && (r.Header().Get("Content-Type") != "audio/ogg; codecs=opus" || r.Header().Get("ETag") != etag || r.Header().Get("Accept-Ranges") != "bytes") {
				t.Errorf("headers %v", r.Header())
			}
		})
	}
}

func TestMediaIsNeverAPage(t *testing.T) {
	for kept, want := range map[string]string{
		"audio/ogg; codecs=opus": "audio/ogg; codecs=opus",
		"video/mp4":              "video/mp4",
		"text/html":              "application/octet-stream",
		"":                       "application/octet-stream",
	} {
		if got := mediaType(kept); got != want {
			t.Errorf("%q is served as %q, want %q", kept, got, want)
		}
	}
}

func FuzzMediaLink(f *testing.F) {
	m := newMemory()
	s := newServer(f, m, nil)
	n := m.add(delivery.Note{Kind: delivery.Voice})
	exp := strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	good := sign(s.linkKey, n.ID, exp)
	f.Add(n.ID, exp, good)
	f.Add(n.ID, exp, good+"=")
	f.Add(n.ID[:25], n.ID[25:]+exp, good)
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, id, expires, signature string) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://notes.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Path = "/media/" + id
		r.URL.RawQuery = url.Values{"exp": {expires}, "sig": {signature}}.Encode()
		signed := id == n.ID && expires == exp && signature == good
		if got := serve(s, r); got == http.StatusOK != signed {
			t.Fatalf("%q %q %q: %d", id, expires, signature, got)
		}
	})
}

// Browsers that know no Opus get an MP3 file, in parts as they like it.
func TestMediaAsMP3(t *testing.T) {
	m := newMemory()
	encoded := 0
	s := newServer(t, m, func(o *Options) {
		o.MP3 = func(_ context.Context, note io.Reader) ([]byte, error) {
			encoded++
			got, err := io.ReadAll(note)
			if err == nil && string(got) != string(tone) {
				err = errors.New("not the note's file")
			}
			return []byte("an MP3 file"), err
		}
	})
	n := m.add(delivery.Note{Kind: delivery.Voice})
	link, _ := url.Parse(s.Link(n.ID, time.Now().Add(time.Hour)))
	for _, target := range []string{"/media/" + n.ID + "?" + link.RawQuery + "&as=mp3", "/inbox/" + receptionToken + "/notes/" + n.ID + "/media?as=mp3"} {
		for _, c := range []struct{ ranges, want string }{{"", "an MP3 file"}, {"bytes=3-5", "MP3"}} {
			r := ask(t, s, "GET", target, header("Range", c.ranges))
			if h := r.Header(); r.Body.String() != c.want || h.Get("Content-Type") != "audio/mpeg" ||
				h.Get("ETag") != `"`+n.Media.SHA256+`-mp3"` || !strings.HasSuffix(h.Get("Content-Disposition"), `.mp3"`) {
				t.Errorf("%s of %s got %d %q, %v", c.ranges, target, r.Code, r.Body, h)
			}
		}
	}
	if encoded != 1 {
		t.Errorf("it was encoded %d times", encoded)
	}
	if got := dump(ask(t, s, "GET", "/media/"+n.ID+"?exp=1&sig=x&as=mp3")); got != dump(ask(t, s, "GET", "/")) {
		t.Errorf("without a signature: %s", got)
	}
	video := m.add(delivery.Note{Kind: delivery.Video, Media: delivery.Media{Type: "video/mp4", SHA256: "v"}})
	if got := ask(t, s, "GET", "/inbox/"+receptionToken+"/notes/"+video.ID+"/media?as=mp3").Header().Get("Content-Type"); got != "video/mp4" {
		t.Errorf("a video came as %s", got)
	}
}

func TestMediaThatDoesNotBecomeMP3(t *testing.T) {
	m := newMemory()
	n := m.add(delivery.Note{Kind: delivery.Voice})
	for _, c := range []struct {
		why    string
		mp3    func(context.Context, io.Reader) ([]byte, error)
		status int
	}{
		{"for there is no way", nil, http.StatusOK}, // as it was kept
		{"for it fails", func(context.Context, io.Reader) ([]byte, error) { return nil, errors.New("bad page") }, http.StatusServiceUnavailable},
	} {
		t.Run(c.why, func(t *testing.T) {
			s := newServer(t, m, func(o *Options) { o.MP3 = c.mp3 })
			r := ask(t, s, "GET", "/inbox/"+receptionToken+"/notes/"+n.ID+"/media?as=mp3")
			if r.Code != c.status || strings.Contains(r.Body.String(), "bad page") {
				t.Errorf("got %d", r.Code)
			}
		})
	}
}

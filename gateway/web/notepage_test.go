package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

func TestNotePageIsSigned(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	n, other := linkedNote(m), linkedNote(m)
	link, err := url.Parse(s.Page(n.ID, time.Now().Add(time.Hour)))
	if err != nil || link.Scheme != "https" || link.Host != "notes.example" || link.Path != "/voice/note/"+n.ID {
		t.Fatalf("link %v: %v", link, err)
	}
	exp, sig := link.Query().Get("exp"), link.Query().Get("sig")
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
		{"over", n.ID, over, sign(s.pageKey, n.ID, over), false},
		{"end written otherwise", n.ID, "0" + exp, sig, false},
		{"end is no number", n.ID, "never", sign(s.pageKey, n.ID, "never"), false},
		{"no end", n.ID, "", sign(s.pageKey, n.ID, ""), false},
		{"parts shifted", n.ID + "\x00" + exp[:2], exp[2:], sig, false},
		{"signature cut", n.ID, exp, sig[:len(sig)-1], false},
		{"one letter changed", n.ID, exp, string(sig[0]^1) + sig[1:], false},
		{"no signature", n.ID, exp, "", false},
		{"a file's signature", n.ID, exp, sign(s.linkKey, n.ID, exp), false},
		{"no such note, well signed", unknown, exp, sign(s.pageKey, unknown, exp), false},
		{"no id, well signed", "note", exp, sign(s.pageKey, "note", exp), false},
	} {
		t.Run(c.why, func(t *testing.T) {
			query := "?" + url.Values{"exp": {c.exp}, "sig": {c.sig}}.Encode()
			for _, request := range []string{"GET /note/" + url.PathEscape(c.id), "POST /note/" + url.PathEscape(c.id) + "/played"} {
				method, path, _ := strings.Cut(request, " ")
				r := ask(t, s, method, path+query)
				if c.ok && r.Code >= 300 || !c.ok && dump(r) != want404 {
					t.Errorf("%s got %s", method, dump(r))
				}
			}
		})
	}
	if m.note(n.ID).PlayedAt.IsZero() || !m.note(other.ID).PlayedAt.IsZero() {
		t.Error("the signed note is not the one marked as played")
	}
	if r := ask(t, s, "GET", "/media/"+n.ID+"?exp="+exp+"&sig="+sig); dump(r) != want404 {
		t.Error("the page's signature opens the file")
	}
}

func TestNotePageFromAnotherSiteMarksNothing(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	n := linkedNote(m)
	link, _ := url.Parse(s.Page(n.ID, time.Now().Add(time.Hour)))
	r := ask(t, s, "POST", "/note/"+n.ID+"/played?"+link.RawQuery, header("Sec-Fetch-Site", "cross-site"))
	if r.Code != http.StatusNotFound || !m.note(n.ID).PlayedAt.IsZero() {
		t.Errorf("got %d", r.Code)
	}
}

func TestNotePageExpiresWithItsMedia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		s := newServer(t, m, nil)
		n := linkedNote(m)
		link, _ := url.Parse(s.Page(n.ID, time.Now().Add(time.Hour)))
		page := ask(t, s, "GET", "/note/"+n.ID+"?"+link.RawQuery).Body.String()
		source := regexp.MustCompile(`<source src="\.\.(/media/[^"]+)" type="audio/ogg; codecs=opus">`).FindStringSubmatch(page)
		if source == nil {
			t.Fatalf("the page plays nothing:\n%s", page)
		}
		media := strings.ReplaceAll(source[1], "&amp;", "&")
		if r := ask(t, s, "GET", media); r.Body.String() != string(tone) {
			t.Errorf("the page's audio got %d", r.Code)
		}
		want404 := dump(ask(t, s, "GET", "/"))
		time.Sleep(time.Hour)
		for _, target := range []string{"/note/" + n.ID + "?" + link.RawQuery, media} {
			if got := dump(ask(t, s, "GET", target)); got != want404 {
				t.Errorf("an hour later %s got %s", target, got)
			}
		}
	})
}

func TestNotePageSays(t *testing.T) {
	at := time.Date(2026, 3, 1, 13, 3, 0, 0, time.UTC)
	maria := delivery.Caller{Number: "+493055501234", Name: "Maria <b>K.</b>"}
	for _, c := range []struct {
		why          string
		note         delivery.Note
		want, unwant []string
	}{
		{
			"voice",
			delivery.Note{Kind: delivery.Voice, Caller: maria, Reason: "busy", Partial: true},
			[]string{
				`<html lang="en">`, "Voice message from Maria &lt;b&gt;K.&lt;/b&gt; (&#43;49\u00a030\u00a055501234)", "Sunday 1 March, 14:03 · 0:06 · the line was busy",
				"The call was cut off", `href="tel:&#43;493055501234"`, "<audio", `name="robots" content="noindex`,
			},
			[]string{"<b>", "<video", "no longer available"},
		},
		{
			"private",
			delivery.Note{Kind: delivery.Voice, Caller: delivery.Caller{Number: "+493055501234", Name: "Maria", Private: true}},
			[]string{"Voice message from a private number", "<audio"},
			[]string{"Maria", "5550", "tel:"},
		},
		{
			"missed",
			delivery.Note{Kind: delivery.Missed, Caller: delivery.Caller{Number: "101"}},
			[]string{"Missed call from 101", `href="tel:101"`},
			[]string{"<audio", "note.js"},
		},
		{
			"video",
			delivery.Note{Kind: delivery.Video, Caller: maria, Media: delivery.Media{Type: "video/mp4", Bytes: 9}},
			[]string{"Video message from", `<video class="picture" controls playsinline`},
			[]string{"<audio"},
		},
		{
			"what retention took",
			delivery.Note{Kind: delivery.Video, Caller: maria, Partial: true, Media: delivery.Media{Type: "video/mp4", Bytes: 9, Gone: true}},
			[]string{"This message is no longer available.", "tel:"},
			[]string{"<video", "<audio", "note.js", "cut off"},
		},
	} {
		t.Run(c.why, func(t *testing.T) {
			m := newMemory()
			s := newServer(t, m, nil)
			c.note.Recipient, c.note.CalledAt = berlin(), at
			n := m.add(c.note)
			link, _ := url.Parse(s.Page(n.ID, time.Now().Add(time.Hour)))
			r := ask(t, s, "GET", "/note/"+n.ID+"?"+link.RawQuery)
			page := r.Body.String()
			for _, want := range c.want {
				if !strings.Contains(page, want) {
					t.Errorf("lacks %q:\n%s", want, page)
				}
			}
			for _, unwant := range c.unwant {
				if strings.Contains(page, unwant) {
					t.Errorf("has %q:\n%s", unwant, page)
				}
			}
			if h := r.Header(); h.Get("Content-Security-Policy") != contentSecurity || h.Get("Cache-Control") != "no-store" ||
				h.Get("X-Robots-Tag") != "noindex" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Set-Cookie") != "" {
				t.Errorf("headers %v", h)
			}
			for _, inline := range []string{"<style", "style=", "<script>", " onclick", "https://", "http://"} {
				if strings.Contains(page, inline) {
					t.Errorf("has %q", inline)
				}
			}
		})
	}
}

func TestNotePageOffersMP3(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, func(o *Options) {
		o.MP3 = func(context.Context, io.Reader) ([]byte, error) { return []byte("an MP3 file"), nil }
	})
	n := linkedNote(m)
	link, _ := url.Parse(s.Page(n.ID, time.Now().Add(time.Hour)))
	page := ask(t, s, "GET", "/note/"+n.ID+"?"+link.RawQuery).Body.String()
	source := regexp.MustCompile(`<source src="\.\.(/media/[^"]+)" type="audio/mpeg">`).FindStringSubmatch(page)
	if source == nil {
		t.Fatalf("none in\n%s", page)
	}
	if got := ask(t, s, "GET", strings.ReplaceAll(source[1], "&amp;", "&")).Body.String(); got != "an MP3 file" {
		t.Errorf("it is %q", got)
	}
}

func TestNotePageWhenTheStoreFails(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	n := linkedNote(m)
	link, _ := url.Parse(s.Page(n.ID, time.Now().Add(time.Hour)))
	m.fail = errors.New("disk I/O error")
	if r := ask(t, s, "GET", "/note/"+n.ID+"?"+link.RawQuery); r.Code != http.StatusServiceUnavailable || strings.Contains(r.Body.String(), "disk") {
		t.Errorf("got %d %s", r.Code, r.Body)
	}
}

func TestNoPageWithoutPublicURL(t *testing.T) {
	s := newServer(t, newMemory(), func(o *Options) { o.PublicURL = "" })
	if got := s.Page(delivery.NewID(), time.Now().Add(time.Hour)); got != "" {
		t.Errorf("a link to nowhere: %s", got)
	}
}

package web

import (
	"context"
	"strings"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/afterbeep/afterbeep/delivery"
)

// berlin is who the notes behind links are for.
func berlin() delivery.Recipient {
	return delivery.Recipient{Number: reception, Language: "en", Timezone: "Europe/Berlin"}
}

func linkedNote(m *memory) delivery.Note {
	return m.add(delivery.Note{
		Kind: delivery.Voice, Recipient: berlin(), Caller: delivery.Caller{Number: "+493055501234", Name: "Maria Kern"}, Reason: "busy",
		CalledAt: time.Date(2026, 3, 1, 13, 3, 0, 0, time.UTC), Waveform: voice(), Partial: true,
	})
}

func tryNotePage(page tab) {
	t := page.t
	m := newMemory()
	s := newServer(t, m, nil)
	address := listen(t, s)
	n := linkedNote(m)
	page.dark()
	page.do("open", phone(), chromedp.Navigate(local(address, s.Page(n.ID, time.Now().Add(time.Hour)))))
	page.until("it says who", "document.querySelector('h1').textContent === 'Voice message from Maria Kern (+49\u00a030\u00a055501234)'")
	page.until("it says when, how long and why, where the recipient lives", "document.querySelector('h1 + p').textContent === 'Sunday 1 March, 14:03 · 0:06 · the line was busy'")
	page.until("the caller can be called back", "document.querySelector('a.dial').getAttribute('href') === 'tel:+493055501234'")
	page.until("the page's own player stands in place of the browser's", count("audio", 0)+" && "+count(".note.is-unplayed .play", 1))
	page.until("nothing hangs over", "document.documentElement.scrollWidth <= 390")
	page.picture("note-1-phone-dark")
	page.do("play", chromedp.Click(chromedp.CSS(".play")))
	page.until("it plays", count(".note.is-playing", 1))
	page.until("the time moves", value(0)+" >= 1")
	page.picture("note-2-playing-dark")
	eventually(t, "the note is not marked as played", func() bool { return !m.note(n.ID).PlayedAt.IsZero() })
	page.do("seek by click", chromedp.Click(chromedp.CSS("[role=slider]")))
	page.until("it goes to the middle", value(0)+" >= 3")
}

func tryNoteWithoutScript(page tab) {
	t := page.t
	m := newMemory()
	s := newServer(t, m, nil)
	address := listen(t, s)
	n := linkedNote(m)
	page.do("open", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}), phone(), chromedp.Navigate(local(address, s.Page(n.ID, time.Now().Add(time.Hour)))))
	length, err := chromedp.Run(page.ctx, chromedp.EvaluateAsDevTools[float64]("document.querySelector('audio[controls] source').src.includes('/media/') ? document.querySelector('audio').getBoundingClientRect().width : 0"))
	if err != nil || length < 250 {
		t.Errorf("the browser's own player is %v points wide (%v)", length, err)
	}
	page.picture("note-3-no-script")
}

func tryNoteGone(page tab) {
	t := page.t
	m := newMemory()
	s := newServer(t, m, nil)
	address := listen(t, s)
	n := linkedNote(m)
	m.retire(n)
	page.do("open", phone(), chromedp.Navigate(local(address, s.Page(n.ID, time.Now().Add(time.Hour)))))
	page.until("it says so", "document.querySelector('.expired').textContent === 'This message is no longer available.'")
	page.until("there is nothing to play", count("audio, .play", 0))
	page.picture("note-4-gone")
	page.do("on a desk", chromedp.EmulateViewport(1280, 800))
	page.picture("note-5-gone-desk")
}

// voice is a waveform with words and pauses in it.
func voice() []byte {
	levels := make([]byte, 64)
	for i := range levels {
		levels[i] = byte((i*i*37+i*101)%200) * byte(min(1, i%9))
	}
	return levels
}

// local is where the tests' server has a public link.
func local(address, link string) string {
	return address + strings.TrimPrefix(link, "https://notes.example/voice")
}

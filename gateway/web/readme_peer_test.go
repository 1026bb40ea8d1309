package web

import (
	"slices"
	"strings"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/afterbeep/afterbeep/delivery"
)

// tryManyCallers is the picture in README.md: with AFTERBEEP_PICTURES set to the
// folder deploy it is taken anew.
func tryManyCallers(page tab) {
	m := newMemory()
	address := listen(page.t, newServer(page.t, m, nil))
	const day = 24 * time.Hour
	now := time.Now()
	maria := delivery.Caller{Number: "+493055501234", Name: "Maria Kowalski"}
	for i, n := range []struct {
		ago     time.Duration
		caller  delivery.Caller
		seconds int // 0 is a missed call
		reason  string
	}{
		{9 * day, delivery.Caller{Number: "+442079460958"}, 19, "missed"},
		{5 * day, delivery.Caller{Number: "+493055504711", Name: "Warehouse"}, 8, "busy"},
		{4 * day, delivery.Caller{Private: true}, 0, "missed"},
		{day + 80*time.Minute, delivery.Caller{Number: "+493055507070", Name: "Lena Okafor"}, 0, "busy"},
		{day + 45*time.Minute, maria, 17, "missed"},
		{day + 22*time.Minute, maria, 0, "busy"},
		{day + 20*time.Minute, maria, 23, "unreachable"},
		{38 * time.Minute, delivery.Caller{Number: "+493055508080", Name: "Brandt Elektro"}, 51, "busy"},
		{33 * time.Minute, maria, 0, "declined"},
		{31 * time.Minute, maria, 6, "forwarded"},
		{16 * time.Minute, maria, 12, "missed"},
	} {
		note := delivery.Note{
			ID: strings.Repeat("0", 25) + string(rune('a'+i)), Kind: delivery.Missed, Caller: n.caller, Reason: n.reason,
			CalledAt: now.Add(-n.ago), Partial: n.reason == "unreachable",
		}
		if heard := note.CalledAt.Add(9 * time.Minute); n.seconds == 0 {
			note.ReadAt = heard
		} else {
			note.Kind, note.Waveform = delivery.Voice, slices.Concat(voice()[5*i:], voice()[:5*i])
			if n.seconds != 12 && n.seconds != 51 { // those are new
				note.ReadAt, note.PlayedAt = heard, heard
			}
		}
		m.add(note)
		m.notes[len(m.notes)-1].Duration = time.Duration(n.seconds) * time.Second
	}
	page.do("open", chromedp.EmulateViewport(1180, 760), chromedp.Navigate(address+InboxPath(receptionToken)))
	page.until("all callers are listed", count(".caller", 6))
	page.until("the newest caller's thread is shown", count(".note", 6))
	page.until("no number is cut short", "[...document.querySelectorAll('.caller-name')].every((name) => name.scrollWidth <= name.clientWidth)")
	page.do("play", chromedp.Click(chromedp.CSS(".note:nth-last-of-type(2) .play")))
	page.until("it plays", count(".note.is-playing", 1))
	page.picture("inbox")
}

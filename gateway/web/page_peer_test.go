package web

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/afterbeep/afterbeep/delivery"
)

func waveform() []byte {
	levels := make([]byte, 64)
	for i := range levels {
		levels[i] = byte(i * 4)
	}
	return levels
}

func TestPage(t *testing.T) {
	browser := startChromium(t)
	for _, c := range []struct {
		name     string
		try      func(page tab)
		expected []string // on the console
	}{
		{"the recipient listens", tryListening, nil},
		{"the connection was lost", tryReconnecting, nil},
		{"notes cannot be read", tryFailing, []string{"503"}},
		{"older notes", tryOlder, nil},
		{"many callers", tryManyCallers, nil},
		{"a phone shows list and thread", tryPhone, nil},
		{"audio that is no longer kept", tryGone, nil},
		{"a chat hears of it too", tryReceipts, nil},
		{"the mailbox is erased meanwhile", tryErased, []string{"404"}},
		{"a chat is linked on a phone", tryLinkingOnPhone, nil},
		{"a chat is linked from a desk", tryLinkingFromDesk, nil},
		{"a code that is over, and none to be had", tryLateLinking, []string{"429", "503"}},
		{"every language", tryEveryLanguage, nil},
		{"a note by its link", tryNotePage, nil},
		{"a note without a script", tryNoteWithoutScript, nil},
		{"a note whose audio is gone", tryNoteGone, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			page := browser.open(t, c.expected...)
			c.try(page)
			page.do("leave, before the server does", chromedp.Navigate("about:blank"))
		})
	}
}

func tryListening(page tab) {
	t := page.t
	m := newMemory()
	address := listen(t, newServer(t, m, nil))
	maria := delivery.Caller{Number: "+493055501234", Name: `Maria <img src=x onerror="document.title='!'">`}
	first := m.add(delivery.Note{ID: id(1), Kind: delivery.Voice, Caller: maria, Reason: "busy", Waveform: waveform()})
	m.add(delivery.Note{ID: id(0), Kind: delivery.Missed, Caller: delivery.Caller{Private: true}, Reason: "declined"})

	page.do("open", chromedp.EmulateViewport(1280, 800), chromedp.Navigate(address+InboxPath(receptionToken)))
	page.until("both callers are listed", count(".caller", 2))
	page.until("the newest caller's note is shown, unplayed", count(".note-voice.is-unplayed", 1))
	page.until("the caller's name is only a text", count("img", 0))
	page.until("why is said", "document.querySelector('.note .why').textContent === 'Line was busy'")
	page.until("calling back is offered", "document.querySelector('a.call').getAttribute('href') === 'tel:+493055501234'")
	page.until("the title counts", "document.title.startsWith('(')")
	eventually(t, "a note in sight is not marked as read", func() bool { return !m.note(first.ID).ReadAt.IsZero() })
	page.until("one is left unread: the other caller's", "document.title.startsWith('(1)')")

	page.do("play", chromedp.Click(chromedp.CSS(".note .play")))
	page.until("it plays", count(".note.is-playing", 1))
	page.until("the time moves", value(0)+" >= 1")
	page.until("the mark of the new goes away", count(".note.is-unplayed", 0))
	eventually(t, "the note is not marked as played", func() bool { return !m.note(first.ID).PlayedAt.IsZero() })

	page.do("pause by key", chromedp.Focus(chromedp.CSS(".note")), chromedp.KeyEvent(" "))
	page.until("it pauses", count(".note.is-playing", 0))
	page.do("seek by click", chromedp.Click(chromedp.CSS("[role=slider]"))) // in its middle
	page.until("it goes to the middle", value(0)+" === 3")
	page.do("seek by key", chromedp.Focus(chromedp.CSS("[role=slider]")), chromedp.KeyEvent(kb.ArrowLeft))
	page.until("it goes a second back", value(0)+" === 2 && document.querySelector('[role=slider]').ariaValueText === '0:02 of 0:06'")
	page.do("faster", chromedp.Click(chromedp.CSS(".note .speed")))
	page.until("the speed is shown", "document.querySelector('.note .speed').textContent === '1.5×'")

	second := m.add(delivery.Note{ID: id(2), Kind: delivery.Voice, Caller: maria, Waveform: waveform(), Partial: true})
	page.until("a new note appears by itself", count(".note-voice", 2))
	page.until("it is announced", "document.querySelector('#app > [role=status]').textContent.startsWith('New: Maria')")
	page.until("it says that it was cut off", count(".note .cut", 1))
	page.do("play both", chromedp.Click(chromedp.CSS(".note .play")), chromedp.Click(chromedp.CSS(".note:last-of-type .play")))
	page.until("one plays at a time", count(".note.is-playing", 1)+" && "+value(1)+" >= 1")
	eventually(t, "the second note is not marked as played", func() bool { return !m.note(second.ID).PlayedAt.IsZero() })

	third := m.add(delivery.Note{ID: id(3), Kind: delivery.Voice, Caller: maria, Waveform: waveform()})
	page.until("a third note", count(".note-voice", 3))
	page.do("play on", chromedp.Click(chromedp.CSS(".play-on")), chromedp.Focus(chromedp.CSS(".note:has(.speed)")),
		chromedp.KeyEvent(" "), chromedp.Focus(chromedp.CSS("[role=slider]")), chromedp.KeyEvent(kb.End))
	page.until("at the end the next unplayed note plays", fmt.Sprintf("document.querySelector('.is-playing').dataset.id === '%s'", third.ID))
	page.do("up and down", chromedp.Focus(chromedp.CSS(".note:last-of-type")), chromedp.KeyEvent(kb.ArrowUp))
	page.until("the focus moves between notes", fmt.Sprintf("document.activeElement.dataset.id === '%s'", second.ID))
	page.until("Tab reaches one note only", count(".note[tabindex='0']", 1)+" && "+count(".note [tabindex='0']", 3))

	page.do("the other caller", chromedp.Click(chromedp.CSS(".callers li:last-child .caller")))
	page.until("a missed call is a line", "document.querySelector('.note-missed .what').textContent === 'Missed call'")
	page.until("there is nothing to play nor to call", count(".note-missed .play, a.call", 0))
}

func tryReconnecting(page tab) {
	t := page.t
	m := newMemory()
	s := newServer(t, m, nil)
	address := listen(t, s)
	page.do("open", chromedp.Navigate(address+InboxPath(receptionToken)))
	page.until("it says that there is nothing yet", "document.querySelector('.state h2').textContent === 'No messages yet'")
	eventually(t, "the page does not watch", func() bool { return m.watched() == 1 })

	m.mute() // what comes now is told to nobody
	missed := m.add(delivery.Note{Kind: delivery.Missed, Caller: delivery.Caller{Number: "101"}})
	m.hangUp()
	page.until("what came in between is there", count(fmt.Sprintf(".note[data-id='%s']", missed.ID), 1))
}

func tryFailing(page tab) {
	t := page.t
	m := newMemory()
	address := listen(t, newServer(t, m, func(o *Options) { o.Inbox = failing{m} }))
	page.do("open", chromedp.Navigate(address+InboxPath(receptionToken)))
	page.until("it says so", "document.querySelector('.state [role=alert]').textContent === 'Your messages could not be loaded.'")
	page.until("it can be tried again", count(".state button", 1))
}

// failing cannot list notes.
type failing struct{ *memory }

func (failing) Thread(context.Context, string, string, int) ([]delivery.Note, error) {
	return nil, errors.New("disk I/O error")
}

func tryOlder(page tab) {
	t := page.t
	m := newMemory()
	for n := range pageLimit + 3 {
		m.add(delivery.Note{ID: fmt.Sprintf("%026d", n), Kind: delivery.Missed, Caller: delivery.Caller{Number: "204"}})
	}
	address := listen(t, newServer(t, m, nil))
	page.do("open", chromedp.Navigate(address+InboxPath(receptionToken)))
	page.until("the newest are shown, from their end", count(".note", pageLimit)+" && document.querySelector('.thread .scroll').scrollTop > 100")
	page.do("ask", chromedp.Click(chromedp.CSS(".thread .older")))
	page.until("all are shown", count(".note", pageLimit+3)+" && document.querySelector('.thread .older').hidden")
}

func tryPhone(page tab) {
	t := page.t
	m := newMemory()
	address := listen(t, newServer(t, m, nil))
	m.add(delivery.Note{Kind: delivery.Voice, Caller: delivery.Caller{Number: "204", Name: "Jo"}, Waveform: waveform(), Recipient: delivery.Recipient{Number: workshop}})
	shown := func(selector string) string {
		return fmt.Sprintf("document.querySelector(%q)?.checkVisibility() === true", selector)
	}
	page.do("open", chromedp.EmulateViewport(360, 740), chromedp.Navigate(address+InboxPath(workshopToken)))
	page.until("first the list", shown(".caller")+" && !("+shown(".thread")+")")
	page.until("in the mailbox's language", "document.documentElement.lang === 'de-AT' && document.title.includes('Posteingang')")
	page.do("choose by key", chromedp.Focus(chromedp.CSS(".caller")), chromedp.KeyEvent(kb.Enter))
	page.until("then the thread", shown(".note")+" && !("+shown(".caller")+")")
	page.until("nothing hangs over", "document.documentElement.scrollWidth <= 360")
	page.do("back", chromedp.Click(chromedp.CSS(".thread .back")))
	page.until("the list again", shown(".caller")+" && document.activeElement.matches('.caller')")
}

func tryGone(page tab) {
	m := newMemory()
	address := listen(page.t, newServer(page.t, m, nil))
	caller := delivery.Caller{Number: "204", Name: "Jo"}
	m.retire(m.add(delivery.Note{ID: id(0), Kind: delivery.Voice, Caller: caller, Reason: "busy"}))
	m.add(delivery.Note{ID: id(1), Kind: delivery.Voice, Caller: caller})
	page.do("open", chromedp.EmulateViewport(1280, 800), chromedp.Navigate(address+InboxPath(receptionToken)))
	page.until("both are there", count(".note-voice", 2))
	page.until("one of them says so", "document.querySelector('.note .line').textContent.startsWith('Voice message, 0:06audio no longer kept')")
	page.until("a screen reader hears it", "document.querySelector('.note').ariaLabel.startsWith('Voice message, 0:06, audio no longer kept, Line was busy')")
	page.until("there is one to play", count(".note .play", 1)+" && "+count(".note.is-unplayed", 1))
}

// id is an id that sorts by n.
func id(n int) string { return strings.Repeat("0", 25) + fmt.Sprint(n) }

func tryReceipts(page tab) {
	t := page.t
	m := newMemory()
	address := listen(t, newServer(t, m, nil))
	jo := delivery.Caller{Number: "+493055501234", Name: "Jo Ender"}
	n := m.add(delivery.Note{ID: id(0), Kind: delivery.Voice, Caller: jo, Reason: "busy", Waveform: voice()})
	m.add(delivery.Note{ID: id(1), Kind: delivery.Missed, Caller: jo, Reason: "missed"})
	m.add(delivery.Note{ID: id(2), Kind: delivery.Voice, Caller: jo, Waveform: voice(), Partial: true})
	page.dark()
	page.do("open", phone(), chromedp.Navigate(address+InboxPath(receptionToken)))
	page.until("the caller", count(".caller", 1))
	page.do("choose", chromedp.Click(chromedp.CSS(".caller")))
	page.until("all were seen here", "[...document.querySelectorAll('.seen')].every((seen) => seen.textContent.startsWith('Seen ')) && "+count(".seen", 3))
	if err := m.Mark(t.Context(), reception, n.ID, delivery.MarkPlayed); err != nil {
		t.Fatal(err)
	}
	page.until("one was played there", "document.querySelector('.note:first-of-type .seen.is-played').textContent.startsWith('Played ')")
	page.until("it is no longer new", count(".is-unplayed", 1))
	page.until("nothing hangs over", "document.documentElement.scrollWidth <= 390")
	page.picture("inbox-played-phone-dark")
}

func tryErased(page tab) {
	t := page.t
	m := newMemory()
	address := listen(t, newServer(t, m, nil))
	for n := range pageLimit + 3 {
		m.add(delivery.Note{ID: fmt.Sprintf("%026d", n), Kind: delivery.Voice, Caller: delivery.Caller{Number: "204"}})
	}
	page.do("open", chromedp.EmulateViewport(1280, 800), chromedp.Navigate(address+InboxPath(receptionToken)))
	page.until("the newest are shown", count(".note", pageLimit))
	page.do("ask for the older ones", chromedp.Click(chromedp.CSS(".thread .older")))
	page.until("all are shown", count(".note", pageLimit+3))
	page.do("play", chromedp.Click(chromedp.CSS(".note:last-of-type .play")))
	page.until("one plays", count(".note.is-playing", 1))

	m.drop(func(n delivery.Note) bool { return n.ID == id(1) })
	page.until("an old one goes", count(".note", pageLimit+2)+" && "+count(".note.is-playing", 1))
	if _, err := m.Erase(t.Context(), reception); err != nil {
		t.Fatal(err)
	}
	page.until("all are gone", count(".note, .caller", 0)+" && document.querySelector('.state h2').textContent === 'No messages yet'")
	for n := range pageLimit + 1 {
		m.add(delivery.Note{ID: fmt.Sprintf("1%025d", n), Kind: delivery.Missed, Caller: delivery.Caller{Number: "204"}})
	}
	page.until("and life goes on", "document.querySelectorAll('.note').length >= "+fmt.Sprint(pageLimit))

	m.revoke()
	page.until("and ends", "document.querySelector('.state h2').textContent === 'There is nothing here any more'")
}

package web

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// spoken is a directory whose one mailbox speaks a language.
type spoken struct {
	*memory
	language string
}

func (d *spoken) Recipient(context.Context, string) (delivery.Recipient, bool) {
	return delivery.Recipient{Number: reception, Name: "Atelier Nord", Language: d.language}, true
}

// Whether what is said fits: nothing hangs over, is cut short or has a gap left.
const fits = `document.documentElement.scrollWidth <= innerWidth &&
	[...document.querySelectorAll('button, a, .foot, .line, .cut-short')].every((e) => !e.checkVisibility() || e.scrollWidth <= e.clientWidth + 1 || getComputedStyle(e).display === 'inline') &&
	!/undefined|\{\d\}/.test(document.body.innerText)`

func tryEveryLanguage(page tab) {
	t := page.t
	m := newMemory()
	maria := delivery.Caller{Number: "+493055501234", Name: "Maria Kern"}
	yesterday := time.Now().Add(-24 * time.Hour)
	m.retire(m.add(delivery.Note{ID: id(0), Kind: delivery.Voice, Caller: maria, Reason: "unreachable", CalledAt: yesterday, ReadAt: yesterday}))
	m.add(delivery.Note{ID: id(1), Kind: delivery.Missed, Caller: maria, Reason: "declined", CalledAt: yesterday, ReadAt: yesterday})
	m.add(delivery.Note{ID: id(2), Kind: delivery.Voice, Caller: maria, Reason: "forwarded", CalledAt: yesterday, PlayedAt: yesterday, Waveform: voice()})
	m.add(delivery.Note{ID: id(3), Kind: delivery.Voice, Caller: maria, Reason: "busy", Waveform: voice(), Partial: true})
	m.add(delivery.Note{ID: id(4), Kind: delivery.Missed, Caller: delivery.Caller{Private: true}, Reason: "missed"})
	directory := &spoken{memory: m}
	address := listen(t, newServer(t, m, func(o *Options) {
		linking(newChatbook(), newChatbook())(o)
		o.Directory = directory
	}))
	for _, directory.language = range slices.Sorted(maps.Keys(text.Table())) {
		texts := text.For(directory.language)
		see := func(name string) {
			page.until(texts.Language+": "+name+" fits", fits)
			page.picture("language-" + texts.Language + "-" + name)
		}
		page.do("open on a desk", chromedp.EmulateViewport(1280, 800), chromedp.Navigate(address+InboxPath(receptionToken)))
		page.until("the callers are listed, a chat is offered", count(".caller", 2)+" && "+fmt.Sprintf("document.querySelector('.chats-open').textContent === %q", texts.Page["chat_get"]))
		page.do("the other caller", chromedp.Click(chromedp.CSS(".callers li:last-child .caller")))
		page.until("the notes are there", count(".note", 4))
		see("desk")
		page.do("open on a phone", phone(), chromedp.Navigate("about:blank"), chromedp.Navigate(address+InboxPath(receptionToken)))
		page.until("the callers are listed, a chat is offered", count(".caller", 2)+" && document.querySelector('.chats-open').checkVisibility()")
		see("phone-1-list")
		page.do("look at the chats", chromedp.Click(chromedp.CSS(".chats-open")))
		page.until("both are there", count("dialog[open] .chats-list li", 2))
		see("phone-2-chats")
		page.do("choose one", chromedp.Click(chromedp.CSS(".chats-list li:first-child button")))
		page.until("there is a code", count("a.chats-go", 1))
		see("phone-3-code")
		page.do("choose a caller", chromedp.KeyEvent("\x1b"), chromedp.Click(chromedp.CSS(".callers li:last-child .caller")))
		page.until("the notes are there", count(".note", 4))
		see("phone-4-thread")
	}
}

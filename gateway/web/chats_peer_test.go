package web

import (
	"errors"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/afterbeep/afterbeep/delivery"
)

func tryLinkingOnPhone(page tab) {
	t := page.t
	m, telegram := newMemory(), newChatbook()
	address := listen(t, newServer(t, m, linking(telegram, newChatbook())))
	m.add(delivery.Note{Kind: delivery.Voice, Caller: delivery.Caller{Number: "+493055501234", Name: "Maria Kern"}, Waveform: waveform()})
	page.dark()
	page.do("open", phone(), chromedp.Navigate(address+InboxPath(receptionToken)))
	page.until("it is offered", "document.querySelector('.chats-open').textContent === 'Get these messages in a chat'")
	page.picture("linking-phone-1-offer-dark")
	page.do("look", chromedp.Click(chromedp.CSS(".chats-open")))
	page.until("both are there", count("dialog[open] .chats-list li", 2))
	page.picture("linking-phone-2-list-dark")
	page.do("choose", chromedp.Click(chromedp.CSS(".chats-list li:first-child button")))
	page.until("a button leads to the chat", "document.querySelector('a.chats-go').href === 'https://t.me/afterbeep_test_bot?start="+"' + document.querySelector('.chats-say code').textContent.slice(7)")
	page.until("who cannot follow it can type", "document.querySelector('.chats-say code').textContent === '/start "+telegram.codeOf(reception)+"'")
	page.until("time runs", "/^Good for (9:5\\d|10:00)$/.test(document.querySelector('.chats-left').textContent)")
	page.until("there is nothing to scan with", "!document.querySelector('.qr').checkVisibility()")
	page.until("nothing hangs over", "document.documentElement.scrollWidth <= 390")
	page.picture("linking-phone-3-code-dark")

	if _, err := telegram.Link(t.Context(), telegram.codeOf(reception), "12345"); err != nil {
		t.Fatal(err)
	}
	page.until("it sees that the chat is linked", "document.querySelector('.chats h2').textContent === 'Telegram is linked'")
	page.picture("linking-phone-4-done-dark")
	page.do("done", chromedp.Click(chromedp.CSS("button.chats-go")))
	page.until("it says where notes arrive", "document.querySelector('.chats-open').textContent === 'Also arriving in Telegram' && "+count("dialog[open]", 0))

	page.do("look again", chromedp.Click(chromedp.CSS(".chats-open")))
	page.until("it is linked", "document.querySelector('.chats-list li:first-child').textContent.startsWith('TelegramLinked')")
	page.picture("linking-phone-5-linked-dark")
	page.do("unlink", chromedp.Click(chromedp.CSS(".chats-list .quiet")))
	page.until("it asks", "document.querySelector('.chats-list .sure').textContent === 'Really unlink?'")
	page.do("really", chromedp.Click(chromedp.CSS(".chats-list .sure")))
	page.until("it is no longer", count(".chats-list .primary", 2)+" && document.querySelector('.chats-open').textContent === 'Get these messages in a chat'")
	if _, err := telegram.Of(t.Context(), reception); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("the chat is still linked: %v", err)
	}
}

func tryLinkingFromDesk(page tab) {
	t := page.t
	m, telegram := newMemory(), newChatbook()
	address := listen(t, newServer(t, m, linking(telegram, newChatbook())))
	m.add(delivery.Note{Kind: delivery.Voice, Caller: delivery.Caller{Number: "+493055501234", Name: "Maria Kern"}, Waveform: waveform()})
	page.do("open", chromedp.EmulateViewport(1280, 800), chromedp.Navigate(address+InboxPath(receptionToken)))
	page.until("it is offered", count(".chats-open", 1))
	page.do("look", chromedp.Click(chromedp.CSS(".chats-open")))
	page.until("both are there", count("dialog[open] .chats-list li", 2))
	page.picture("linking-desk-1-list")
	page.do("choose", chromedp.Click(chromedp.CSS(".chats-list li:first-child button")))
	page.until("there is a code to scan", "document.querySelector('.qr').getBoundingClientRect().width > 200")
	page.until("it is drawn", "document.querySelector('.qr path').getBBox().width > 20")
	page.picture("linking-desk-2-code")
	page.do("back", chromedp.Click(chromedp.CSS(".chats-head .back:first-child")))
	page.until("the list again", count(".chats-list li", 2)+" && "+count(".qr", 0))
	page.do("Escape", chromedp.KeyEvent("\x1b"))
	page.until("it is closed, the focus back", count("dialog[open]", 0)+" && document.activeElement.matches('.chats-open')")
}

func tryLateLinking(page tab) {
	t := page.t
	m, whatsapp := newMemory(), newChatbook()
	whatsapp.length = time.Second
	address := listen(t, newServer(t, m, linking(newChatbook(), whatsapp)))
	page.do("open", phone(), chromedp.Navigate(address+InboxPath(workshopToken)))
	page.until("in the mailbox's language", "document.querySelector('.chats-open').textContent === 'Diese Nachrichten im Chat erhalten'")
	page.do("look", chromedp.Click(chromedp.CSS(".chats-open")))
	page.until("there is one", count(".chats-list li", 1))
	page.do("choose", chromedp.Click(chromedp.CSS(".chats-list button")))
	page.until("its time ends", "document.querySelector('.chats-over').textContent === 'Dieser Code gilt nicht mehr.'")
	page.picture("linking-phone-6-over")
	page.do("another", chromedp.Click(chromedp.CSS("button.chats-go")))
	page.until("a new code", "document.querySelector('.chats-say code').textContent.endsWith('2')")

	whatsapp.bare = true
	page.do("another", chromedp.Click(chromedp.CSS("button.chats-go"))) // waits for the code's end
	page.until("who opens the chat is told to write", "document.querySelector('.chats-tap').textContent === 'Den Chat öffnen.' && document.querySelector('.chats-or').textContent === 'und dies dort senden'")
	whatsapp.mute = errors.New("no such host")
	page.do("another", chromedp.Click(chromedp.CSS("button.chats-go"))) // waits for the code's end
	page.until("it says so", "document.querySelector('.chats-over').textContent.startsWith('Das hat gerade nicht geklappt')")
	page.do("back", chromedp.Click(chromedp.CSS(".chats-head .back:first-child")))
	page.until("the list again", count(".chats-list li", 1))
}

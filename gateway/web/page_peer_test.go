package web

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/afterbeep/afterbeep/delivery"
)

// chromium is the running browser.
type chromium struct{ ctx context.Context }

func startChromium(t *testing.T) chromium {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("chromium is not installed")
		}
		t.Skip("chromium is not installed: the page is not tried in a browser")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU)
	for _, flag := range []string{"disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync", "mute-audio"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(stop)
	ctx, closeAll := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(closeAll)
	ctx, _ = chromedp.NewContext(ctx)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return chromium{ctx}
}

// tab is a tab of the browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// open opens a tab, in front as a recipient's would be. Whatever its page writes
// on the console fails the test, unless it holds one of the expected texts.
func (c chromium) open(t *testing.T, expected ...string) tab {
	t.Helper()
	ctx, _ := chromedp.NewContext(c.ctx)
	front := chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return err
	})
	if err := chromedp.Do(ctx, front); err != nil {
		t.Fatal(err)
	}
	messages := chromedp.Console(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for m, err := range messages {
			if err != nil {
				return
			}
			if !slices.ContainsFunc(expected, func(text string) bool { return strings.Contains(m.String(), text) }) {
				t.Errorf("the page complains: %v", m)
			}
		}
	}()
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the tab did not close: %v", err)
		}
		<-ended
	})
	return tab{t, ctx}
}

// do runs steps in the tab.
func (p tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// until waits until an expression is true in the page.
func (p tab) until(what, expression string) {
	p.t.Helper()
	wait, cancel := context.WithTimeout(p.ctx, 10*time.Second)
	defer cancel()
	holds := "(() => { try { return " + expression + " } catch { return false } })()" // what is asked for may not be there yet
	if _, err := chromedp.Run(wait, chromedp.Poll[bool](holds)); err != nil {
		page, _ := chromedp.Run(p.ctx, chromedp.Text(chromedp.CSS("#app")))
		p.t.Fatalf("%s: %s is never true (%v); the page says\n%s", what, expression, err, page)
	}
}

// count is how often a selector is found, as an expression.
func count(selector string, is int) string {
	return fmt.Sprintf("document.querySelectorAll(%q).length === %d", selector, is)
}

// value is the place of the n-th waveform's slider in seconds, as an expression.
func value(n int) string {
	return fmt.Sprintf("document.querySelectorAll('[role=slider]')[%d].ariaValueNow * 1", n)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

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
		{"a phone shows list and thread", tryPhone, nil},
		{"audio that is no longer kept", tryGone, nil},
	} {
		t.Run(c.name, func(t *testing.T) { c.try(browser.open(t, c.expected...)) })
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

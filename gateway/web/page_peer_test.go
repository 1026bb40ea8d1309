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

// browser starts Chromium.
func browser(t *testing.T) context.Context {
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
	return tab(t, ctx)
}

// tab opens a tab, in front as a recipient's would be. Whatever its page writes
// on the console fails the test, unless it holds one of the expected texts.
func tab(t *testing.T, browser context.Context, expected ...string) context.Context {
	t.Helper()
	ctx, _ := chromedp.NewContext(browser)
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
	return ctx
}

// do runs steps in the tab.
func do(t *testing.T, ctx context.Context, what string, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// until waits until an expression is true in the page.
func until(t *testing.T, ctx context.Context, what, expression string) {
	t.Helper()
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	holds := "(() => { try { return " + expression + " } catch { return false } })()" // what is asked for may not be there yet
	if _, err := chromedp.Run(wait, chromedp.Poll[bool](holds)); err != nil {
		page, _ := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("#app")))
		t.Fatalf("%s: %s is never true (%v); the page says\n%s", what, expression, err, page)
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
	chromium := browser(t)
	for name, try := range map[string]func(t *testing.T, chromium context.Context){
		"the recipient listens":         tryListening,
		"the connection was lost":       tryReconnecting,
		"notes cannot be read":          tryFailing,
		"older notes":                   tryOlder,
		"a phone shows list and thread": tryPhone,
	} {
		t.Run(name, func(t *testing.T) { try(t, chromium) })
	}
}

func tryListening(t *testing.T, chromium context.Context) {
	ctx := tab(t, chromium)
	m := newMemory()
	address := listen(t, newServer(t, m, nil))
	maria := delivery.Caller{Number: "+493055501234", Name: `Maria <img src=x onerror="document.title='!'">`}
	first := m.add(delivery.Note{ID: id(1), Kind: delivery.Voice, Caller: maria, Reason: "busy", Waveform: waveform()})
	m.add(delivery.Note{ID: id(0), Kind: delivery.Missed, Caller: delivery.Caller{Private: true}, Reason: "declined"})

	do(t, ctx, "open", chromedp.EmulateViewport(1280, 800), chromedp.Navigate(address+InboxPath(receptionToken)))
	until(t, ctx, "both callers are listed", count(".caller", 2))
	until(t, ctx, "the newest caller's note is shown, unplayed", count(".note-voice.is-unplayed", 1))
	until(t, ctx, "the caller's name is only a text", count("img", 0))
	until(t, ctx, "why is said", "document.querySelector('.note .why').textContent === 'Line was busy'")
	until(t, ctx, "calling back is offered", "document.querySelector('a.call').getAttribute('href') === 'tel:+493055501234'")
	until(t, ctx, "the title counts", "document.title.startsWith('(')")
	eventually(t, "a note in sight is not marked as read", func() bool { return !m.note(first.ID).ReadAt.IsZero() })
	until(t, ctx, "one is left unread: the other caller's", "document.title.startsWith('(1)')")

	do(t, ctx, "play", chromedp.Click(chromedp.CSS(".note .play")))
	until(t, ctx, "it plays", count(".note.is-playing", 1))
	until(t, ctx, "the time moves", value(0)+" >= 1")
	until(t, ctx, "the mark of the new goes away", count(".note.is-unplayed", 0))
	eventually(t, "the note is not marked as played", func() bool { return !m.note(first.ID).PlayedAt.IsZero() })

	do(t, ctx, "pause by key", chromedp.Focus(chromedp.CSS(".note")), chromedp.KeyEvent(" "))
	until(t, ctx, "it pauses", count(".note.is-playing", 0))
	do(t, ctx, "seek by click", chromedp.Click(chromedp.CSS("[role=slider]"))) // in its middle
	until(t, ctx, "it goes to the middle", value(0)+" === 3")
	do(t, ctx, "seek by key", chromedp.Focus(chromedp.CSS("[role=slider]")), chromedp.KeyEvent(kb.ArrowLeft))
	until(t, ctx, "it goes a second back", value(0)+" === 2 && document.querySelector('[role=slider]').ariaValueText === '0:02 of 0:06'")
	do(t, ctx, "faster", chromedp.Click(chromedp.CSS(".note .speed")))
	until(t, ctx, "the speed is shown", "document.querySelector('.note .speed').textContent === '1.5×'")

	second := m.add(delivery.Note{ID: id(2), Kind: delivery.Voice, Caller: maria, Waveform: waveform(), Partial: true})
	until(t, ctx, "a new note appears by itself", count(".note-voice", 2))
	until(t, ctx, "it is announced", "document.querySelector('#app > [role=status]').textContent.startsWith('New: Maria')")
	until(t, ctx, "it says that it was cut off", count(".note .cut", 1))
	do(t, ctx, "play both", chromedp.Click(chromedp.CSS(".note .play")), chromedp.Click(chromedp.CSS(".note:last-of-type .play")))
	until(t, ctx, "one plays at a time", count(".note.is-playing", 1)+" && "+value(1)+" >= 1")
	eventually(t, "the second note is not marked as played", func() bool { return !m.note(second.ID).PlayedAt.IsZero() })

	third := m.add(delivery.Note{ID: id(3), Kind: delivery.Voice, Caller: maria, Waveform: waveform()})
	until(t, ctx, "a third note", count(".note-voice", 3))
	do(t, ctx, "play on", chromedp.Click(chromedp.CSS(".play-on")), chromedp.Focus(chromedp.CSS(".note:has(.speed)")),
		chromedp.KeyEvent(" "), chromedp.Focus(chromedp.CSS("[role=slider]")), chromedp.KeyEvent(kb.End))
	until(t, ctx, "at the end the next unplayed note plays", fmt.Sprintf("document.querySelector('.is-playing').dataset.id === '%s'", third.ID))
	do(t, ctx, "up and down", chromedp.Focus(chromedp.CSS(".note:last-of-type")), chromedp.KeyEvent(kb.ArrowUp))
	until(t, ctx, "the focus moves between notes", fmt.Sprintf("document.activeElement.dataset.id === '%s'", second.ID))
	until(t, ctx, "Tab reaches one note only", count(".note[tabindex='0']", 1)+" && "+count(".note [tabindex='0']", 3))

	do(t, ctx, "the other caller", chromedp.Click(chromedp.CSS(".callers li:last-child .caller")))
	until(t, ctx, "a missed call is a line", "document.querySelector('.note-missed .what').textContent === 'Missed call'")
	until(t, ctx, "there is nothing to play nor to call", count(".note-missed .play, a.call", 0))
}

func tryReconnecting(t *testing.T, chromium context.Context) {
	ctx := tab(t, chromium)
	m := newMemory()
	s := newServer(t, m, nil)
	address := listen(t, s)
	do(t, ctx, "open", chromedp.Navigate(address+InboxPath(receptionToken)))
	until(t, ctx, "it says that there is nothing yet", "document.querySelector('.state h2').textContent === 'No messages yet'")
	eventually(t, "the page does not watch", func() bool { return m.watched() == 1 })

	m.mute() // what comes now is told to nobody
	missed := m.add(delivery.Note{Kind: delivery.Missed, Caller: delivery.Caller{Number: "101"}})
	m.hangUp()
	until(t, ctx, "what came in between is there", count(fmt.Sprintf(".note[data-id='%s']", missed.ID), 1))
}

func tryFailing(t *testing.T, chromium context.Context) {
	ctx := tab(t, chromium, "503")
	m := newMemory()
	address := listen(t, newServer(t, m, func(o *Options) { o.Inbox = failing{m} }))
	do(t, ctx, "open", chromedp.Navigate(address+InboxPath(receptionToken)))
	until(t, ctx, "it says so", "document.querySelector('.state [role=alert]').textContent === 'Your messages could not be loaded.'")
	until(t, ctx, "it can be tried again", count(".state button", 1))
}

// failing cannot list notes.
type failing struct{ *memory }

func (failing) Thread(context.Context, string, string, int) ([]delivery.Note, error) {
	return nil, errors.New("disk I/O error")
}

func tryOlder(t *testing.T, chromium context.Context) {
	ctx := tab(t, chromium)
	m := newMemory()
	for n := range pageLimit + 3 {
		m.add(delivery.Note{ID: fmt.Sprintf("%026d", n), Kind: delivery.Missed, Caller: delivery.Caller{Number: "204"}})
	}
	address := listen(t, newServer(t, m, nil))
	do(t, ctx, "open", chromedp.Navigate(address+InboxPath(receptionToken)))
	until(t, ctx, "the newest are shown, from their end", count(".note", pageLimit)+" && document.querySelector('.thread .scroll').scrollTop > 100")
	do(t, ctx, "ask", chromedp.Click(chromedp.CSS(".thread .older")))
	until(t, ctx, "all are shown", count(".note", pageLimit+3)+" && document.querySelector('.thread .older').hidden")
}

func tryPhone(t *testing.T, chromium context.Context) {
	ctx := tab(t, chromium)
	m := newMemory()
	address := listen(t, newServer(t, m, nil))
	m.add(delivery.Note{Kind: delivery.Voice, Caller: delivery.Caller{Number: "204", Name: "Jo"}, Waveform: waveform(), Recipient: delivery.Recipient{Number: workshop}})
	shown := func(selector string) string {
		return fmt.Sprintf("document.querySelector(%q)?.checkVisibility() === true", selector)
	}
	do(t, ctx, "open", chromedp.EmulateViewport(360, 740), chromedp.Navigate(address+InboxPath(workshopToken)))
	until(t, ctx, "first the list", shown(".caller")+" && !("+shown(".thread")+")")
	until(t, ctx, "in the mailbox's language", "document.documentElement.lang === 'de-AT' && document.title.includes('Posteingang')")
	do(t, ctx, "choose by key", chromedp.Focus(chromedp.CSS(".caller")), chromedp.KeyEvent(kb.Enter))
	until(t, ctx, "then the thread", shown(".note")+" && !("+shown(".caller")+")")
	until(t, ctx, "nothing hangs over", "document.documentElement.scrollWidth <= 360")
	do(t, ctx, "back", chromedp.Click(chromedp.CSS(".thread .back")))
	until(t, ctx, "the list again", shown(".caller")+" && document.activeElement.matches('.caller')")
}

// id is an id that sorts by n.
func id(n int) string { return strings.Repeat("0", 25) + fmt.Sprint(n) }

package web

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// chromium is the running browser.
type chromium struct{ ctx context.Context }

func startChromium(t *testing.T) chromium {
	t.Helper()
	peertest.Needs(t, "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.DisableGPU)
	for _, flag := range []string{"disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync", "mute-audio"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
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
	wait, cancel := context.WithTimeout(p.ctx, 25*time.Second)
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
	for deadline := time.Now().Add(25 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// dark asks the page for its dark colours, as a phone does at night.
func (p tab) dark() {
	p.do("dark mode", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
		})
		return err
	}))
}

// phone is the window of a phone, with two pixels to a point.
func phone() chromedp.Action[chromedp.Void] {
	return chromedp.EmulateViewport(390, 844, chromedp.EmulateScale(2), chromedp.EmulateMobile)
}

// picture keeps what the tab shows in the folder AFTERBEEP_PICTURES, for people
// to look at.
func (p tab) picture(name string) {
	p.t.Helper()
	folder := os.Getenv("AFTERBEEP_PICTURES")
	if folder == "" {
		return
	}
	time.Sleep(time.Second / 2) // what moves comes to rest
	shot, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), shot, 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

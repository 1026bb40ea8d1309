package sip

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// TestBrowser: a web page calls by WebSocket, and gets the gateway's BYE by the
// same one, its Contact being nowhere (RFC 7118). A page of another origin is
// refused.
func TestBrowser(t *testing.T) {
	t.Parallel()
	peertest.Needs(t, "chromium")
	pages := httptest.NewServer(http.FileServer(http.Dir("testdata/websocket")))
	defer pages.Close()
	o := newTestCA(t).securely()
	o.Origins = []string{pages.URL}
	ts := serveOptions(t, o, nil, func(ctx context.Context, c *Call) {
		if c.Answer([]byte(testAnswer), &media{}) == nil {
			_ = c.Hangup(context.WithoutCancel(ctx), CauseNormal)
		}
	})

	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.WSURLReadTimeout(time.Minute),
		chromedp.NoSandbox, chromedp.DisableGPU)
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	ctx, closeAll := chromedp.NewExecAllocator(ctx, options...)
	defer closeAll()
	ctx, _ = chromedp.NewContext(ctx)
	shows := func(page, title string) {
		t.Helper()
		if err := chromedp.Do(ctx, chromedp.Navigate(page+"/phone.html?gateway="+ts.addr("ws").String())); err != nil {
			t.Fatal(err)
		}
		wait, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if _, err := chromedp.Run(wait, chromedp.Poll[bool](`document.title === "`+title+`"`)); err != nil {
			t.Fatalf("it never says %q: %v", title, err)
		}
	}
	shows(pages.URL, "hung up")
	ts.ended(t, ErrHungUp)
	shows("http://localhost:"+portOf(addrPortOf(pages.Listener.Addr())), "refused, closed with 1006")
}

package main

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/afterbeep/afterbeep/deploy/peertest"
	"github.com/afterbeep/afterbeep/gateway/web"
)

// The recipient opens the link, sees the note of a call made before, presses
// play, and the time moves; another call's note appears without a reload.
func TestRecipientPlaysTheNote(t *testing.T) {
	peertest.Needs(t, "chromium")
	hook := newReceiver(t)
	g := startGateway(t, configFile(t, t.TempDir(), hook.URL, ""))
	caller := testCaller(t)
	said := &sound{audio: audioOf(speech(t, 3*time.Second)), coded: map[string][][]byte{}}
	leave := func() {
		target := fmt.Sprintf("sip:%s@%s", reception, g.address("udp"))
		if _, err := caller.leaveMessage(t.Context(), io.Discard, target, (&identity{from: "+491705550101", name: "Maria"}).request(), said); err != nil {
			t.Fatal(err)
		}
		hook.next(t)
	}
	leave()
	token, err := g.store.LinkFor(t.Context(), reception)
	if err != nil {
		t.Fatal(err)
	}

	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"),
		chromedp.NoSandbox, chromedp.DisableGPU)
	for _, flag := range []string{"disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync", "mute-audio"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	ctx, closeAll := chromedp.NewExecAllocator(ctx, options...)
	defer closeAll()
	ctx, _ = chromedp.NewContext(ctx)
	do := func(what string, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	until := func(what, expression string) {
		t.Helper()
		wait, cancel := context.WithTimeout(ctx, 25*time.Second)
		defer cancel()
		if _, err := chromedp.Run(wait, chromedp.Poll[bool](expression)); err != nil {
			t.Fatalf("%s: %s is never true: %v", what, expression, err)
		}
	}
	do("open the link", chromedp.EmulateViewport(1280, 800), chromedp.Navigate("http://"+g.http.Addr().String()+web.InboxPath(token)))
	until("the note is there", `document.querySelectorAll(".note .play").length === 1`)
	until("with its caller", `document.body.innerText.includes("Maria")`)
	do("press play", chromedp.Click(chromedp.CSS(".note .play")))
	until("the time moves", `document.querySelector("[role=slider]").ariaValueNow * 1 > 0.5`)
	leave()
	until("the next note appears by itself", `document.querySelectorAll(".note .play").length === 2`)
}

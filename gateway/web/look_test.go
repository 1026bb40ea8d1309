package web

import (
	"context"
	"fmt"
	"math/rand"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/afterbeep/afterbeep/delivery"
)

func wave(seed int64) []byte {
	r := rand.New(rand.NewSource(seed))
	b := make([]byte, 64)
	v := 0.5
	for i := range b {
		v += r.Float64()*0.9 - 0.45
		if v < 0.05 { v = 0.08 }
		if v > 1 { v = 0.85 }
		if r.Intn(9) == 0 { v = 0.05 }
		b[i] = byte(v * 255)
	}
	return b
}

func many(m *memory) {
	now := time.Now()
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.Local)
	at := func(ago, h, mi int) time.Time { return day.AddDate(0, 0, -ago).Add(time.Duration(h)*time.Hour + time.Duration(mi)*time.Minute) }
	type c = delivery.Caller
	maria, otto, priv, rtl := c{Number: "+493055501234", Name: "Maria Kowalski"}, c{Number: "+4989555123", Name: "Otto Brandt GmbH & Co. KG, Ersatzteile und Kundendienst"}, c{Private: true}, c{Number: "+97235551234", Name: "דנה לוי"}
	unknown := c{Number: "+442079460958"}
	ext := c{Number: "204", Name: "Jo"}
	i := 0
	add := func(k delivery.Kind, who c, when time.Time, reason string, d time.Duration, read, played, partial bool) {
		i++
		n := delivery.Note{ID: fmt.Sprintf("%026d", i), Kind: k, Caller: who, CalledAt: when, Reason: reason, Waveform: wave(int64(i)), Partial: partial}
		if k == delivery.Missed { n.Waveform = nil }
		if read { n.ReadAt = when }
		if played { n.PlayedAt = when }
		n = m.add(n)
		if d != 0 { m.mu.Lock(); for j := range m.notes { if m.notes[j].ID == n.ID { m.notes[j].Duration = d } }; m.mu.Unlock() }
	}
	add("voice", unknown, at(40, 9, 12), "forwarded", 12*time.Second, true, true, false)
	add("voice", rtl, at(9, 18, 40), "missed", 34*time.Second, true, true, false)
	add("missed", ext, at(4, 11, 3), "busy", 0, true, false, false)
	add("missed", priv, at(2, 20, 15), "", 0, true, false, false)
	add("voice", priv, at(2, 20, 17), "declined", 9*time.Second, true, false, false)
	add("voice", otto, at(1, 16, 20), "busy", 71*time.Second, true, true, false)
	add("voice", maria, at(1, 9, 41), "missed", 17*time.Second, true, true, false)
	add("missed", maria, at(1, 17, 2), "busy", 0, true, false, false)
	add("voice", maria, at(1, 17, 4), "unreachable", 23*time.Second, true, true, true)
	add("voice", otto, at(0, 0, 2), "unreachable", 48*time.Second, false, false, false)
	add("voice", maria, at(0, 0, 3), "missed", 0, true, true, false)
	add("missed", maria, at(0, 0, 5), "declined", 0, false, false, false)
	add("voice", maria, at(0, 0, 6), "missed", 31*time.Second, false, false, false)
}

func TestLook(t *testing.T) {
	out := os.Getenv("LOOK")
	m := newMemory()
	fill := os.Getenv("FILL")
	switch fill {
	case "many": many(m)
	case "one": m.add(delivery.Note{Kind: "voice", Caller: delivery.Caller{Number: "+493055501234", Name: "Maria Kowalski"}, Reason: "missed", Waveform: wave(5)})
	}
	s := newServer(t, m, func(o *Options) { o.PublicURL = "" })
	srv := httptest.NewServer(s)
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.Flag("disable-quic", true), chromedp.Flag("no-first-run", true))
	actx, c1 := chromedp.NewExecAllocator(t.Context(), opts...)
	defer c1()
	ctx, c2 := chromedp.NewContext(actx)
	defer c2()
	_ = chromedp.Do(ctx, chromedp.Navigate("about:blank"))
	go func() { for msg, err := range chromedp.Console(ctx) { if err != nil { return }; fmt.Println("console:", msg.String()) } }()
	shot := func(name string, w, h int64, scheme string, acts ...chromedp.Action[chromedp.Void]) {
		all := []chromedp.Action[chromedp.Void]{
			chromedp.EmulateViewport(w, h),
			chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
				_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
				if err != nil { return err }
				_, err = chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
				return err
			}),
			chromedp.Navigate("about:blank"),
			chromedp.Navigate(srv.URL + "/inbox/" + receptionToken),
			chromedp.Sleep(400 * time.Millisecond),
		}
		all = append(all, acts...)
		all = append(all, chromedp.Sleep(150*time.Millisecond))
		cx, c := context.WithTimeout(ctx, 20*time.Second)
		defer c()
		_ = cx
		if err := chromedp.Do(ctx, all...); err != nil { t.Error(name, err); return }
		b, _ := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		_ = os.WriteFile(out+"/"+fill+"-"+name+".png", b, 0o600)
	}
	shot("desktop-light", 1280, 800, "light")
	shot("phone-light", 390, 844, "light")
	if fill == "many" {
		shot("desktop-dark-playing", 1280, 800, "dark", chromedp.Click(chromedp.CSS(".note:last-of-type .play")), chromedp.Sleep(2500*time.Millisecond))
		shot("phone-thread-light", 390, 844, "light", chromedp.Click(chromedp.CSS(".callers li:nth-child(1) .caller")), chromedp.Sleep(200*time.Millisecond))
		shot("phone-thread-dark", 360, 740, "dark", chromedp.Click(chromedp.CSS(".callers li:nth-child(2) .caller")), chromedp.Sleep(200*time.Millisecond))
		shot("phone-dark", 360, 740, "dark")
		shot("desktop-rtl", 1280, 800, "light", chromedp.Click(chromedp.CSS(".callers li:nth-child(5) .caller")))
	}
	srv.CloseClientConnections()
	srv.Close()
}

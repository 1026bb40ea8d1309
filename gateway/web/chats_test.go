package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skip2/go-qrcode"
)

func TestChatsAreLinked(t *testing.T) {
	telegram, whatsapp := newChatbook(), newChatbook()
	s := newServer(t, newMemory(), linking(telegram, whatsapp))
	admin := header("Authorization", "Bearer "+adminToken)
	for _, door := range []struct {
		name, base string
		change     func(*http.Request)
	}{
		{"by link", "/inbox/" + receptionToken, func(*http.Request) {}},
		{"by admin", "/admin/inbox/%2b4930555010", admin},
	} {
		t.Run(door.name, func(t *testing.T) {
			want := func(what string) {
				t.Helper()
				if got := strings.TrimSpace(ask(t, s, "GET", door.base+"/chats", door.change).Body.String()); got != what {
					t.Errorf("got %s, want %s", got, what)
				}
			}
			want(`[{"channel":"team-bot","type":"telegram","linked":false},{"channel":"wa","type":"whatsapp","linked":false}]`)
			r := ask(t, s, "POST", door.base+"/chats/team-bot/code", door.change)
			var code codeView
			if err := json.Unmarshal(r.Body.Bytes(), &code); err != nil || r.Code != http.StatusOK {
				t.Fatalf("%d %s: %v", r.Code, r.Body, err)
			}
			if minted := telegram.codeOf(reception); code.Code != minted || code.Say != "/start "+minted ||
				code.Link != "https://t.me/afterbeep_test_bot?start="+minted || code.Expires.IsZero() || code.QR == nil {
				t.Errorf("got %s", r.Body)
			}
			if _, err := telegram.Link(t.Context(), code.Code, "chat 4711"); err != nil {
				t.Fatal(err)
			}
			want(`[{"channel":"team-bot","type":"telegram","linked":true},{"channel":"wa","type":"whatsapp","linked":false}]`)
			if r := ask(t, s, "DELETE", door.base+"/chats/team-bot", door.change); r.Code != http.StatusNoContent || r.Body.Len() > 0 {
				t.Errorf("unlinking got %d %s", r.Code, r.Body)
			}
			want(`[{"channel":"team-bot","type":"telegram","linked":false},{"channel":"wa","type":"whatsapp","linked":false}]`)
		})
	}
	if got := strings.TrimSpace(ask(t, s, "GET", "/inbox/"+workshopToken+"/chats").Body.String()); got != `[{"channel":"wa","type":"whatsapp","linked":false}]` {
		t.Errorf("the workshop is offered %s", got)
	}
}

func TestChatsThatAreNotThereLookTheSame(t *testing.T) {
	telegram := newChatbook()
	s := newServer(t, newMemory(), linking(telegram, newChatbook()))
	want := dump(ask(t, s, "GET", "/"))
	inbox, other := "/inbox/"+receptionToken, "/inbox/"+workshopToken
	for _, c := range []struct {
		why, method, target string
		change              []func(*http.Request)
	}{
		{"wrong token", "GET", "/inbox/" + strings.Repeat("x", 32) + "/chats", nil},
		{"code by a wrong token", "POST", "/inbox/" + strings.Repeat("x", 32) + "/chats/team-bot/code", nil},
		{"channel that is not offered to the mailbox", "POST", other + "/chats/team-bot/code", nil},
		{"unlinking there", "DELETE", other + "/chats/team-bot", nil},
		{"channel that cannot be linked", "POST", inbox + "/chats/not-linkable/code", nil},
		{"no such channel", "POST", inbox + "/chats/crm/code", nil},
		{"code by GET", "GET", inbox + "/chats/team-bot/code", nil},
		{"one channel by GET", "GET", inbox + "/chats/team-bot", nil},
		{"from another site", "POST", inbox + "/chats/team-bot/code", []func(*http.Request){header("Sec-Fetch-Site", "cross-site")}},
		{"unlinking from another site", "DELETE", inbox + "/chats/team-bot", []func(*http.Request){header("Sec-Fetch-Site", "cross-site")}},
		{"admin's without the token", "POST", "/admin/inbox/%2b4930555010/chats/team-bot/code", nil},
		{"a mailbox that there is not", "POST", "/admin/inbox/999/chats/team-bot/code", []func(*http.Request){header("Authorization", "Bearer "+adminToken)}},
	} {
		t.Run(c.why, func(t *testing.T) {
			if got := dump(ask(t, s, c.method, c.target, c.change...)); got != want {
				t.Errorf("%s %s: got\n%s\nwant\n%s", c.method, c.target, got, want)
			}
		})
	}
	if telegram.minted > 0 {
		t.Errorf("%d codes were minted", telegram.minted)
	}
}

func TestChatsWithoutChannels(t *testing.T) {
	s := newServer(t, newMemory(), nil)
	if got := strings.TrimSpace(ask(t, s, "GET", "/inbox/"+receptionToken+"/chats").Body.String()); got != "[]" {
		t.Errorf("got %s", got)
	}
}

func TestChatsWhoseStoreOrServiceFails(t *testing.T) {
	for _, c := range []struct {
		why          string
		store, their error
		statuses     [3]int // of list, code, unlink
	}{
		{"the store", errors.New("disk I/O error"), nil, [3]int{503, 503, 503}},
		{"the service", nil, errors.New("no such host"), [3]int{200, 503, 204}},
	} {
		t.Run(c.why, func(t *testing.T) {
			telegram := newChatbook()
			telegram.fail, telegram.mute = c.store, c.their
			s := newServer(t, newMemory(), linking(telegram, newChatbook()))
			for i, request := range []string{"GET /chats", "POST /chats/team-bot/code", "DELETE /chats/team-bot"} {
				method, path, _ := strings.Cut(request, " ")
				r := ask(t, s, method, "/inbox/"+receptionToken+path)
				if r.Code != c.statuses[i] || strings.Contains(r.Body.String(), "disk") || strings.Contains(r.Body.String(), "host") {
					t.Errorf("%s: %d %s", request, r.Code, r.Body)
				}
			}
		})
	}
}

func TestCodesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, newMemory(), linking(newChatbook(), newChatbook()))
		mint := func(token, channel string) int {
			return ask(t, s, "POST", "/inbox/"+token+"/chats/"+channel+"/code").Code
		}
		for n := range codesMost {
			if got := mint(receptionToken, []string{"team-bot", "wa"}[n%2]); got != http.StatusOK {
				t.Fatalf("code %d got %d", n, got)
			}
			time.Sleep(codesWithin / 20) // half the time in all
		}
		if got := mint(receptionToken, "wa"); got != http.StatusTooManyRequests {
			t.Errorf("one more got %d", got)
		}
		if got := mint(workshopToken, "wa"); got != http.StatusOK {
			t.Errorf("another mailbox got %d", got)
		}
		time.Sleep(codesWithin / 2)
		if got := mint(receptionToken, "wa"); got != http.StatusOK {
			t.Errorf("a minute after the first, one more got %d", got)
		}
		if got := mint(receptionToken, "wa"); got != http.StatusTooManyRequests {
			t.Errorf("and another got %d", got)
		}
		time.Sleep(2 * codesWithin)
		s.codes.take(workshop)
		if len(s.codes.given) != 1 {
			t.Errorf("%d mailboxes are remembered", len(s.codes.given))
		}
	})
}

// What is drawn is the QR code, module by module.
func TestQRIsDrawn(t *testing.T) {
	const link = "https://t.me/afterbeep_test_bot?start=k7Qm2_xV9-tLw4Rz"
	drawn := qrOf(link)
	got := make([][]bool, drawn.Size)
	for y := range got {
		got[y] = make([]bool, drawn.Size)
	}
	for _, run := range regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`).FindAllStringSubmatch(drawn.Path, -1) {
		x, _ := strconv.Atoi(run[1])
		y, _ := strconv.Atoi(run[2])
		length, _ := strconv.Atoi(run[3])
		for i := range length {
			got[y][x+i] = true
		}
	}
	code, err := qrcode.New(link, qrcode.Medium)
	if err != nil {
		t.Fatal(err)
	}
	code.DisableBorder = true
	for y, row := range code.Bitmap() {
		for x, dark := range row {
			if got[y][x] != dark {
				t.Fatalf("module %d, %d is %v", x, y, got[y][x])
			}
		}
	}
	if qrOf("") != nil || qrOf(strings.Repeat("x", 5000)) != nil {
		t.Error("what cannot be drawn was")
	}
}

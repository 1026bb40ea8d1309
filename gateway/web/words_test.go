package web

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/text"
)

// What the scripts and inbox.html say is in the table, and what is in the table
// is said.
func TestPageKnowsItsWords(t *testing.T) {
	said := map[string]bool{"needs_script": true, "read_at": true, "played_at": true} // a variable's in bubble.js
	for _, kind := range []delivery.Kind{delivery.Voice, delivery.Video} {
		said[string(kind)] = true
	}
	for reason := range text.For("en").Reasons {
		said["reason_"+reason] = true
	}
	said["reason_missed"] = true
	for trust := range text.For("en").Trust {
		said["trust_"+trust] = true
	}
	call, word := regexp.MustCompile(`say\(([^)]*)\)`), regexp.MustCompile(`(=== )?"([a-z_]+)"`)
	s := newServer(t, newMemory(), nil)
	for name, content := range s.pages.files {
		if path.Ext(name) != ".js" {
			continue
		}
		for _, arguments := range call.FindAllSubmatch(content, -1) {
			for _, m := range word.FindAllSubmatch(arguments[1], -1) {
				if len(m[1]) == 0 { // not compared with
					said[string(m[2])] = true
				}
			}
		}
	}
	want := slices.Sorted(maps.Keys(said))
	if got := slices.Sorted(maps.Keys(text.For("en").Words())); !slices.Equal(got, want) {
		t.Errorf("the table has\n%q\nand the page says\n%q", got, want)
	}
}

func TestPageIsWrittenInTheMailboxsLanguage(t *testing.T) {
	s := newServer(t, newMemory(), nil)
	for token, want := range map[string][]string{
		receptionToken: {`<html lang="en">`, `"inbox":"Inbox"`, "This page needs JavaScript."},
		workshopToken:  {`<html lang="de-AT">`, `"inbox":"Posteingang"`, "Diese Seite braucht JavaScript."},
	} {
		page := ask(t, s, "GET", "/inbox/"+token, header("Accept-Language", "fr")).Body.String()
		for _, part := range want {
			if !strings.Contains(page, part) {
				t.Errorf("%s is missing in\n%s", part, page)
			}
		}
	}
}

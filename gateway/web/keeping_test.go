package web

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/afterbeep/afterbeep/delivery"
)

const (
	exportPath = "/admin/api/mailboxes/" + reception + "/export"
	notesPath  = "/admin/api/mailboxes/" + reception + "/notes"
)

func asAdmin(r *http.Request) { r.Header.Set("Authorization", "Bearer "+adminToken) }

func TestExport(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	want := dump(ask(t, s, "GET", "/"))
	if got := dump(ask(t, s, "GET", exportPath, asAdmin)); got != want {
		t.Errorf("a mailbox without notes: got\n%s", got)
	}
	m.add(delivery.Note{Kind: delivery.Voice})
	got := ask(t, s, "GET", exportPath, asAdmin)
	if got.Code != http.StatusOK || got.Header().Get("Content-Type") != "application/zip" || got.Body.String() != "zip of "+reception {
		t.Errorf("got\n%s", dump(got))
	}
	m.fail = errors.New("the disk is gone")
	if got := ask(t, s, "GET", exportPath, asAdmin); got.Code != http.StatusServiceUnavailable || got.Header().Get("Content-Disposition") != "" {
		t.Errorf("a failing store: got\n%s", dump(got))
	}
}

// An export that fails half-way must not look like one that ended.
func TestExportThatFailsIsCutOff(t *testing.T) {
	m := newMemory()
	m.add(delivery.Note{Kind: delivery.Voice})
	m.cut = errors.New("the disk is gone")
	server := httptest.NewServer(newServer(t, m, nil))
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+exportPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	asAdmin(request)
	response, err := server.Client().Do(request)
	if err == nil {
		_, err = io.ReadAll(response.Body)
		_ = response.Body.Close()
	}
	if err == nil {
		t.Error("it ended as if it were whole")
	}
}

func TestErase(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	gone := m.add(delivery.Note{Kind: delivery.Voice})
	kept := m.add(delivery.Note{Kind: delivery.Voice, Recipient: delivery.Recipient{Number: workshop}})
	r := ask(t, s, "DELETE", notesPath, asAdmin)
	var proof delivery.Erasure
	if err := json.Unmarshal(r.Body.Bytes(), &proof); err != nil || r.Code != http.StatusOK {
		t.Fatalf("%v: got\n%s", err, dump(r))
	}
	if proof.Notes != 1 || len(proof.Proof) != 1 || proof.Proof[0] != (delivery.ErasedNote{ID: gone.ID, SHA256: gone.Media.SHA256}) {
		t.Errorf("the proof is %+v", proof)
	}
	if m.note(gone.ID).ID != "" || m.note(kept.ID).ID == "" {
		t.Error("it erased another mailbox")
	}
	m.fail = errors.New("the disk is gone")
	if r := ask(t, s, "DELETE", notesPath, asAdmin); r.Code != http.StatusServiceUnavailable {
		t.Errorf("a failing store: got\n%s", dump(r))
	}
}

// Without the token nothing tells that there is anything, and another site's
// page cannot have it done by the admin's browser.
func TestKeepingIsTheAdminsAlone(t *testing.T) {
	m := newMemory()
	s := newServer(t, m, nil)
	n := m.add(delivery.Note{Kind: delivery.Voice})
	want := dump(ask(t, s, "GET", "/"))
	elsewhere := header("Sec-Fetch-Site", "cross-site")
	for why, got := range map[string]string{
		"export without the token":    dump(ask(t, s, "GET", exportPath)),
		"export with a link's token":  dump(ask(t, s, "GET", exportPath, header("Authorization", "Bearer "+receptionToken))),
		"erase without the token":     dump(ask(t, s, "DELETE", notesPath)),
		"erase from another site":     dump(ask(t, s, "DELETE", notesPath, asAdmin, elsewhere)),
		"erase by another method":     dump(ask(t, s, "POST", notesPath, asAdmin)),
		"export where no token opens": dump(ask(t, newServer(t, m, func(o *Options) { o.AdminToken = "" }), "GET", exportPath, asAdmin)),
	} {
		if got != want {
			t.Errorf("%s: got\n%s", why, strings.TrimSpace(got))
		}
	}
	if m.note(n.ID).ID == "" {
		t.Error("the note was erased")
	}
}

package main

import (
	"bytes"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

func TestNextText(t *testing.T) {
	at := time.Date(2026, 11, 22, 14, 3, 0, 0, time.Local)
	stamp := at.Format(time.RFC3339)
	for want, j := range map[string]delivery.Job{
		"":                                    {State: delivery.JobDelivered, NextAt: at},
		", next try " + stamp:                 {State: delivery.JobQueued, NextAt: at},
		", waits for a report until " + stamp: {State: delivery.JobQueued, NextAt: at, Waits: true},
	} {
		if got := nextText(j); got != want {
			t.Errorf("%+v: %q, want %q", j, got, want)
		}
	}
}

// A note that cannot be read is listed among the others, with what to mend.
func TestListOfAnUnreadableNote(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := configFile(t, dir, "http://127.0.0.1:9", "")
	deadStore(t, dir, 3, "hook")
	db, err := sql.Open("sqlite", filepath.Join(dir, "data", "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	var closed string
	err = db.QueryRowContext(t.Context(), "UPDATE note SET body = zeroblob(9) WHERE id = (SELECT max(id) FROM note) RETURNING id").Scan(&closed)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	cmd := root()
	cmd.SetArgs([]string{"note", "list", "--config", path, "--limit", "2"})
	cmd.SetOut(&out)
	cmd.SetErr(&said)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[1], closed) || !strings.HasSuffix(lines[1], "cannot be read") || !strings.HasSuffix(lines[2], "hook dead") {
		t.Errorf("listed\n%s", &out)
	}
	if !strings.Contains(said.String(), "store.key_file") || !strings.Contains(said.String(), "--before") {
		t.Errorf("said %q", &said)
	}
}

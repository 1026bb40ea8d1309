package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A filter that no note can answer to is told, in place of an empty list.
func TestFilterThatCannotMatchIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := configFile(t, dir, "http://127.0.0.1:9", "")
	deadStore(t, dir, 2, "hook")
	for args, said := range map[string]string{
		"list --state deaf":                             `there is no state "deaf"`,
		"list --before foo":                             "no note's id",
		"list --limit 0":                                "1 or more",
		"list --since 2026-02-02 --until 2026-01-01":    "no call can lie between them",
		"redrive --since 2026-02-02 --until 2026-01-01": "no call can lie between them",
	} {
		if err := fails(t, append([]string{"note", "--config", path}, strings.Fields(args)...)...); !strings.Contains(err, said) {
			t.Errorf("note %s: %s", args, err)
		}
	}
	if n := strings.Count(run(t, "note", "list", "--config", path, "--limit", "1"), "hook dead"); n != 1 {
		t.Errorf("%d notes, want 1", n)
	}
}

func TestMomentInDays(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	if at, err := parseMoment("7d", now); err != nil || !at.Equal(now.AddDate(0, 0, -7)) {
		t.Errorf("7d: %v, %v", at, err)
	}
	for _, text := range []string{"0d", "-1d", "d", "99999d"} {
		if at, err := parseMoment(text, now); err == nil {
			t.Errorf("%s: %v", text, at)
		}
	}
}

// Who is asked and says nothing can still interrupt.
func TestQuestionIsInterrupted(t *testing.T) {
	t.Parallel()
	in, typing := io.Pipe()
	defer func() { _ = typing.Close() }() // ends the reader
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if line, err := readLine(ctx, in); err == nil {
		t.Errorf("read %q", line)
	}
}

// A rotation that the store refuses leaves the key file as it was.
func TestRotateThatIsRefusedAddsNoKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := configFile(t, dir, "http://127.0.0.1:9", "")
	deadStore(t, dir, 1, "hook") // in clear
	keys := filepath.Join(dir, "keys")
	run(t, "keys", "new", keys)
	before, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err == nil {
		text = []byte(strings.Replace(string(text), "store: {path: data}", "store: {path: data, key_file: keys}", 1))
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if said := fails(t, "keys", "rotate", "--config", path); !strings.Contains(said, "in clear") {
		t.Errorf("rotate: %s", said)
	}
	if after, err := os.ReadFile(keys); err != nil || string(after) != string(before) {
		t.Errorf("the key file has changed, %v", err)
	}
}

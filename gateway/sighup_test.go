package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// SIGHUP has the file read again: calls in progress go on, those that come
// later find the new mailboxes. A file with a mistake changes nothing.
func TestReloadBySIGHUP(t *testing.T) {
	t.Parallel()
	hook := newReceiver(t)
	dir := t.TempDir()
	sheet := filepath.Join(dir, "mailboxes.csv")
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(sheet, "number,deliver\n200-299,hook\n")
	path := configFile(t, dir, hook.URL, "no_rtp: 40s", "directory: {file: mailboxes.csv}")
	gateway := startChild(t, path)
	calls := func(number string, want int) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for {
			got := newPhone(t, gateway.sip, number).call()
			if got == 200 {
				if n := hook.next(t); n.Data.Recipient.Number != number {
					t.Errorf("the note is for %+v", n.Data.Recipient)
				}
			}
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is answered %d, want %d", number, got, want)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	hangup := func() {
		t.Helper()
		if err := gateway.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	calls("250", 200)
	calls("350", 480)

	during := newPhone(t, gateway.sip, "251")
	during.send("INVITE", "", 1, sdp)
	_, tag := during.final()
	during.send("ACK", tag, 1, "")

	good := mustRead(t, path)
	put(path, strings.Replace(good, `number: "+4930123456"`, `number: "3*"`, 1))
	put(sheet, "number,deliver\n400-499,hook\n")
	hangup()
	calls("350", 200)
	calls("450", 200)
	calls("250", 480)

	during.send("BYE", tag, 2, "")
	if status, _ := during.final(); status != 200 {
		t.Errorf("the BYE of the call that went on is answered %d", status)
	}
	if n := hook.next(t); n.Data.Recipient.Number != "251" {
		t.Errorf("the note is for %+v", n.Data.Recipient)
	}

	put(path, strings.Replace(good, "deliver: [hook]", "deliver: [hock]", 1))
	hangup()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(mustRead(t, filepath.Join(dir, childLog)), "the configuration is not taken over"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log says\n%s", mustRead(t, filepath.Join(dir, childLog)))
		}
	}
	calls("350", 200)
	put(sheet, "number,deliver\n400-499,hook\n5*,hook\n") // is read by itself
	calls("555", 200)
	if log := mustRead(t, filepath.Join(dir, childLog)); strings.Contains(log, "hock") || !strings.Contains(log, "mailboxes[0].deliver[0]") {
		t.Errorf("the log says\n%s", log)
	}
}

// A SIGHUP that comes while the gateway opens does not end it, and is not
// forgotten. The file is a pipe, which tells when it is read.
func TestSIGHUPWhileOpening(t *testing.T) {
	t.Parallel()
	path := configFile(t, t.TempDir(), "https://a.example", "")
	text := mustRead(t, path)
	if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	read := func() *os.File {
		t.Helper()
		begun := make(chan *os.File, 1)
		go func() {
			f, _ := os.OpenFile(path, os.O_WRONLY, 0) // waits for the reader
			begun <- f
		}()
		select {
		case f := <-begun:
			return f
		case <-time.After(10 * time.Second):
			t.Fatal("the file is not read")
			return nil
		}
	}
	put := func(f *os.File) {
		t.Helper()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	gateway := launch(t, os.Args[0], path)
	first := read()
	if err := gateway.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	put(first)
	gateway.awaitReady(t, path)
	put(read())
	gateway.stop(t)
}

package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fails runs a command that must fail, and returns its error.
func fails(t *testing.T, args ...string) string {
	t.Helper()
	cmd := root()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(""))
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	err := cmd.ExecuteContext(t.Context())
	if err == nil {
		t.Fatalf("afterbeep %s: no error", strings.Join(args, " "))
	}
	return err.Error()
}

// exported reads an export of one note: its id, and its audio if it is what
// notes.json says.
func exported(t *testing.T, text []byte) (id string, audio []byte) {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	var notes []struct {
		ID     string
		Caller struct{ Number, Name string }
		Audio  struct{ File, SHA256 string }
		Jobs   []struct{ State string }
		Events []struct{ Name string }
	}
	content := func(name string) []byte {
		f, err := archive.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if err := json.Unmarshal(content("notes.json"), &notes); err != nil || len(notes) != 1 {
		t.Fatalf("%d notes, %v", len(notes), err)
	}
	n := notes[0]
	audio = content(n.Audio.File)
	if sum := sha256.Sum256(audio); hex.EncodeToString(sum[:]) != n.Audio.SHA256 || n.Audio.File != "audio/"+n.ID+".ogg" {
		t.Errorf("the audio is not what notes.json says: %+v", n.Audio)
	}
	if n.Caller.Name != "Maria" || n.Jobs[0].State != "delivered" || n.Events[0].Name != "recording" {
		t.Errorf("the note is exported as %+v", n)
	}
	return n.ID, audio
}

var listeningHTTP = regexp.MustCompile(`msg=listening http=(\S+)`)

// An operator exports and erases a mailbox: by a command on the running
// gateway, over its API, and on the store alone. Nothing of it is left in the
// store, the log and the call records.
func TestOperatorExportsAndErases(t *testing.T) {
	t.Parallel()
	const token = "an admin token of the tests"
	for name, sealed := range map[string]bool{"clear": false, "sealed": true} {
		t.Run(name, func(t *testing.T) {
			hook, dir, out := newReceiver(t), t.TempDir(), t.TempDir()
			path := configFile(t, dir, hook.URL, "", "log: {level: debug, call_records: calls.jsonl}")
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text = bytes.Replace(text, []byte(`listen: "127.0.0.1:0"}`), []byte(`listen: "127.0.0.1:0", admin_token: "`+token+`"}`), 1)
			if sealed {
				run(t, "keys", "new", filepath.Join(out, "keys"))
				text = bytes.Replace(text, []byte("store: {path: data}"), []byte("store: {path: data, key_file: "+filepath.Join(out, "keys")+"}"), 1)
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			gateway := startChild(t, path)
			file := filepath.Join(out, "export.zip")

			leave(t, gateway.sip)
			heard := hook.next(t)
			awaitDelivered(t, path)
			run(t, "note", "export", reception, "--config", path, "--output", file)
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the export: %v, %v", info, err)
			}
			zipped, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			id, audio := exported(t, zipped)
			if id != heard.Data.ID || !bytes.Equal(audio, heard.file) {
				t.Errorf("note %s is exported, %s came", id, heard.Data.ID)
			}
			if err := fails(t, "note", "export", reception, "--config", path, "--output", file); !strings.Contains(err, "is there already") {
				t.Errorf("over a file: %s", err)
			}
			if err := fails(t, "note", "export", "+49999", "--config", path, "--output", filepath.Join(out, "none.zip")); !strings.Contains(err, "has no notes") {
				t.Errorf("of nothing: %s", err)
			}
			if _, err := os.Stat(filepath.Join(out, "none.zip")); err == nil {
				t.Error("a failed export left its file")
			}
			if err := fails(t, "note", "erase", reception, "--config", path); !strings.Contains(err, "--yes") {
				t.Errorf("erase that nobody confirms: %s", err)
			}
			if said := run(t, "note", "erase", reception, "--config", path, "--yes"); !strings.Contains(said, "erased 1 note, 2 files") || !strings.Contains(said, id+"  "+heard.Data.Media.SHA256) {
				t.Errorf("erase said\n%s", said)
			}
			nothingLeft(t, dir, audio)

			leave(t, gateway.sip)
			again := hook.next(t)
			awaitDelivered(t, path)
			log, err := os.ReadFile(filepath.Join(dir, childLog))
			if err != nil {
				t.Fatal(err)
			}
			api := "http://" + string(listeningHTTP.FindSubmatch(log)[1]) + "/admin/api/mailboxes/" + reception
			if id, _ := exported(t, ask(t, "GET", api+"/export", token)); id != again.Data.ID {
				t.Errorf("the API exports note %s", id)
			}
			var erased struct{ Proof []struct{ ID string } }
			if err := json.Unmarshal(ask(t, "DELETE", api+"/notes", token), &erased); err != nil || len(erased.Proof) != 1 || erased.Proof[0].ID != again.Data.ID {
				t.Errorf("the API's proof: %+v, %v", erased, err)
			}
			nothingLeft(t, dir, again.file)

			leave(t, gateway.sip)
			last := hook.next(t)
			awaitDelivered(t, path)
			gateway.stop(t)
			if id, _ := exported(t, []byte(run(t, "note", "export", reception, "--config", path, "--output", "-"))); id != last.Data.ID {
				t.Errorf("the store alone exports note %s", id)
			}
			if said := run(t, "note", "erase", reception, "--config", path, "--yes"); !strings.Contains(said, last.Data.ID) {
				t.Errorf("erase on the store alone said\n%s", said)
			}
			nothingLeft(t, dir, last.file)
		})
	}
}

// awaitDelivered waits until the note is kept as delivered.
func awaitDelivered(t *testing.T, path string) {
	t.Helper()
	until(t, "the note is delivered", func() bool {
		return strings.Contains(run(t, "note", "list", "--config", path), "delivered")
	})
}

// ask asks the admin's API.
func ask(t *testing.T, method, url, token string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %v", method, url, response.Status, err)
	}
	return body
}

// nothingLeft searches every file below dir but the configuration.
func nothingLeft(t *testing.T, dir string, audio []byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || filepath.Ext(path) == ".yaml" {
			return err
		}
		content, err := os.ReadFile(path)
		for what, trace := range map[string][]byte{
			"the mailbox": []byte(reception), "the caller's number": []byte("705550101"), "the caller's name": []byte("Maria"), "the voice": audio[len(audio)/2:][:32],
		} {
			if bytes.Contains(content, trace) {
				t.Errorf("%s is in %s", what, filepath.Base(path))
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestZipName(t *testing.T) {
	for mailbox, want := range map[string]string{
		"+4930123456": "+4930123456.zip", "101": "101.zip", "../../etc/passwd": "_.._etc_passwd.zip",
		"maria.müller": "maria.m_ller.zip", "-rf": "rf.zip", `a\b:c*`: "a_b_c_.zip", "...": "mailbox.zip",
	} {
		if got := zipName(mailbox); got != want {
			t.Errorf("%q: %q, want %q", mailbox, got, want)
		}
	}
}

// Where machines share the work, the store alone has not all of a mailbox:
// neither is it exported nor erased without the gateway.
func TestMailboxOfAFleetNeedsTheGateway(t *testing.T) {
	t.Parallel()
	path := memberFile(t, "http://127.0.0.1:1/", "redis://127.0.0.1:1", "")
	if err := os.Mkdir(filepath.Join(filepath.Dir(path), "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "note", "list", "--config", path)
	file := filepath.Join(t.TempDir(), "export.zip")
	for _, args := range [][]string{{"export", reception, "--output", file}, {"erase", reception, "--yes"}} {
		if err := fails(t, append([]string{"note", "--config", path}, args...)...); !strings.Contains(err, "start the gateway first") {
			t.Errorf("note %s: %s", args[0], err)
		}
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the export is there: %v", err)
	}
}

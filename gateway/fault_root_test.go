package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/sip"
)

// rootFault skips a test that mounts file systems unless it is asked for.
func rootFault(t *testing.T) {
	t.Helper()
	if os.Getenv("AFTERBEEP_ROOT_FAULTS") != "1" {
		t.Skip("this fault needs root and loop mounts: deploy/faults.sh provokes it")
	}
}

// command runs a program that must succeed.
func command(t *testing.T, name string, args ...string) {
	t.Helper()
	// Not the test's context: what was mounted is to be unmounted after it.
	if out, err := exec.CommandContext(context.Background(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// volume is a file system in a file, mounted on a folder until the test ends.
type volume struct{ image, folder string }

// newVolume makes a file system of a size in bytes, in a file of that folder.
func newVolume(t *testing.T, kind, in string, size int64) *volume {
	t.Helper()
	v := &volume{image: filepath.Join(in, kind+".img"), folder: filepath.Join(in, kind)}
	f, err := os.Create(v.image)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close(), os.Mkdir(v.folder, 0o700))
	}
	if err != nil {
		t.Fatal(err)
	}
	if kind == "ext4" {
		command(t, "mkfs.ext4", "-q", "-m", "0", v.image)
	} else {
		command(t, "mkfs.xfs", "-q", v.image)
	}
	v.mount(t, "loop")
	return v
}

func (v *volume) mount(t *testing.T, options string) {
	t.Helper()
	command(t, "mount", "-o", options, v.image, v.folder)
	t.Cleanup(func() {
		if v.mounted(t) {
			v.unmount(t)
		}
	})
}

func (v *volume) unmount(t *testing.T) {
	t.Helper()
	command(t, "umount", v.folder)
}

func (v *volume) mounted(t *testing.T) bool {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(mounts), " "+v.folder+" ")
}

// fill leaves no room for a single byte; free gives it back.
func (v *volume) fill() (free func() error, err error) {
	f, err := os.Create(filepath.Join(v.folder, "filler"))
	if err != nil {
		return nil, err
	}
	for block := make([]byte, 1<<20); len(block) > 0; {
		_, err = f.Write(block)
		if errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return func() error { return os.Remove(f.Name()) }, errors.Join(f.Sync(), f.Close())
}

// smallDisk is an ext4 with little more room than the store leaves free.
const smallDisk = 128 << 20

// shortCalls keeps the reserve of a call small.
const shortCalls = "no_rtp: 10s\n  max_duration: 30s"

// refused fails unless a new call gets a 503 and /readyz tells why.
func (l *ledger) refused(t *testing.T, gateway *child, why string) {
	t.Helper()
	status := (*sip.StatusError)(nil)
	if _, err := l.caller.dial(t.Context(), target(gateway.sip), sip.Request{From: "+491706666666"}); !errors.As(err, &status) || status.Code != 503 {
		t.Errorf("a new call got %v, want 503", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+gateway.http+"/readyz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), why) {
		t.Errorf("/readyz: %s %q, %v; want %q", res.Status, body, err, why)
	}
}

// What cannot be kept is not answered; with room again, calls are taken.
func TestDiskFullBeforeTheAnswer(t *testing.T) {
	rootFault(t)
	l := newLedger(t)
	disk := newVolume(t, "ext4", t.TempDir(), smallDisk)
	path := configFile(t, disk.folder, l.hook.URL, shortCalls)
	gateway := startChild(t, path)
	l.leave(t, gateway.sip)
	l.await(t)
	free, err := disk.fill()
	if err != nil {
		t.Fatal(err)
	}
	l.refused(t, gateway, "make room")
	if err := free(); err != nil {
		t.Fatal(err)
	}
	l.leave(t, gateway.sip)
	l.await(t)
	gateway.stop(t)
	l.settle(t, path)
}

// A call that was answered is recorded to its end, in the room that is
// reserved for it, and delivered while the disk is still full.
func TestDiskFullDuringTheCall(t *testing.T) {
	rootFault(t)
	l := newLedger(t)
	disk := newVolume(t, "ext4", t.TempDir(), smallDisk)
	path := configFile(t, disk.folder, l.hook.URL, shortCalls)
	gateway := startChild(t, path)
	var calls []*message
	for range 4 {
		calls = append(calls, l.speak(t, gateway.sip, 4*time.Second))
	}
	time.Sleep(time.Second)
	if _, err := disk.fill(); err != nil {
		t.Fatal(err)
	}
	for _, m := range calls {
		l.hangUp(t, m)
	}
	l.refused(t, gateway, "make room")
	l.await(t)
	gateway.stop(t)
	l.settle(t, path)
}

// A delivery is kept though the disk has filled up meanwhile: after a crash
// the note does not come again.
func TestDiskFullAtTheReceipt(t *testing.T) {
	rootFault(t)
	l := newLedger(t)
	chat := newChat(t, l.hook)
	disk := newVolume(t, "ext4", t.TempDir(), smallDisk)
	path := configFile(t, disk.folder, chat.URL, shortCalls)
	gateway := startChild(t, path)
	chat.once(func(w http.ResponseWriter, r *http.Request) {
		chat.take(r)
		if _, err := disk.fill(); err != nil {
			t.Error(err)
			reset(w)
		}
	})
	l.leave(t, gateway.sip)
	l.await(t)
	reach(t, path, delivery.JobDelivered)
	gateway.kill()
	gateway = startChild(t, path)
	l.hook.none(t, time.Second)
	gateway.stop(t)
	if l.settle(t, path); len(l.arrived) != 1 {
		t.Errorf("it arrived %d times", len(l.arrived))
	}
}

// When the kernel turns the file system read-only, calls are refused and
// /readyz says why; mounted anew, all that was promised is delivered.
func TestDiskTurnsReadOnly(t *testing.T) {
	rootFault(t)
	l := newLedger(t)
	chat := newChat(t, l.hook)
	disk := newVolume(t, "ext4", t.TempDir(), smallDisk)
	path := configFile(t, disk.folder, chat.URL, shortCalls)
	gateway := startChild(t, path)
	chat.does(down)
	l.leave(t, gateway.sip)
	speaking := l.speak(t, gateway.sip, 4*time.Second)
	steadily(2500 * time.Millisecond)
	speaking.playing.Stop() // the mount takes its time on a busy machine
	// What ext4 does by itself after an error (ext4(5), abort and errors=remount-ro).
	command(t, "mount", "-o", "remount,abort", disk.folder)
	l.cutOff(t, speaking, 2*time.Second)
	l.refused(t, gateway, "disk")
	gateway.kill()
	disk.unmount(t)
	disk.mount(t, "loop")

	chat.does(nil)
	gateway = startChild(t, path)
	l.await(t)
	gateway.stop(t)
	l.settle(t, path)
}

// A power cut is what the disk holds at an instant: a gateway that starts on
// that delivers every note that was queued, and of calls in progress all but
// the last two seconds.
func TestPowerCut(t *testing.T) {
	rootFault(t)
	l := newLedger(t)
	chat := newChat(t, l.hook)
	outer := newVolume(t, "xfs", t.TempDir(), 1<<30) // where snapshots share what they have in common
	disk := newVolume(t, "xfs", outer.folder, 320<<20)
	path := configFile(t, disk.folder, chat.URL, shortCalls)
	gateway := startChild(t, path)
	for round := range 3 {
		cutPower(t, l, chat, outer, disk, gateway.sip, round).check(t)
	}
	l.await(t)
	gateway.stop(t)
	l.settle(t, path)
}

// outage is a disk as a power cut left it, and what was promised until then.
type outage struct {
	*ledger
	disk *volume
}

// cutPower takes the disk as it stands while a note is delivered, one waits
// for its next attempt, one is being sent and callers speak.
func cutPower(t *testing.T, l *ledger, chat *chat, outer, disk *volume, gateway netip.AddrPort, round int) outage {
	t.Helper()
	l.leave(t, gateway)
	l.await(t)
	up := make(chan struct{})
	chat.does(func(w http.ResponseWriter, r *http.Request) {
		chat.does(func(_ http.ResponseWriter, r *http.Request) {
			<-up
			chat.take(r)
		})
		down(w, r)
	})
	l.leave(t, gateway)
	l.leave(t, gateway)
	o := outage{
		ledger: &ledger{hook: newReceiver(t), promised: maps.Clone(l.promised), arrived: slices.Clone(l.arrived)},
		disk:   &volume{filepath.Join(outer.folder, fmt.Sprintf("cut%d.img", round)), filepath.Join(outer.folder, fmt.Sprintf("cut%d", round))},
	}
	var calls []*message
	for range 4 {
		calls = append(calls, l.speak(t, gateway, 4*time.Second))
		time.Sleep(150 * time.Millisecond)
	}
	steadily(2*time.Second + time.Duration(round)*300*time.Millisecond)
	for _, m := range calls {
		o.promised[m.from] = promise{time.Since(m.began) - 2*time.Second, m.length, true}
	}
	command(t, "cp", "--reflink=always", disk.image, o.disk.image)
	close(up)
	chat.does(nil)
	for _, m := range calls {
		l.hangUp(t, m)
	}
	if err := os.Mkdir(o.disk.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return o
}

// check starts a gateway on what the disk held.
func (o outage) check(t *testing.T) {
	t.Helper()
	o.disk.mount(t, "loop,nouuid") // the same file system is mounted already
	path := configFile(t, o.disk.folder, o.hook.URL, shortCalls)
	gateway := startChild(t, path)
	o.await(t)
	gateway.stop(t)
	o.settle(t, path)
	o.disk.unmount(t)
}

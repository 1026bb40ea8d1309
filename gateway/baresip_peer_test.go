package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// A real phone calls and plays a WAV file: the note, decoded by ffmpeg, is
// what the phone played.
func TestPhoneLeavesANote(t *testing.T) {
	peertest.Needs(t, "baresip")
	for _, c := range []struct {
		codec    string
		rate     int // and channels of the WAV file: baresip does not resample
		channels int
		likeness float64
	}{
		{"pcmu/8000/1", 8000, 1, 0.96},
		{"pcma/8000/1", 8000, 1, 0.96},
		{"g722/16000/1", 16000, 1, 0.95},
		{"opus/48000/2", 48000, 2, 0.90},
	} {
		t.Run(c.codec, func(t *testing.T) {
			t.Parallel()
			hook := newReceiver(t)
			g := startGateway(t, configFile(t, t.TempDir(), hook.URL, ""))
			said := speech(t, 5*time.Second)
			wav := writeWAV(t, said, c.rate, c.channels)
			baresip(t, c.codec, wav, fmt.Sprintf("sip:%s@%s", reception, g.address("udp")))

			n := hook.next(t)
			heard := decode(t, n.file)
			if n.Data.Kind != "voice" || len(heard) < 3*8000 {
				t.Fatalf("kind %s, %d ms", n.Data.Kind, n.Data.DurationMS)
			}
			if got := likeness(said, heard); got < c.likeness {
				t.Errorf("likeness to the file %.3f, want %.2f", got, c.likeness)
			}
		})
	}
}

// phonePorts is how many a phone takes: for SIP, for SIP over TLS, and for RTP.
const phonePorts = 14

// baresip calls the target, plays the file and hangs up at its end. The codec
// may be followed by other parameters of an account; settings are further lines
// of its configuration.
func baresip(t *testing.T, codec, wav, target string, settings ...string) {
	t.Helper()
	dir, port := t.TempDir(), peertest.Ports(t, phonePorts)
	for name, text := range map[string]string{
		"accounts": "<sip:maria@127.0.0.1>;regint=0;audio_codecs=" + codec + "\n",
		"contacts": "",
		"config": fmt.Sprintf(`poll_method epoll
sip_listen 127.0.0.1:%d
net_interface 127.0.0.1
audio_source aufile,%s
audio_player aubridge,ear
audio_alert aubridge,bell
rtp_ports %d-%d
module_path /usr/lib/baresip/modules
module g711.so
module g722.so
module opus.so
module aufile.so
module aubridge.so
module_tmp account.so
module_app menu.so
%s`, port, wav, port+2, port+phonePorts-1, strings.Join(settings, "\n")),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := startPeer(t, exec.CommandContext(context.Background(), "baresip", "-f", dir, "-e", "/dial "+target))
	for _, line := range []string{"Call established", "terminated (duration"} {
		until(t, "baresip says "+line, func() bool { return strings.Contains(said.text(), line) })
	}
}

// startPeer runs a program, with the processes it starts, until the test ends,
// and returns what it says.
func startPeer(t *testing.T, cmd *exec.Cmd) *transcript {
	t.Helper()
	said := &transcript{}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), said.text())
		}
	})
	return said
}

// transcript is what a program says. The zero value is ready.
type transcript struct {
	mu   sync.Mutex
	said strings.Builder
}

func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(b)
}

func (s *transcript) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// writeWAV writes speech at 8 kHz as a WAV file of another rate.
func writeWAV(t *testing.T, pcm []int16, rate, channels int) string {
	t.Helper()
	narrow := wavFile(pcm, 8000)
	path := filepath.Join(t.TempDir(), "said.wav")
	if err := os.WriteFile(path, narrow, 0o600); err != nil {
		t.Fatal(err)
	}
	if rate == 8000 {
		return path
	}
	wide := filepath.Join(t.TempDir(), "wide.wav")
	peertest.Needs(t, "ffmpeg")
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-i", path, "-ar", fmt.Sprint(rate), "-ac", fmt.Sprint(channels), wide).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	return wide
}

func wavFile(pcm []int16, rate uint32) []byte {
	b := append([]byte("RIFF"), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(b[4:], uint32(36+2*len(pcm)))
	b = append(b, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"...)
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, 2*rate)
	b = append(b, 2, 0, 16, 0)
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(2*len(pcm)))
	for _, s := range pcm {
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	return b
}

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// A sipp scenario is put together from steps, so that each test reads as the
// call it makes.
type step string

const headers = `Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "Maria" <sip:+491705550101@[local_ip]:[local_port]>;tag=[pid]t[call_number]
Max-Forwards: 70
Contact: <sip:caller@[local_ip]:[local_port];transport=[transport]>
Call-ID: [call_id]
`

// offer is an SDP of the caller's with the given formats and direction.
func offer(formats, direction string) string {
	sdp := "v=0\no=sipp 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\nm=audio [media_port] RTP/AVP " + formats + "\n"
	for pt := range strings.FieldsSeq(formats) {
		if name, ok := map[string]string{"96": "AMR/8000", "101": "telephone-event/8000", "111": "opus/48000/2"}[pt]; ok {
			sdp += "a=rtpmap:" + pt + " " + name + "\n"
		}
	}
	return sdp + "a=ptime:20\na=" + direction + "\n"
}

func send(request, cseq, extra, body string, attributes string) step {
	to := "<sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]"
	contentType := ""
	if body != "" {
		contentType = "Content-Type: application/sdp\n"
	}
	return step(fmt.Sprintf("<send %s><![CDATA[\n%s\n%sTo: %s\nCSeq: %s\n%s%sContent-Length: [len]\n\n%s]]></send>\n",
		attributes, request, headers, to, cseq, extra, contentType, body))
}

const uri = "sip:[service]@[remote_ip]:[remote_port]"

func invite(body string) step {
	return send("INVITE "+uri+" SIP/2.0", "1 INVITE", "Diversion: <sip:[service]@pbx.example>;reason=no-answer\n", body, `retrans="500"`)
}

func reinvite(cseq int, body string) step {
	return send("INVITE [next_url] SIP/2.0", fmt.Sprint(cseq, " INVITE"), "", body, `retrans="500"`)
}

func ack(cseq int, body string) step {
	return send("ACK [next_url] SIP/2.0", fmt.Sprint(cseq, " ACK"), "", body, "")
}

func bye(cseq int) step {
	return send("BYE [next_url] SIP/2.0", fmt.Sprint(cseq, " BYE"), "", "", `retrans="500"`) + recv(200, "")
}

func recv(code int, attributes string) step {
	return step(fmt.Sprintf("<recv response=\"%d\" %s/>\n", code, attributes))
}

func answered() step { return recv(100, `optional="true"`) + recv(200, `rrs="true"`) }

func play(pcap string) step {
	return step(fmt.Sprintf("<nop><action><exec play_pcap_audio=%q/></action></nop>\n", pcap))
}

func pause(d time.Duration) step {
	return step(fmt.Sprintf("<pause milliseconds=\"%d\"/>\n", d.Milliseconds()))
}

// byeFromGateway waits for the gateway to hang up.
func byeFromGateway() step {
	return "<recv request=\"BYE\"/>\n" + `<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
`
}

// sipp places one call to number at the gateway and plays the scenario to its
// end. It fails the test when the signalling is not as the scenario expects.
// Where the scenario itself resends, sipp is not to do so (-nr).
func sipp(t *testing.T, target, transport, number string, steps ...step) {
	t.Helper()
	peertest.Needs(t, "sipp")
	dir := t.TempDir()
	file := filepath.Join(dir, "scenario.xml")
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<scenario name=\"call\">\n")
	for _, s := range steps {
		b.WriteString(string(s))
	}
	b.WriteString("</scenario>\n")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	port := peertest.Ports(t, 6) // after two for SIP those of its RTP: sound, and what it takes for a picture
	var said bytes.Buffer
	args := []string{
		target, "-sf", file, "-s", number, "-m", "1",
		"-i", "127.0.0.1", "-p", strconv.Itoa(port), "-mi", "127.0.0.1", "-mp", strconv.Itoa(port + 2),
		"-t", map[string]string{"udp": "u1", "tcp": "t1"}[transport], "-nostdin", "-timeout", "50s", "-timeout_error", "-trace_err",
	}
	if !strings.Contains(b.String(), "retrans=") {
		args = append(args, "-nr")
	}
	cmd := exec.CommandContext(ctx, "sipp", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &said, &said
	if err := cmd.Run(); err != nil {
		errors, _ := filepath.Glob(filepath.Join(dir, "*_errors.log"))
		for _, f := range errors {
			text, _ := os.ReadFile(f)
			t.Logf("%s", text)
		}
		t.Fatalf("sipp: %v\n%s", err, said.String())
	}
}

// packet is one RTP packet of a capture and when it is sent.
type packet struct {
	at      time.Duration
	seq     uint16
	ts      uint32
	ssrc    uint32
	pt      uint8
	payload []byte
	place   int // of its first sample in what was said
}

// packets cuts G.711 audio into RTP packets of 20 ms.
func packets(audio []byte, pt uint8) []packet {
	var out []packet
	for i := 0; i+160 <= len(audio); i += 160 {
		n := len(out)
		out = append(out, packet{
			at: time.Duration(n) * 20 * time.Millisecond, seq: uint16(65500 + n), ts: uint32(4294960000 + i), // both wrap
			ssrc: 0x5eed, pt: pt, payload: audio[i : i+160], place: i,
		})
	}
	return out
}

// capture writes packets as a pcap file that sipp plays.
func capture(t *testing.T, ps []packet) string {
	t.Helper()
	var b []byte
	b = binary.LittleEndian.AppendUint32(b, 0xa1b2c3d4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0)
	for _, p := range ps {
		rtp := []byte{0x80, p.pt}
		rtp = binary.BigEndian.AppendUint16(rtp, p.seq)
		rtp = binary.BigEndian.AppendUint32(rtp, p.ts)
		rtp = binary.BigEndian.AppendUint32(rtp, p.ssrc)
		rtp = append(rtp, p.payload...)
		udp := binary.BigEndian.AppendUint16(nil, 10000)
		udp = binary.BigEndian.AppendUint16(udp, 20000)
		udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(rtp)))
		udp = append(append(udp, 0, 0), rtp...)
		ip := []byte{0x45, 0}
		ip = binary.BigEndian.AppendUint16(ip, uint16(20+len(udp)))
		ip = append(ip, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1)
		frame := append(append(append(make([]byte, 12), 8, 0), ip...), udp...)
		at := 1_700_000_000*time.Second + p.at
		b = binary.LittleEndian.AppendUint32(b, uint32(at/time.Second))
		b = binary.LittleEndian.AppendUint32(b, uint32(at%time.Second/time.Microsecond))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
		b = append(b, frame...)
	}
	file := filepath.Join(t.TempDir(), "caller.pcap")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

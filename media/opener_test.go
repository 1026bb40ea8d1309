package media

import (
	"bytes"
	"testing"
)

// TestRolloverCounter has the numbers wrap while nothing is heard, and in
// mid-call, and a new key come after that with the counter going on or anew.
func TestRolloverCounter(t *testing.T) {
	for _, again := range []bool{false, true} {
		o, key := &opener{}, testMaster(cm80(), 1)
		if err := o.use(key); err != nil {
			t.Fatal(err)
		}
		sender, _ := key.context()
		seq, heard := uint16(65500), 0
		run := func(count int, lost func(i int) bool) {
			for i := range count {
				packet := make([]byte, rtpHeader+160)
				packet[0], packet[2], packet[3] = 0x80, byte(seq>>8), byte(seq)
				sealed, err := sender.EncryptRTP(nil, packet, nil)
				if err != nil {
					t.Fatal(err)
				}
				if seq++; lost(i) {
					continue
				}
				plain, shown := o.open(sealed)
				if shown != genuine || !bytes.Equal(plain, packet) {
					t.Fatalf("packet %d, numbered %d, is not opened", i, seq-1)
				}
				heard++
			}
		}
		run(100, func(i int) bool { return i < 50 }) // the first heard has wrapped
		run(2*65536, func(i int) bool { return i%1000 < 500 })
		roc, _ := sender.ROC(0)
		if roc != 3 {
			t.Fatalf("the sender's counter is %d", roc)
		}
		key = testMaster(cm80(), 2)
		if err := o.use(key); err != nil {
			t.Fatal(err)
		}
		sender, _ = key.context()
		if again {
			seq = 1
		} else {
			sender.SetROC(0, roc)
		}
		run(100, func(int) bool { return false })
	}
}

// TestForgedPacketsCostNoMemory sends as many streams as an attacker likes.
func TestForgedPacketsCostNoMemory(t *testing.T) {
	o := &opener{}
	if err := o.use(testMaster(cm80(), 1)); err != nil {
		t.Fatal(err)
	}
	packet := append([]byte{0x80, 0}, make([]byte, 170)...)
	for i := range 1000 {
		packet[rtpHeader-1], packet[rtpHeader-2] = byte(i), byte(i>>8)
		if _, shown := o.open(packet); shown != forged {
			t.Fatalf("stream %d: %d", i, shown)
		}
		if _, heard := o.current.ROC(uint32(i)); heard {
			t.Fatalf("stream %d is remembered", i)
		}
	}
	if o.guesses != maxGuesses {
		t.Errorf("%d guesses, want %d", o.guesses, maxGuesses)
	}
}

// FuzzSRTP opens whatever comes, as RTP and as RTCP, with each suite and with a
// key that is named in the packets.
func FuzzSRTP(f *testing.F) {
	p := newPhone(f, "127.0.0.1:0")
	for i, s := range suites() {
		p.lock(testMaster(s, 1))
		f.Add(p.seal(p.packet(0)), byte(i), byte(0))
		report, err := p.context.EncryptRTCP(nil, []byte{0x80, 201, 0, 1, 0, 0, 0, 9}, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(report, byte(i), byte(4))
	}
	f.Fuzz(func(t *testing.T, packet []byte, which, mki byte) {
		all := suites()
		m := testMaster(all[int(which)%len(all)], 1)
		m.mki = make([]byte, mki%129)
		o := &opener{}
		if err := o.use(m); err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(packet)
		plain, shown := o.open(packet)
		if (plain == nil) != (shown != genuine) || len(plain) > len(packet) {
			t.Errorf("%d bytes, proof %d", len(plain), shown)
		}
		if plain, shown = o.openControl(packet); (plain == nil) != (shown != genuine) || len(plain) > len(packet) {
			t.Errorf("RTCP: %d bytes, proof %d", len(plain), shown)
		}
		if !bytes.Equal(packet, before) {
			t.Error("the packet was written to")
		}
	})
}

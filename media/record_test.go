package media

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// memoryTape keeps what is appended; fail, if any, is what Append returns.
type memoryTape struct {
	mu      sync.Mutex
	records [][]byte
	calls   int
	fail    error
}

func (m *memoryTape) Append(record []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if m.fail != nil {
		return m.fail
	}
	m.records = append(m.records, append([]byte(nil), record...))
	return nil
}

type entry struct {
	kind    entryKind
	arrival uint32
	body    string
}

// entries reads back all that is on the tape.
func (m *memoryTape) entries(tb testing.TB) []entry {
	tb.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []entry
	for _, rest := range m.records {
		for len(rest) > 0 {
			kind, arrival, body, next, err := nextEntry(rest)
			if err != nil {
				tb.Fatal(err)
			}
			all = append(all, entry{kind, arrival, string(body)})
			rest = next
		}
	}
	return all
}

// ended is the tape to be rendered.
func (m *memoryTape) ended() *tape { return &tape{records: m.records} }

// audio is the sequence numbers of the packets on the tape.
func (m *memoryTape) audio(tb testing.TB) []int {
	tb.Helper()
	var seqs []int
	for _, e := range m.entries(tb) {
		if e.kind == entryAudio {
			seqs = append(seqs, int(e.body[2])<<8|int(e.body[3]))
		}
	}
	return seqs
}

// wantAudio checks that packets 1 to n are on the tape, in order.
func (m *memoryTape) wantAudio(tb testing.TB, n int) {
	tb.Helper()
	got := m.audio(tb)
	if len(got) != n {
		tb.Fatalf("%d packets on the tape, want %d", len(got), n)
	}
	for i, seq := range got {
		if seq != i+1 {
			tb.Fatalf("packet %d where %d belongs", seq, i+1)
		}
	}
}

// recording is a Record under way.
type recording struct {
	t      testing.TB
	cancel context.CancelFunc
	result chan error
}

func record(tb testing.TB, l *Leg, tape Tape) *recording {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	r := &recording{tb, cancel, make(chan error, 1)}
	go func() { r.result <- l.Record(ctx, tape) }()
	tb.Cleanup(cancel)
	return r
}

// end waits for Record to return by itself.
func (r *recording) end() error {
	r.t.Helper()
	select {
	case err := <-r.result:
		return err
	case <-time.After(30 * time.Second):
		r.t.Fatal("Record goes on")
		return nil
	}
}

// stop ends the call.
func (r *recording) stop() error { r.cancel(); return r.end() }

// eventually waits until something is so.
func eventually(tb testing.TB, what string, so func() bool) {
	tb.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited in vain: %s", what)
		}
	}
}

// arrived says, when asked, whether n packets have come to a leg.
func arrived(l *Leg, n uint64) func() bool {
	return func() bool { return l.Stats().Packets >= n }
}

func TestRecordAll(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil))
	p.send(0, 20) // before Record
	var tape memoryTape
	r := record(t, l, &tape)
	eventually(t, "the first packets", func() bool { return l.Stats().Packets == 20 })
	p.send(8, 20)
	p.send(0, 100)
	if err := r.stop(); err != nil { // with packets still in the socket
		t.Fatal(err)
	}
	tape.wantAudio(t, 140)
	first := tape.entries(t)[0]
	if first.kind != entryFormat || first.body != "0 PCMU/8000\n8 PCMA/8000\n" {
		t.Errorf("the tape begins with %d %q", first.kind, first.body)
	}
	s := l.Stats()
	if s.Packets != 140 || s.Bytes != 140*172 || s.Foreign+s.Invalid+s.Control != 0 {
		t.Errorf("stats %+v", s)
	}
	if s.First.IsZero() || s.Last.Before(s.First) || time.Since(s.First) > time.Minute {
		t.Errorf("first packet %v, last %v", s.First, s.Last)
	}
}

func TestRecordsOfASecond(t *testing.T) {
	t.Parallel()
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil))
	var tape memoryTape
	start := time.Now()
	r := record(t, l, &tape)
	p.send(0, 2)
	eventually(t, "the first packets", arrived(l, 2))
	came := time.Since(start)
	eventually(t, "the first record", func() bool { return len(tape.audio(t)) == 2 })
	p.send(0, 1)
	time.Sleep(recordSpan / 2)
	if n := len(tape.audio(t)); n != 2 && time.Since(start) < 2*recordSpan { // when the second record is due
		t.Errorf("%d packets on the tape half a second later, want the first 2", n)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, 3)
	for _, e := range tape.entries(t)[1:3] {
		if arrival := time.Duration(e.arrival) * time.Millisecond; arrival > came {
			t.Errorf("arrival %s for a packet that was there after %s", arrival, came)
		}
	}
}

func TestRecordsOf48kB(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil))
	var tape memoryTape
	r := record(t, l, &tape)
	for i := range 10 {
		for range 10 {
			p.sendRaw(append(p.packet(0), make([]byte, 1200)...))
		}
		eventually(t, "ten packets", arrived(l, uint64(10*i+10)))
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, 100)
	if len(tape.records) < 3 {
		t.Errorf("%d records for %d bytes", len(tape.records), l.Stats().Bytes)
	}
	for i, b := range tape.records {
		if len(b) > recordSize {
			t.Errorf("record %d holds %d bytes", i, len(b))
		}
	}
}

func TestRecordPassesOver(t *testing.T) {
	padded := func(by byte) []byte {
		b := make([]byte, rtpHeader+160)
		b[0], b[len(b)-1] = 0xa0, by
		return b
	}
	extension := func(words byte, size int) []byte {
		b := make([]byte, rtpHeader+4+size)
		b[0], b[rtpHeader+3] = 0x90, words
		return b
	}
	tests := map[string]struct {
		packet []byte
		want   Stats
	}{
		"RTP":                       {append([]byte{0x80, 0}, make([]byte, 170)...), Stats{Packets: 1, Bytes: 172}},
		"RTP, marked":               {append([]byte{0x80, 0x80 | 8}, make([]byte, 170)...), Stats{Packets: 1, Bytes: 172}},
		"RTP, padded":               {padded(159), Stats{Packets: 1, Bytes: 172}},
		"RTP, padding alone":        {padded(160), Stats{Invalid: 1}},
		"RTP, padding of nothing":   {padded(0), Stats{Invalid: 1}},
		"RTP, padding over all":     {padded(255), Stats{Invalid: 1}},
		"RTP with an extension":     {append(extension(2, 8), 1), Stats{Packets: 1, Bytes: 25}},
		"RTP, an extension alone":   {extension(2, 8), Stats{Invalid: 1}},
		"RTP, the extension is cut": {extension(3, 8), Stats{Invalid: 1}},
		"RTP, sources are missing":  {append([]byte{0x8f, 0}, make([]byte, 20)...), Stats{Invalid: 1}},
		"RTP of no agreed format":   {append([]byte{0x80, 18}, make([]byte, 30)...), Stats{Invalid: 1}},
		"RTP, header alone":         {append([]byte{0x80, 0}, make([]byte, 10)...), Stats{Invalid: 1}},
		"RTP, cut":                  {append([]byte{0x80, 0}, make([]byte, 9)...), Stats{Invalid: 1}},
		"RTP, too long":             {append([]byte{0x80, 0}, make([]byte, 4000)...), Stats{Invalid: 1}},
		"sender report":             {append([]byte{0x80, 200}, make([]byte, 26)...), Stats{Control: 1}},
		"goodbye":                   {append([]byte{0x81, 203}, make([]byte, 6)...), Stats{Control: 1}},
		"STUN":                      {make([]byte, 20), Stats{Invalid: 1}},
		"nothing":                   {nil, Stats{Invalid: 1}},
		"CRLF, a keep-alive":        {[]byte("\r\n\r\n"), Stats{Invalid: 1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPhone(t, "127.0.0.1:0")
			l := p.open(newTestEngine(t, nil))
			p.sendRaw(tt.packet)
			var tape memoryTape
			if err := record(t, l, &tape).stop(); err != nil {
				t.Fatal(err)
			}
			got := l.Stats()
			got.First, got.Last = time.Time{}, time.Time{}
			if got != tt.want {
				t.Errorf("stats %+v, want %+v", got, tt.want)
			}
			if n := len(tape.audio(t)); uint64(n) != tt.want.Packets {
				t.Errorf("%d packets on the tape", n)
			}
		})
	}
}

// TestRecordNewFormats changes the codec in mid-call: the tape says so between
// the packets, and those still under way in the old one are kept.
func TestRecordNewFormats(t *testing.T) {
	p := newPhone(t, "127.0.0.1:0")
	l := p.open(newTestEngine(t, nil))
	var tape memoryTape
	r := record(t, l, &tape)
	p.send(0, 5)
	eventually(t, "packets in the old codec", arrived(l, 5))
	if _, err := l.Negotiate(p.offer("9")); err != nil {
		t.Fatal(err)
	}
	p.send(0, 2)
	p.send(9, 3)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	tape.wantAudio(t, 10)
	var formats []string
	for i, e := range tape.entries(t) {
		if e.kind == entryFormat {
			formats = append(formats, fmt.Sprintf("%d: %s", i, e.body))
		}
	}
	want := []string{"0: 0 PCMU/8000\n8 PCMA/8000\n", "6: 9 G722/8000\n0 PCMU/8000\n8 PCMA/8000\n"}
	if len(formats) != 2 || formats[0] != want[0] || formats[1] != want[1] {
		t.Errorf("formats on the tape %q, want %q", formats, want)
	}
}

// TestRecordManyLegs runs 200 calls of a second at once and looks for each packet.
func TestRecordManyLegs(t *testing.T) {
	const legs, count = 200, 50
	e := newTestEngine(t, nil)
	phones := make([]*phone, legs)
	tapes := make([]memoryTape, legs)
	recordings := make([]*recording, legs)
	for i := range phones {
		phones[i] = newPhone(t, "127.0.0.1:0")
		recordings[i] = record(t, phones[i].open(e), &tapes[i])
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range count {
		<-tick.C
		for _, p := range phones {
			p.send(0, 1)
		}
	}
	for i, r := range recordings {
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		tapes[i].wantAudio(t, count)
	}
}

// discard is a tape that keeps nothing.
type discard struct{}

func (discard) Append([]byte) error { return nil }

// TestRecordAllocatesNothing counts the allocations of the whole process while
// packets go through a real socket onto a tape.
func TestRecordAllocatesNothing(t *testing.T) {
	for _, key := range recordedKeys() {
		t.Run(cipherName(key), func(t *testing.T) {
			if raceDetector && strings.HasPrefix(cipherName(key), "AES_CM") {
				t.Skip("under the race detector a sync.Pool, of which there is one in the cipher, forgets on purpose")
			}
			p := newPhone(t, "127.0.0.1:0")
			recordAllocatesNothing(t, p, p.openBy(newTestEngine(t, nil), key))
		})
	}
}

// recordedKeys are nil, for plain RTP, and one of each suite.
func recordedKeys() []*master {
	keys := []*master{nil}
	for _, s := range suites() {
		keys = append(keys, testMaster(s, 1))
	}
	return keys
}

func cipherName(key *master) string {
	if key == nil {
		return "plain"
	}
	return key.suite.name
}

// openBy is open or, with a key, openSecure.
func (p *phone) openBy(e *Engine, key *master) *Leg {
	p.t.Helper()
	if key == nil {
		return p.open(e)
	}
	return p.openSecure(e, key)
}

func recordAllocatesNothing(t *testing.T, p *phone, l *Leg) {
	r := record(t, l, discard{})
	const burst, bursts = 50, 120
	var packets [][]byte
	for range burst * bursts {
		packets = append(packets, p.seal(p.packet(0)))
	}
	sent := uint64(0)
	send := func() {
		for range burst {
			p.sendRaw(packets[0])
			packets = packets[1:]
		}
		for sent += burst; l.Stats().Packets < sent; {
			time.Sleep(100 * time.Microsecond)
		}
	}
	for range 6 { // the record grows to its 48 kB once
		send()
	}
	if n := testing.AllocsPerRun(100, send); n != 0 {
		t.Errorf("%v allocations for %d packets", n, burst)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkRecord is the cost of taking 100 packets that have come to a real
// socket onto a tape, plain and encrypted.
func BenchmarkRecord(b *testing.B) {
	for _, key := range recordedKeys() {
		b.Run(cipherName(key), func(b *testing.B) { benchmarkRecord(b, key) })
	}
}

func benchmarkRecord(b *testing.B, key *master) {
	b.Helper()
	const burst = 100
	p := newPhone(b, "127.0.0.1:0")
	l := p.openBy(newTestEngine(b, nil), key)
	r := newRecorder(l, discard{})
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		p.send(0, burst)
		r.taken = 0 // no call lasts as long as this may
		b.StartTimer()
		for n := 0; n < burst; {
			got, err := r.read(time.Now())
			if err != nil {
				b.Fatal(err)
			}
			n += got
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(burst*b.N), "ns/packet")
	if got := l.Stats().Packets; got != uint64(burst*b.N) {
		b.Errorf("%d packets of %d", got, burst*b.N)
	}
}

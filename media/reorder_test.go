package media

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// passed renders what a reorder passes on: sequence numbers, each after as many
// dots as were missing before it.
func passed(out *[]string) func(*packet) error {
	return func(p *packet) error {
		*out = append(*out, fmt.Sprintf("%s%d", strings.Repeat(".", min(p.missing, 5)), p.sequence))
		return nil
	}
}

func TestReorder(t *testing.T) {
	type in struct {
		sequence uint16
		at       int64 // ms
		source   uint32
	}
	// steady is a run of packets 20 ms apart.
	steady := func(from uint16, n int, at int64) (packets []in) {
		for i := range n {
			packets = append(packets, in{sequence: from + uint16(i), at: at + int64(20*i)})
		}
		return packets
	}
	for _, test := range []struct {
		name                  string
		in                    []in
		want                  string
		lost, late, duplicate int
	}{
		{"in order", steady(1, 4, 0), "1 2 3 4", 0, 0, 0},
		{"over the wrap", steady(65534, 4, 0), "65534 65535 0 1", 0, 0, 0},
		{
			"two change places",
			[]in{{1, 0, 0}, {3, 20, 0}, {2, 25, 0}, {4, 60, 0}},
			"1 2 3 4", 0, 0, 0,
		},
		{
			"the start in any order, over the wrap",
			[]in{{1, 0, 0}, {65535, 10, 0}, {0, 20, 0}, {2, 30, 0}, {65534, 100, 0}},
			"65534 65535 0 1 2", 0, 0, 0,
		},
		{
			"one comes just in time, one does not",
			slices.Concat(steady(1, 11, 0), []in{{13, 240, 0}, {15, 280, 0}, {12, 439, 0}, {16, 480, 0}, {14, 485, 0}, {17, 500, 0}}),
			"1 2 3 4 5 6 7 8 9 10 11 12 13 .15 16 17", 0, 1, 0,
		},
		{
			"lost and come twice",
			slices.Concat(steady(1, 11, 0), []in{{11, 230, 0}, {14, 260, 0}, {14, 261, 0}, {15, 280, 0}, {3, 281, 0}}),
			"1 2 3 4 5 6 7 8 9 10 11 ..14 15", 2, 0, 3,
		},
		{
			"a stray number means nothing",
			slices.Concat(steady(1, 11, 0), []in{{9000, 221, 0}, {12, 230, 0}, {13, 240, 0}}),
			"1 2 3 4 5 6 7 8 9 10 11 12 13", 0, 1, 0,
		},
		{
			"one comes after much was lost, the last",
			slices.Concat(steady(1, 3, 0), []in{{900, 9000, 0}}),
			"1 2 3 .....900", 896, 0, 0,
		},
		{
			"the same numbers again",
			slices.Concat(steady(1, 12, 0), steady(1, 12, 240)),
			"1 2 3 4 5 6 7 8 9 10 11 12 1 2 3 4 5 6 7 8 9 10 11 12", 0, 0, 0,
		},
		{
			"a few of them again",
			slices.Concat(steady(1, 12, 0), steady(6, 7, 240), steady(13, 2, 250)),
			"1 2 3 4 5 6 7 8 9 10 11 12 13 14", 0, 0, 7,
		},
		{
			"two in a row mean a new start",
			slices.Concat(steady(1, 3, 0), steady(30000, 3, 60)),
			"1 2 3 30000 30001 30002", 0, 0, 0,
		},
		{
			"much is lost at once",
			slices.Concat(steady(1, 3, 0), steady(504, 3, 10_000)),
			"1 2 3 .....504 505 506", 500, 0, 0,
		},
		{
			"one is lost, then much at once",
			[]in{{1, 0, 0}, {2, 20, 0}, {3, 40, 0}, {5, 60, 0}, {200, 70, 0}, {201, 80, 0}},
			"1 2 3 .5 .....200 201", 195, 0, 0,
		},
		{
			"a stray number from long ago",
			slices.Concat(steady(1000, 3, 0), []in{{10, 70, 0}, {20, 80, 0}}, steady(1003, 2, 90)),
			"1000 1001 1002 1003 1004", 0, 2, 0,
		},
		{
			"another source, and the end of the one before",
			[]in{{1, 0, 0}, {2, 20, 0}, {50, 40, 7}, {3, 45, 0}, {51, 60, 7}, {52, 80, 7}, {4, 300, 0}, {5, 320, 0}},
			"1 2 50 51 52 4 5", 0, 1, 0,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out []string
			r := reorder{next: passed(&out)}
			for _, p := range test.in {
				if err := r.push(&packet{sequence: p.sequence, arrival: p.at, source: p.source}); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.end(); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(out, " "); got != test.want {
				t.Errorf("%s\nwant %s", got, test.want)
			}
			if r.lost != test.lost || r.late != test.late || r.duplicates != test.duplicate {
				t.Errorf("%d lost, %d late, %d duplicates; want %d, %d, %d",
					r.lost, r.late, r.duplicates, test.lost, test.late, test.duplicate)
			}
		})
	}
}

// Whatever comes: each packet is passed on once with what it held, or counted,
// and the numbers of a run only rise.
func FuzzReorder(f *testing.F) {
	f.Add([]byte{0, 1, 1, 0, 2, 1, 0, 3, 1})
	f.Add([]byte{255, 255, 9, 0, 3, 9, 0, 1, 100, 0, 2, 200, 1, 0, 250})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reorder
		pushed, went := 0, 0
		var last *packet
		r.next = func(p *packet) error {
			went++
			if string(p.payload) != fmt.Sprint(p.sequence, p.arrival) || p.missing < 0 {
				t.Fatalf("%+v", p)
			}
			if last != nil && last.source == p.source {
				ahead := int16(p.sequence - last.sequence)
				if ahead <= 0 && ahead > -reorderSlots+reorderHeadroom {
					t.Fatalf("%d after %d", p.sequence, last.sequence)
				}
			}
			c := *p
			last = &c
			return nil
		}
		now := int64(0)
		for ; len(b) >= 3; b = b[3:] {
			now += int64(b[2] & 0x3f)
			p := &packet{sequence: uint16(b[0])<<8 | uint16(b[1]), arrival: now, source: uint32(b[2] >> 7)}
			p.payload = fmt.Append(nil, p.sequence, p.arrival)
			if err := r.push(p); err != nil {
				t.Fatal(err)
			}
			clear(p.payload)
			pushed++
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		if pushed != went+r.late+r.duplicates || r.lost < 0 || r.held != 0 {
			t.Fatalf("%d pushed, %d went, %d late, %d duplicates, %d lost, %d held", pushed, went, r.late, r.duplicates, r.lost, r.held)
		}
	})
}

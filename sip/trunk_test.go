package sip

import (
	"fmt"
	"net/netip"
	"testing"
)

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

func TestFindTrunk(t *testing.T) {
	ts := newTrunkSet([]Trunk{
		{Name: "wide", From: prefixes("10.0.0.0/8", "2001:db8::/32")},
		{Name: "narrow", From: prefixes("10.1.2.3/24", "10.9.9.9/32", "2001:db8:1::/48", "fe80::/10")},
		{Name: "late", From: prefixes("10.0.0.0/8", "::ffff:192.0.2.0/120")},
		{Name: "nobody", From: []netip.Prefix{{}}},
	})
	tests := map[string]string{
		"10.200.0.1": "wide", "10.1.2.200": "narrow", "10.1.3.1": "wide", "10.9.9.9": "narrow", "10.9.9.8": "wide",
		"::ffff:10.1.2.9": "narrow", "192.0.2.77": "late", "192.0.3.1": "", "127.0.0.1": "",
		"2001:db8:1::1": "narrow", "2001:db8:2::1": "wide", "fe80::1%eth0": "narrow", "::1": "", "::": "",
	}
	for addr, want := range tests {
		got := ""
		if trunk := ts.find(netip.MustParseAddr(addr)); trunk != nil {
			got = trunk.Name
		}
		if got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	if trunk := ts.find(netip.Addr{}); trunk != nil {
		t.Errorf("no address belongs to %s", trunk.Name)
	}
	if trunk := (trunkSet{}).find(netip.MustParseAddr("::1")); trunk != nil {
		t.Errorf("no trunk is %s", trunk.Name)
	}
}

func TestFindTrunkAllocatesNothing(t *testing.T) {
	ts := newTrunkSet([]Trunk{{From: prefixes("10.0.0.0/8", "10.1.0.0/16", "192.0.2.1/32")}})
	addr := netip.MustParseAddr("::ffff:198.51.100.1")
	if n := testing.AllocsPerRun(100, func() { ts.find(addr) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFindTrunk(b *testing.B) {
	for _, n := range []int{1, 100, 10000} {
		trunk := Trunk{Name: "carrier"}
		for i := range n {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
			trunk.From = append(trunk.From, netip.PrefixFrom(addr, 24+i%9))
		}
		ts := newTrunkSet([]Trunk{trunk})
		stranger := netip.MustParseAddr("198.51.100.1")
		b.Run(fmt.Sprint(n, " prefixes"), func(b *testing.B) {
			for b.Loop() {
				ts.find(stranger)
			}
		})
	}
}

package channel

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestGuard(t *testing.T) {
	for address, want := range map[string]bool{
		"93.184.216.34:443": true, "[2606:4700::1111]:443": true, "[::ffff:93.184.216.34]:443": true,
		"172.15.255.255:1": true, "172.32.0.0:1": true, "100.63.255.255:1": true, "100.128.0.0:1": true,
		"198.17.255.255:1": true, "198.20.0.0:1": true, "223.255.255.255:1": true, "11.0.0.0:1": true,

		"10.0.0.1:443": false, "172.16.0.1:1": false, "172.31.255.255:1": false, "192.168.1.1:1": false,
		"127.0.0.1:1": false, "127.255.255.254:1": false, "0.0.0.0:1": false, "0.1.2.3:1": false,
		"169.254.169.254:80": false, "100.64.0.1:1": false, "100.127.255.255:1": false,
		"198.18.0.1:1": false, "198.19.255.255:1": false, "224.0.0.1:1": false, "239.255.255.255:1": false,
		"240.0.0.1:1": false, "255.255.255.255:1": false,
		"[::1]:1": false, "[::]:1": false, "[fc00::1]:1": false, "[fdff::1]:1": false, "[fe80::1]:1": false,
		"[fe80::1%eth0]:1": false, "[ff02::1]:1": false, "[fec0::1]:1": false,
		"[::ffff:127.0.0.1]:1": false, "[::ffff:10.0.0.1]:1": false, "[::127.0.0.1]:1": false,
		"[64:ff9b::10.0.0.1]:1": false, "[64:ff9b:1::1]:1": false, "[2002:7f00:1::]:1": false, "[2001::1]:1": false,
		"": false, "localhost:80": false, "93.184.216.34": false, "1.2.3.4:99999": false,
	} {
		err := refusePrivate("tcp", address, nil)
		if (err == nil) != want {
			t.Errorf("%q: %v", address, err)
		}
		if err != nil && !errors.Is(err, errPrivate) {
			t.Errorf("%q: %v is not errPrivate", address, err)
		}
	}
}

func FuzzGuard(f *testing.F) {
	for _, seed := range []string{
		"127.0.0.1:80", "[::1]:80", "[::ffff:10.0.0.1]:80", "[64:ff9b::7f00:1]:80", "[2002:0a00:0001::]:80",
		"[fe80::1%1]:80", "93.184.216.34:443", "[2606:4700::1111]:443", "localhost:80", "0x7f.1:80", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if refusePrivate("tcp", address, nil) != nil {
			return
		}
		// What was let through is judged by the standard library, which parses by itself.
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatalf("%q has no port", address)
		}
		addr, err := netip.ParseAddr(host)
		if err != nil {
			t.Fatalf("%q is no address", address)
		}
		addr = addr.Unmap()
		if !addr.IsGlobalUnicast() || addr.IsPrivate() {
			t.Errorf("%q is let through", address)
		}
		if b := addr.As16(); addr.Is6() && (b[0] == 0 || (b[0] == 0x20 && b[1] == 0x02)) {
			t.Errorf("%q is let through: it wraps an IPv4 address", address)
		}
	})
}

package sip

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// Within TLS too a call to an extension that nobody takes arrives by the
// registration, which a PBX that restarts gets anew.
func TestKamailioByTLS(t *testing.T) {
	t.Parallel()
	modules, err := filepath.Glob("/usr/lib/*/kamailio/modules/tls.so")
	if err != nil {
		t.Fatal(err)
	}
	if len(modules) == 0 {
		peertest.Missing(t, "Kamailio's TLS")
	}
	ca := newTestCA(t)
	own, within := ca.issue("pbx.example", nil), peertest.Address(t)
	p := newPBX(t, fmt.Sprintf("TLS_MODULE=%q", modules[0]), fmt.Sprintf("CERTIFICATE=%q", own.certificate), fmt.Sprintf("KEY=%q", own.key))
	p.stop()
	p.args = append(p.args, "-l", "tls:"+within.String())
	p.start()
	a := p.extension("tls")
	a.Registrar, a.CA = []Registrar{{"tls", "pbx.example", int(within.Port())}}, ca.file
	ts := serveAccount(t, a, inDNS)
	ts.standing(t, "registered", registered)
	if err := p.dial(t, "101"); err != nil {
		t.Fatal(err)
	}
	if call := ts.call(t); call.Trunk.Name != "pbx" || len(call.Callees) == 0 || call.Callees[0].User != "101" {
		t.Errorf("trunk %s, callees %+v", call.Trunk.Name, call.Callees)
	}
	ts.ended(t, ErrCallerHungUp)
	p.stop()
	p.start()
	for end := time.Now().Add(4 * patience); p.dial(t, "101") != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the PBX does not get it anew")
		}
	}
	ts.ended(t, ErrCallerHungUp)
}

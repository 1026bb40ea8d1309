package sip

import (
	"bytes"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	sipmsg "github.com/emiago/sipgo/sip"
)

// FuzzRequest takes a message all the way to the point where it would be
// served: nothing in it may make this side panic, and a copy of it must be
// recognised.
func FuzzRequest(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "invite", "*.sip"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no captured INVITEs: %v", err)
	}
	torture, err := filepath.Glob(filepath.Join("testdata", "torture", "*.dat"))
	if err != nil || len(torture) == 0 {
		f.Fatalf("no torture: %v", err)
	}
	for _, file := range append(files, torture...) {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n")))
	}
	s := &Server{log: slog.New(slog.DiscardHandler), seed: maphash.MakeSeed(), dialogs: newDialogs(0)}
	trunk, parser := &Trunk{Name: "fuzz", Country: "DE"}, newParser()
	f.Fuzz(func(t *testing.T, b []byte) {
		var tags []string
		for range 2 {
			msg, err := parser.ParseSIP(b)
			if err != nil {
				return
			}
			req, ok := msg.(*sipmsg.Request)
			if !ok {
				return
			}
			req.SetSource("127.0.0.1:5060")
			req.SetTransport("UDP")
			s.arrived(req)
			if validate(req) == nil {
				tags = append(tags, tagParam(req.To().Params))
				callees(req, trunk)
				caller(req, trunk)
				recordRoutes(req)
				rack(req)
				sessionExpires(req)
				_ = response(req, 200).String()
			}
			_, _ = sdpOf(req)
		}
		if n := s.stats.panics.Load(); n > 0 {
			t.Fatalf("%d panics", n)
		}
		if len(tags) == 2 && (tags[0] == "" || tags[0] != tags[1]) {
			t.Errorf("a copy got another To tag: %q", tags)
		}
	})
}

package call

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/afterbeep/afterbeep/config"
	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/sip"
)

// The recipient's own name for a number counts more than the caller's; who
// calls privately stays so.
func TestCallerByTheContacts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "contacts.vcf")
	if err := os.WriteFile(file, []byte("BEGIN:VCARD\nFN:Maria K.\nTEL:030 555 012 34\nTEL:7042\nEND:VCARD\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, _ := newPath(drafts{})
	for _, path := range []string{file, ""} {
		cfg := config.Default()
		cfg.Contacts = path
		p.Contacts = config.NewContacts(&cfg, slog.New(slog.DiscardHandler))
		for _, tc := range []struct{ from, named, unnamed sip.Caller }{
			{sip.Caller{Number: "+493055501234", Name: "KUNDE 17"}, sip.Caller{Number: "+493055501234", Name: "Maria K."}, sip.Caller{Number: "+493055501234", Name: "KUNDE 17"}},
			{sip.Caller{Number: "7042"}, sip.Caller{Number: "7042", Name: "Maria K."}, sip.Caller{Number: "7042"}},
			{sip.Caller{Number: "+4940123456", Name: "Eve"}, sip.Caller{Number: "+4940123456", Name: "Eve"}, sip.Caller{Number: "+4940123456", Name: "Eve"}},
			{sip.Caller{Private: true}, sip.Caller{Private: true}, sip.Caller{Private: true}},
			{sip.Caller{}, sip.Caller{}, sip.Caller{}},
		} {
			want := tc.named
			if path == "" {
				want = tc.unnamed
			}
			call := &sip.Call{Caller: tc.from, Trunk: &sip.Trunk{Country: "DE"}}
			if got := p.caller(call, &config.Mailbox{Number: "101"}); got != delivery.Caller(want) {
				t.Errorf("with contacts in %q %+v is %+v, want %+v", path, tc.from, got, want)
			}
		}
	}
}

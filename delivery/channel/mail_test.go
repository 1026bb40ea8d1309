package channel

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

func mailOptions(server string) *MailOptions {
	o := &MailOptions{Server: server, From: "Voicemail <voicemail@example.org>", User: "voicemail", Password: "pa55word", HTTP: defaultHTTP()}
	o.AllowPrivate = true
	return o
}

func mailParcel(n delivery.Note) delivery.Parcel {
	p := parcelOf(n)
	p.Address = "anna@example.com"
	return p
}

// A real server takes the message, whichever way TLS begins and the login goes.
func TestMailArrives(t *testing.T) {
	for name, tc := range map[string]struct {
		args       []string
		scheme     string
		allowPlain bool
		want       letter
	}{
		"TLS at once":                     {[]string{"implicit"}, "smtps://", false, letter{TLS: true, Login: "voicemail", Mechanism: "PLAIN"}},
		"STARTTLS":                        {[]string{"starttls"}, "smtp://", false, letter{TLS: true, Login: "voicemail", Mechanism: "PLAIN"}},
		"STARTTLS, though plain would do": {[]string{"starttls"}, "smtp://", true, letter{TLS: true, Login: "voicemail", Mechanism: "PLAIN"}},
		"login by LOGIN":                  {[]string{"implicit", "--no", "PLAIN"}, "smtps://", false, letter{TLS: true, Login: "voicemail", Mechanism: "LOGIN"}},
		"neither TLS nor login":           {[]string{"plain"}, "smtp://", true, letter{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startSMTPD(t, tc.args...)
			o := mailOptions(tc.scheme + server.address)
			o.CAFile, o.AllowPlain = server.ca, tc.allowPlain
			if tc.want.Login == "" {
				o.User, o.Password = "", ""
			}
			c := open(t, o)
			if err := c.(delivery.Checker).Check(t.Context()); err != nil {
				t.Errorf("Check: %v", err)
			}
			n := sampleNote()
			receipt, err := c.Send(t.Context(), mailParcel(n))
			if err != nil {
				t.Fatal(err)
			}
			if receipt.ID != n.ID+"@example.org" || receipt.Detail != "2.0.0 OK: queued as 4AF3C7" {
				t.Errorf("receipt %+v", receipt)
			}
			got := server.next(t)
			if got.From != "voicemail@example.org" || !slices.Equal(got.To, []string{"anna@example.com"}) {
				t.Errorf("from %s to %s", got.From, got.To)
			}
			if got.TLS != tc.want.TLS || got.Login != tc.want.Login || got.Mechanism != tc.want.Mechanism {
				t.Errorf("TLS %v, %q by %q", got.TLS, got.Login, got.Mechanism)
			}
			readMail(t, got.Content)
		})
	}
}

// What a real server refuses, and a stranger's certificate, say what to mend.
func TestMailRefusedByARealServer(t *testing.T) {
	server := startSMTPD(t, "implicit")
	other, _, _ := certificate(t)
	for name, tc := range map[string]struct {
		mend        func(o *MailOptions)
		credentials bool
		says        string
	}{
		"a wrong password":         {func(o *MailOptions) { o.Password = "wr0ng-word" }, true, "see user and password"},
		"no login":                 {func(o *MailOptions) { o.User, o.Password = "", "" }, true, "set user and password"},
		"a stranger":               {func(o *MailOptions) { o.CAFile = other }, false, "ca_file"},
		"TLS where STARTTLS was":   {func(o *MailOptions) { o.Server = strings.Replace(o.Server, "smtps", "smtp", 1) }, false, "use smtps://"},
		"an address of the inside": {func(o *MailOptions) { o.AllowPrivate = false }, true, "allow_private"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := mailOptions("smtps://" + server.address)
			o.CAFile = server.ca
			tc.mend(o)
			c := open(t, o)
			patience := plenty
			if name == "TLS where STARTTLS was" {
				patience = silence
			}
			failed := mailSubject.fail(t, c, mailParcel(sampleNote()), patience)
			if failed.Outcome != delivery.Retry || failed.Credentials != tc.credentials || !strings.Contains(failed.Error(), tc.says) {
				t.Errorf("got %+v, which does not say %q", failed, tc.says)
			}
		})
	}
}

// Each step may be refused or break off; what that means for the note.
func TestMailReplies(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 8<<20) // more than the sockets' buffers hold
	for name, tc := range map[string]struct {
		script      map[string]string
		want        delivery.Outcome
		credentials bool
		status      int
		says        string
	}{
		"busy":                   {map[string]string{"connect": "421 4.3.2 too many connections"}, delivery.Retry, false, 421, "the connection"},
		"no service":             {map[string]string{"connect": "554 no service for 127.0.0.1"}, delivery.Retry, true, 554, "see server"},
		"greeting refused":       {map[string]string{"EHLO": "550 no", "HELO": "550 no"}, delivery.Retry, true, 550, "see server"},
		"login wrong":            {map[string]string{"AUTH": "535 5.7.8 AHZvaWNlbWFpbABwYTU1d29yZA== is wrong, voicemail"}, delivery.Retry, true, 535, "see user and password"},
		"login too weak":         {map[string]string{"AUTH": "534 5.7.9 app password needed"}, delivery.Retry, true, 534, "app password"},
		"login busy":             {map[string]string{"AUTH": "454 4.7.0 later"}, delivery.Retry, false, 454, "the login"},
		"login unknown":          {map[string]string{"AUTH": "504 5.5.4 what"}, delivery.Retry, true, 504, "see user and password"},
		"no way to log in":       {map[string]string{"EHLO": "250-mail.test\r\n250 AUTH GSSAPI"}, delivery.Retry, true, 0, "PLAIN or LOGIN"},
		"wants a login":          {map[string]string{"MAIL": "530 5.7.0 login first"}, delivery.Retry, true, 530, "set user and password"},
		"wants TLS":              {map[string]string{"MAIL": "538 5.7.11 TLS first"}, delivery.Retry, true, 538, "smtps"},
		"sender refused":         {map[string]string{"MAIL": "553 5.7.1 voicemail@example.org is not yours"}, delivery.Retry, true, 553, "see from"},
		"over the declared size": {map[string]string{"EHLO": "250-mail.test\r\n250-AUTH PLAIN\r\n250 SIZE 1000"}, delivery.Dead, false, 552, "too large"},
		"grey-listed":            {map[string]string{"RCPT": "450 4.2.0 anna@example.com greylisted"}, delivery.Retry, false, 450, "the recipient"},
		"recipient unknown":      {map[string]string{"RCPT": "550 5.1.1 <anna@example.com>: unknown"}, delivery.Dead, false, 550, "see the mailbox's target"},
		"mailbox full":           {map[string]string{"RCPT": "552 5.2.2 full"}, delivery.Dead, false, 552, "mailbox is full"},
		"no data now":            {map[string]string{"DATA": "451 4.3.0 disk"}, delivery.Retry, false, 451, "DATA"},
		"no data ever":           {map[string]string{"DATA": "554 5.0.0 no"}, delivery.Dead, false, 554, "does not want"},
		"too large":              {map[string]string{".": "552 5.3.4 too big"}, delivery.Dead, false, 552, "too large"},
		"too large, as some say": {map[string]string{".": "523 too big"}, delivery.Dead, false, 523, "too large"},
		"content refused":        {map[string]string{".": "554 5.7.1 Зоя +33612345678 sends spam"}, delivery.Dead, false, 554, "does not want"},
		"kept by nobody":         {map[string]string{".": "451 4.3.0 disk"}, delivery.Retry, false, 451, "the message"},
		"lost at once":           {map[string]string{"connect": hangUp}, delivery.Retry, false, 0, "the connection"},
		"lost at the greeting":   {map[string]string{"EHLO": hangUp}, delivery.Retry, false, 0, "the greeting"},
		"lost at the login":      {map[string]string{"AUTH": hangUp}, delivery.Retry, false, 0, "the login"},
		"lost at the sender":     {map[string]string{"MAIL": hangUp}, delivery.Retry, false, 0, "the sender"},
		"lost at the recipient":  {map[string]string{"RCPT": hangUp}, delivery.Retry, false, 0, "the recipient"},
		"lost at DATA":           {map[string]string{"DATA": hangUp}, delivery.Retry, false, 0, "DATA"},
		"lost amid the message":  {map[string]string{"content": hangUp}, delivery.Retry, false, 0, "broke off at DATA"},
		"lost after the dot":     {map[string]string{".": hangUp}, delivery.Unknown, false, 0, "the message got through"},
		"silent at once":         {map[string]string{"connect": mute}, delivery.Retry, false, 0, "use smtps://"},
		"silent at the login":    {map[string]string{"AUTH": mute}, delivery.Retry, false, 0, "the time for an attempt is over"},
		"silent after the dot":   {map[string]string{".": mute}, delivery.Unknown, false, 0, "the time for an attempt is over"},
		"no STARTTLS":            {map[string]string{"strict": ""}, delivery.Retry, true, 0, "allow_plain"},
		"STARTTLS refused":       {map[string]string{"EHLO": "250-mail.test\r\n250 STARTTLS", "STARTTLS": "454 4.7.0 not now"}, delivery.Retry, false, 454, "STARTTLS"},
		"no protocol":            {map[string]string{"connect": "HTTP/1.1 400 Bad Request"}, delivery.Retry, false, 0, "the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := scripted(t, tc.script)
			o := mailOptions("smtp://" + address)
			_, strict := tc.script["strict"]
			o.AllowPlain = !strict
			c := open(t, o)
			p := mailParcel(sampleNote())
			if tc.script["content"] != "" {
				p.Convert = func(context.Context, string) ([]byte, error) { return big, nil }
			}
			patience := plenty
			if strings.HasPrefix(name, "silent") {
				patience = silence
			}
			failed := mailSubject.fail(t, c, p, patience)
			if failed.Outcome != tc.want || failed.Credentials != tc.credentials || failed.Status != tc.status {
				t.Errorf("got %+v", failed)
			}
			if !strings.Contains(failed.Error(), tc.says) {
				t.Errorf("%v does not say %q", failed, tc.says)
			}
		})
	}
}

// A server that has the message gets the time to say so (RFC 5321 §4.5.3.2.6);
// one that gets no further is given up as soon as any other service, and none
// outlasts the worker.
func TestMailWaitsForTheAnswer(t *testing.T) {
	const hour = time.Hour // longer than an attempt
	voice, missed := sampleNote(), sampleNote()
	missed.Kind = delivery.Missed // so short that it is written with its dot
	for name, tc := range map[string]struct {
		script map[string]string
		note   delivery.Note
		worker time.Duration // when it ends
		want   delivery.Outcome
		took   time.Duration
		says   string
	}{
		"slow":                    {map[string]string{".": late}, voice, hour, delivery.Done, 9 * time.Minute, "queued at last"},
		"slow before":             {map[string]string{"MAIL": late}, voice, hour, delivery.Retry, 30 * time.Second, "broke off at the sender"},
		"slow, and no time":       {map[string]string{".": late}, voice, time.Minute, delivery.Unknown, time.Minute, "the message got through"},
		"silent at once":          {map[string]string{"connect": mute}, voice, hour, delivery.Retry, 30 * time.Second, "the server says nothing"},
		"silent at the greeting":  {map[string]string{"EHLO": mute}, voice, hour, delivery.Retry, 30 * time.Second, "broke off at the greeting"},
		"silent at the login":     {map[string]string{"AUTH": mute}, voice, hour, delivery.Retry, 30 * time.Second, "broke off at the login"},
		"silent at the recipient": {map[string]string{"RCPT": mute}, voice, hour, delivery.Retry, 30 * time.Second, "broke off at the recipient"},
		"silent at DATA":          {map[string]string{"DATA": mute}, voice, hour, delivery.Retry, 30 * time.Second, "broke off at DATA"},
		"deaf amid the message":   {map[string]string{"content": mute}, voice, hour, delivery.Retry, 30 * time.Second, "broke off at DATA"},
		"deaf to the dot":         {map[string]string{"content": mute}, missed, hour, delivery.Retry, 30 * time.Second, "broke off at the message"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := mailOptions("smtp://mail.example")
				o.AllowPlain = true
				c := open(t, o)
				piped(t, c, tc.script)
				ctx, cancel := context.WithTimeout(t.Context(), tc.worker)
				defer cancel()
				p, before := mailParcel(tc.note), time.Now()
				receipt, err := c.Send(ctx, p)
				took, got, said := time.Since(before), delivery.Done, receipt.Detail
				if err != nil {
					failed := mailSubject.failure(t, p, receipt, err)
					got, said = failed.Outcome, failed.Error()
				}
				if got != tc.want || took != tc.took || !strings.Contains(said, tc.says) {
					t.Errorf("%s after %v: %s", got, took, said)
				}
			})
		})
	}
}

// The worker ends no attempt before the answer may have come.
func TestMailIsUnhurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := mailOptions("smtp://mail.example")
		o.AllowPlain = true
		c := open(t, o)
		piped(t, c, map[string]string{".": mute})
		longest := c.(delivery.Unhurried).Longest()
		before := time.Now()
		failed := mailSubject.fail(t, c, mailParcel(sampleNote()), longest)
		if took := time.Since(before); failed.Outcome != delivery.Unknown || took < 10*time.Minute || took > longest {
			t.Errorf("given up after %v: %v", took, failed)
		}
	})
}

// silence is the patience with a server that falls silent amid a session, which
// a slow machine must come to.
const silence = 3 * time.Second

// mailSubject knows what no error of the channel may show.
var mailSubject = subject{
	address: "anna@example.com",
	secrets: []string{"pa55word", "wr0ng-word", encoded("pa55word"), encoded("\x00voicemail\x00pa55word"), "voicemail@example.org"},
}

// A server without TLS is found out at once.
func TestMailWantsTLS(t *testing.T) {
	address := scripted(t, nil)
	failed := mailSubject.fail(t, open(t, mailOptions("smtps://"+address)), mailParcel(sampleNote()), plenty)
	if failed.Outcome != delivery.Retry || !strings.Contains(failed.Error(), "use smtp://") {
		t.Errorf("got %v", failed)
	}
}

// Nobody is there, in all ways.
func TestMailReachesNobody(t *testing.T) {
	for name, server := range map[string]string{"refused": "smtps://127.0.0.1:1", "no such host": "smtps://nobody.invalid"} {
		if failed := mailSubject.fail(t, open(t, mailOptions(server)), mailParcel(sampleNote()), plenty); failed.Outcome != delivery.Retry || failed.Credentials {
			t.Errorf("%s: %+v", name, failed)
		}
	}
}

func TestMailSettings(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bad, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(o *MailOptions){
		"server":   func(o *MailOptions) { o.Server = "mail.example:25" },
		"server ":  func(o *MailOptions) { o.Server = "smtps://user:pa55word@mail.example" },
		"from":     func(o *MailOptions) { o.From = "Voicemail" },
		"from ":    func(o *MailOptions) { o.From = "jürgen@example.org" },
		"password": func(o *MailOptions) { o.Password = "" },
		"api_url":  func(o *MailOptions) { o.APIURL = "http://127.0.0.1" },
		"ack":      func(o *MailOptions) { o.Ack = "read" },
		"ca_file":  func(o *MailOptions) { o.CAFile = bad },
		"ca_file ": func(o *MailOptions) { o.CAFile = bad + "x" },
	} {
		o := mailOptions("smtps://mail.example")
		spoil(o)
		_, err := o.Open(testEnv(t))
		if err == nil || !strings.HasPrefix(err.Error(), strings.TrimSpace(name)+":") || strings.Contains(err.Error(), "pa55word") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for address, good := range map[string]bool{
		"anna@example.org": true, "a.b+c@mail.example": true, "anna@xn--bcher-kva.example": true,
		"": false, "anna": false, "Anna <anna@example.org>": false, "jürgen@example.org": false, "anna@example.org, b@example.org": false,
		"anna@example.org\r\nRCPT TO:<b@example.org>": false, `"anna b"@example.org`: false, "<anna@example.org>": false,
	} {
		if err := (&MailOptions{}).CheckAddress(address); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}

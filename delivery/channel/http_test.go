package channel

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/afterbeep/afterbeep/delivery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"120":                            2 * time.Minute,
		"86400":                          24 * time.Hour,
		"86401":                          24 * time.Hour,
		"18446744073709551615":           24 * time.Hour,
		"99999999999999999999999":        0,
		"-5":                             0,
		"1.5":                            0,
		"soon":                           0,
		"Sun, 01 Mar 2026 12:01:00 GMT":  time.Minute,
		"Sunday, 01-Mar-26 12:01:00 GMT": time.Minute,
		"Sun Mar  1 12:01:00 2026":       time.Minute,
		"Sun, 01 Mar 2026 11:00:00 GMT":  0,
		"Fri, 01 Jan 2100 00:00:00 GMT":  24 * time.Hour,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "120", "-1", "Sun, 01 Mar 2026 12:01:00 GMT", "99999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if d := retryAfter(value, time.Now()); d < 0 || d > maxRetryAfter {
			t.Errorf("%q: %v", value, d)
		}
	})
}

// TestWebhookStatuses goes through every status.
func TestWebhookStatuses(t *testing.T) {
	retry := []int{401, 403, 408, 425, 429}
	credentials := []int{401, 403}
	c := newClient(HTTP{}, Env{}, redactor{})
	for status := 100; status < 600; status++ {
		want := delivery.Dead
		switch {
		case status >= 200 && status < 300:
			want = delivery.Done
		case status >= 500 || slices.Contains(retry, status):
			want = delivery.Retry
		}
		_, err := c.verdict(hookStatuses, answer{status: status, after: time.Minute}, delivery.Note{})
		if err == nil {
			if want != delivery.Done {
				t.Errorf("%d counts as delivered", status)
			}
			continue
		}
		failed := err.(*delivery.SendError) //nolint:errorlint // it must be just that
		if failed.Outcome != want || failed.Credentials != slices.Contains(credentials, status) || failed.Status != status {
			t.Errorf("%d: %+v, want %s", status, failed, want)
		}
		if wait := failed.After > 0; wait != (want == delivery.Retry) {
			t.Errorf("%d: waits %v", status, failed.After)
		}
	}
}

func TestExcerpt(t *testing.T) {
	address, err := url.Parse("https://user:pa55word@hooks.example/in/T0KENT0KEN?key=s3cr3t")
	if err != nil {
		t.Fatal(err)
	}
	r := newRedactor(address, "whsec_AAAA")
	n := delivery.Note{
		Caller:    delivery.Caller{Number: "+4930123456", Name: "María José"},
		Recipient: delivery.Recipient{Number: "101", Name: "Reception"},
	}
	for body, want := range map[string]string{
		"no\r\n such\tchat\x00\x1b[31m":                                            "no such chat [31m",
		"bad signature, expected whsec_AAAA":                                       "bad signature, expected […]",
		"POST https://user:pa55word@hooks.example/in/T0KENT0KEN?key=s3cr3t failed": "POST […] failed",
		"key s3cr3t of user pa55word at /in/T0KENT0KEN":                            "key […] of […] […] at /in/[…]",
		"unknown: María José (+4930123456) for Reception":                          "unknown: […] ([…]) for […]",
		`{"text":"María \"José\" called Reception"}`:                               `{"text":"[…] \"[…]\" called […]"}`,
		"unknown: 030 123-456, 0049.30.123456":                                     "unknown: […], […]",
		"status 422 of version 1.2":                                                "status 422 of version 1.2",
		"\xff\xfe broken":                                                          "broken",
	} {
		if got := r.excerpt([]byte(body), n); got != want {
			t.Errorf("%q\n got %q\nwant %q", body, got, want)
		}
	}
	long := r.excerpt([]byte(strings.Repeat("ü", 70_000)), n)
	if utf8.RuneCountInString(long) != maxExcerpt+1 {
		t.Errorf("%d runes are kept", utf8.RuneCountInString(long))
	}
}

func TestAddress(t *testing.T) {
	for _, tc := range []struct{ own, api, want string }{
		{"https://crm.example/notes?k=1", "", "https://crm.example/notes?k=1"},
		{"https://crm.example/notes?k=1", "http://127.0.0.1:8081", "http://127.0.0.1:8081/notes?k=1"},
		{"https://crm.example/notes", "http://127.0.0.1:8081/stage/", "http://127.0.0.1:8081/stage/notes"},
		{"https://crm.example", "", "https://crm.example"},
		{"ftp://crm.example/", "", ""},
		{"crm.example/notes", "", ""},
		{"https://", "", ""},
		{"https://user:pa55word@ho st/", "", ""},
		{"https://crm.example/", "nonsense", ""},
	} {
		o := HTTP{APIURL: tc.api}
		got, err := o.address(tc.own)
		switch {
		case err != nil && tc.want != "":
			t.Errorf("%v: %v", tc, err)
		case err != nil && strings.Contains(err.Error(), "pa55word"):
			t.Errorf("the error shows the password: %v", err)
		case err == nil && got.String() != tc.want:
			t.Errorf("%v: %v", tc, got)
		}
	}
}

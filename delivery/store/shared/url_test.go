package shared

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]Target{
		"redis://localhost":                    {hosts: []string{"localhost:6379"}},
		"redis://u:p%40ss@h:7000/3?replicas=2": {hosts: []string{"h:7000"}, user: "u", password: "p@ss", db: 3, replicas: 2},
		"rediss://[::1]:6380":                  {hosts: []string{"[::1]:6380"}, secure: true},
		"redis+sentinel://a:1,b/main":          {hosts: []string{"a:1", "b:26379"}, master: "main"},
		"redis+sentinel://:p@a/m?sentinel_user=s&sentinel_password=x%26y": {
			hosts: []string{"a:26379"}, password: "p", master: "m", sentinel: login{"s", "x&y"},
		},
		"redis+sentinel://a/main/2":                   {hosts: []string{"a:26379"}, master: "main", db: 2},
		"rediss+cluster://:secret@a,[::2]?replicas=1": {hosts: []string{"a:6379", "[::2]:6379"}, password: "secret", cluster: true, secure: true, replicas: 1},
	} {
		got, err := ParseURL(raw)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", raw, got, err)
		}
	}
}

func TestParseURLSaysWhatIsExpected(t *testing.T) {
	for raw, want := range map[string]string{
		"localhost:6379":                      "unknown scheme",
		"http://localhost":                    "expected redis, rediss",
		"redis://":                            "expected host or host:port",
		"redis://:hunter2@/0":                 "expected host or host:port",
		"redis://h:99999":                     "expected host or host:port",
		"redis://:hunter2@a,b":                "redis+cluster://",
		"redis://h/zero":                      "expected a number",
		"redis://h?replicas=many":             "expected a number",
		"redis://h?timeout=1":                 "expected replicas=N",
		"redis://h?sentinel_password=hunter2": "for redis+sentinel://",
		"redis+sentinel://h/m?sentinel_password=a&hunter2": "escape &",
		"redis+sentinel://h":            "redis+sentinel://host:26379/MASTERNAME",
		"redis+cluster://h/1":           "one database",
		"redis://u:hunter2/x?@h:6379":   "expected",
		"redis://u:hunter2%zz@h:6379/0": "expected one like",
	} {
		_, err := ParseURL(raw)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{"redis://u:p@h:1/2?replicas=3", "redis+sentinel://a,b:1/m/0", "redis+cluster://[::1]:1,b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		target, err := ParseURL(raw)
		if err != nil {
			return
		}
		if len(target.hosts) == 0 {
			t.Error("no host, and no error")
		}
	})
}

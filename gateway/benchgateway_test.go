package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// bench tells what the gateway lost and turned away, beside what the callers saw.
func TestBenchAsksTheGateway(t *testing.T) {
	hook := newReceiver(t)
	g := startGateway(t, configFile(t, t.TempDir(), hook.URL, ""))
	var out bytes.Buffer
	cmd := root()
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	cmd.SetArgs([]string{
		"bench", fmt.Sprintf("sip:%s@%s", reception, g.address("udp")),
		"--calls", "4", "--rate", "50", "--duration", "3s", "--metrics", metricsOf(g),
	})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"4 in ", "4 at once, 0 failed", "600 packets rendered, 0 lost, 0 late; 0 calls turned away; "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestScrape(t *testing.T) {
	code := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "# HELP a what it is\n# TYPE a counter\na{why=\"x y\"} 1\na{why=\"}\"} 2.5\nb 3e2\nnonsense\n")
	}))
	defer s.Close()
	got, err := scrape(t.Context(), s.URL)
	if err != nil || got["a"] != 3.5 || got["b"] != 300 || len(got) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
	code = http.StatusNotFound
	if _, err := scrape(t.Context(), s.URL); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v", err)
	}
}

func metricsOf(g *gateway) string { return "http://" + g.http.Addr().String() + "/metrics" }

// scraped is the value of one series; 0 when it is not there yet.
func scraped(t *testing.T, g *gateway, series string) int {
	t.Helper()
	for line := range strings.Lines(get(t, metricsOf(g))) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			var n float64
			if _, err := fmt.Sscan(value, &n); err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	return 0
}

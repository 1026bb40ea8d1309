package channel

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkWebhook sends a note of 60 kB to a receiver on loopback; "bare" is
// net/http alone with a body of the same size, made beforehand.
func BenchmarkWebhook(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer server.Close()
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			resp, err := http.Post(server.URL, "audio/ogg", bytes.NewReader(speech))
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
	for _, s := range subjects["webhook"] {
		b.Run(s.name, func(b *testing.B) {
			c, err := s.options(server.URL).Open(Env{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.(io.Closer).Close() }()
			p := parcelOf(sampleNote())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Send(b.Context(), p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	http.DefaultClient.CloseIdleConnections()
}

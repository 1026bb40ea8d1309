package sip

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestQuietHandlerSaysNoPayload(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(newQuietHandler(slog.NewTextHandler(&out, nil))).With("caller", "Transport<UDP>", "req", "INVITE sip:+4930123456@gw")
	parse := fmt.Errorf("field name with no value in header: %q", "+4930123456")
	refused := &net.OpError{Op: "write", Net: "udp", Err: errors.New("connection refused")}
	log.Error("failed to parse", "data", "INVITE sip:+4930123456@gw SIP/2.0", "error", parse)
	log.Error("write failed", "error", fmt.Errorf("to +4930123456: %w", refused), "laddr", "127.0.0.1:5060")
	log.WithGroup("g").Warn("in a group", slog.Group("deep", "user", "+4930123456"), "tx", "+4930123456")

	log.Error("send '100 Trying' response failed", "error", errors.New("transaction terminated"))

	said := out.String()
	if strings.Contains(said, "4930123456") || strings.Contains(said, "INVITE") || strings.Contains(said, "Trying") {
		t.Errorf("said too much:\n%s", said)
	}
	for _, want := range []string{"failed to parse", "Transport<UDP>", "connection refused", "laddr=127.0.0.1:5060", "in a group"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in\n%s", want, said)
		}
	}
}

func TestQuietHandlerLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(newQuietHandler(slog.NewJSONHandler(&out, nil)))
		for i := range 100 {
			log.With("caller", "x").Error("failed to parse", "data", i) // a logger of its own each: one limit for all
		}
		log.Error("another message")
		time.Sleep(quietPause)
		log.Error("failed to parse")
		time.Sleep(quietPause)
		log.Error("failed to parse")

		type line struct {
			Msg        string
			Suppressed int
		}
		want := []line{{"failed to parse", 0}, {"another message", 0}, {"failed to parse", 99}, {"failed to parse", 0}}
		decoder := json.NewDecoder(&out)
		for i, w := range want {
			var got line
			if err := decoder.Decode(&got); err != nil || got != w {
				t.Errorf("line %d: %+v, want %+v (%v)", i, got, w, err)
			}
		}
		if decoder.More() {
			t.Error("more lines than expected")
		}
	})
}

func TestQuietHandlerIsBounded(t *testing.T) {
	h := newQuietHandler(slog.DiscardHandler)
	for i := range 10 * maxQuiet {
		r := slog.NewRecord(time.Now(), slog.LevelError, fmt.Sprint("message ", i), 0)
		if err := h.Handle(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(h.lines.said); n > maxQuiet {
		t.Errorf("%d messages are remembered", n)
	}
	if h.Enabled(context.Background(), slog.LevelError) {
		t.Error("enabled although the handler behind is not")
	}
}

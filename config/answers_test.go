package config

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
)

// Numbers without a mailbox displace none that has one.
func TestAnswersHaveTheirRoom(t *testing.T) {
	var as answers
	there := question{user: "7"}
	as.put(there, answer{mailbox: &Mailbox{}})
	for i := range maxNone + 100 {
		as.put(question{user: fmt.Sprint("none", i)}, answer{})
	}
	if _, ok := as.get(there); !ok || len(as.none) != maxNone {
		t.Errorf("%d are known to be none, and who is there: %v", len(as.none), ok)
	}
	as.put(there, answer{})
	if len(as.there) != 0 || len(as.none) != maxNone {
		t.Errorf("%d are there, %d are none", len(as.there), len(as.none))
	}
}

// What the service said outlives the process: a gateway that starts while the
// service is away knows the mailboxes that it was told of.
func TestServiceIsRemembered(t *testing.T) {
	desk := newDesk(t)
	memory := &delivery.Scratch{}
	first := desk.directory(t, memory, slog.New(slog.DiscardHandler))
	desk.says(200, `{"number": "reception", "name": "Anna", "deliver": ["crm"], "retention": {"metadata": "20d", "audio": "1d"}}`)
	if _, err := first.Lookup(t.Context(), "030123456", "+4930123456"); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Lookup(t.Context(), "8", ""); !errors.Is(err, errClosed) {
		t.Errorf("a closed directory: %v", err)
	}
	desk.questions()
	desk.says(503, "")
	for _, c := range []struct{ user, number string }{{"030123456", "+4930123456"}, {"reception", ""}} {
		second := desk.directory(t, memory, slog.New(slog.DiscardHandler))
		m, err := second.Lookup(t.Context(), c.user, c.number)
		if err != nil || m.Name != "Anna" || m.Number != "reception" || m.Deliver[0].Channel != "crm" {
			t.Errorf("%v: %v, %v", c, m, err)
		}
		if got := second.Retention(t.Context(), "reception"); got != (delivery.Retention{Audio: day, Metadata: 20 * day}) {
			t.Errorf("retention %v", got)
		}
	}
	if asked := desk.questions(); len(asked) != 0 {
		t.Errorf("what was told a moment ago is asked again: %q", asked)
	}
	third := desk.directory(t, memory, slog.New(slog.DiscardHandler))
	s := third.sources.Load().service
	a := s.known(t.Context(), question{user: "reception"})
	a.asked = a.asked.Add(-time.Hour)
	s.answers.put(question{user: "reception"}, a)
	desk.says(404, "")
	if _, err := lookup(t, third, "reception"); !errors.Is(err, ErrNoMailbox) {
		t.Error(err)
	}
	_ = third.Close()
	if _, err := memory.Get(t.Context(), memoryKey(question{user: "reception"})); !errors.Is(err, delivery.ErrNotFound) {
		t.Errorf("a mailbox that is gone is remembered: %v", err)
	}
}

// Who asks the same at once asks once, and whoever gives up leaves the others
// their answer.
func TestServiceIsAskedOnce(t *testing.T) {
	desk := newDesk(t)
	d := desk.directory(t, nil, slog.New(slog.DiscardHandler))
	arrived, release := make(chan struct{}), make(chan struct{})
	desk.asks(func(w http.ResponseWriter, _ url.Values) {
		close(arrived)
		<-release
		_, _ = w.Write([]byte(`{"name": "Anna"}`))
	})
	impatient, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := d.Lookup(impatient, "7", "")
		gone <- err
	}()
	<-arrived
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	var asking sync.WaitGroup
	for range 50 {
		asking.Go(func() {
			if m, err := d.Lookup(t.Context(), "7", ""); err != nil || m.Name != "Anna" {
				t.Errorf("%v, %v", m, err)
			}
		})
	}
	close(release)
	asking.Wait()
	if asked := desk.questions(); len(asked) != 1 {
		t.Errorf("asked %d times", len(asked))
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"number": "+4930123456", "name": "Anna", "deliver": ["crm", "inbox"], "also": ["inbox", ["crm"]], "retention": {"audio": "7d"}}`))
	f.Add([]byte(`{"deliver": "bot:1", "also": [[]], "timezone": "../etc/passwd"}`))
	s := newService(twoChannels(), nil, nil, slog.New(slog.DiscardHandler))
	f.Fuzz(func(t *testing.T, body []byte) {
		q := question{user: "7"}
		a, err := s.read(q, body)
		if err != nil {
			return
		}
		if a.mailbox.Number == "" || len(a.mailbox.Deliver) == 0 {
			t.Errorf("a mailbox without a number or a chain: %+v", a.mailbox)
		}
		again, err := s.read(q, a.entry)
		if err != nil || !reflect.DeepEqual(again, a) {
			t.Errorf("what is kept of %+v comes back as %+v, %v", a.mailbox, again.mailbox, err)
		}
	})
}

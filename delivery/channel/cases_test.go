package channel

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/deploy/peertest"
)

// A repeat carries the key of the attempt before, where the service knows keys.
func TestSuiteDelivers(t *testing.T) {
	voice, private, missed, doubtful := sampleNote(), sampleNote(), sampleNote(), sampleNote()
	doubtful.Caller.Trust = "doubtful"
	private.Caller, private.Reason = delivery.Caller{Private: true}, ""
	missed.Kind, missed.Duration, missed.Waveform, missed.Media = delivery.Missed, 0, nil, delivery.Media{}
	for name, n := range map[string]delivery.Note{"voice": voice, "private": private, "missed": missed, "doubtful": doubtful} {
		t.Run(name, func(t *testing.T) {
			run(t, caseRepeats, func(t *testing.T, s subject) {
				seen := observed{fail: func(carriers int) bool { return carriers == 1 }}
				c := s.open(t, serve(t, seen.handler(t, s, n)).URL)
				if _, err := c.Send(t.Context(), s.parcel(n)); err == nil {
					t.Fatal("a 503 counts as delivered")
				}
				again := s.parcel(n)
				again.Attempt = 2
				receipt, err := c.Send(t.Context(), again)
				if err != nil || receipt.Detail == "" {
					t.Errorf("receipt %+v, error %v", receipt, err)
				}
				s.hides(t, receipt.Detail, n)
				seen.mu.Lock()
				defer seen.mu.Unlock()
				if len(seen.carrier) != 2 {
					t.Errorf("requests that carry the note: %v of %d", seen.carrier, seen.all)
				}
				if s.key != nil && (len(seen.keys) != 2 || seen.keys[0] == "" || seen.keys[0] != seen.keys[1]) {
					t.Errorf("the keys of two attempts: %q", seen.keys)
				}
			})
		})
	}
}

// What is larger than the service takes, or cannot be read, is not sent.
func TestSuiteFile(t *testing.T) {
	server := func(t *testing.T, s subject) string {
		return serve(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if s.carries(r, body) {
				t.Error("the note was sent")
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			s.well(w, r)
		}).URL
	}
	t.Run(caseOversized, func(t *testing.T) {
		run(t, caseOversized, func(t *testing.T, s subject) {
			if s.most == 0 {
				t.Skip("no file travels along")
			}
			p := s.parcel(sampleNote())
			p.Note.Media.Bytes = s.most + 1
			if failed := s.fail(t, s.open(t, server(t, s)), p, plenty); failed.Outcome != delivery.Dead || failed.Credentials {
				t.Errorf("got %+v", failed)
			}
		})
	})
	for name, tc := range map[string]struct {
		err  error // of opening it; nil for a file that is cut
		want delivery.Outcome
	}{
		"gone":       {delivery.ErrNotFound, delivery.Dead},
		"disk fails": {errors.New("input/output error"), delivery.Retry},
		"cut":        {nil, delivery.Retry},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, caseFile, func(t *testing.T, s subject) {
				if s.most == 0 {
					t.Skip("no file travels along")
				}
				p := s.parcel(sampleNote())
				if tc.err != nil {
					p.Open = func(context.Context) (io.ReadSeekCloser, error) { return nil, tc.err }
					p.Convert = func(context.Context, string) ([]byte, error) { return nil, tc.err }
				} else {
					p.Note.Media.Bytes++
				}
				if failed := s.fail(t, s.open(t, server(t, s)), p, plenty); failed.Outcome != tc.want || failed.Credentials {
					t.Errorf("got %+v, want %s", failed, tc.want)
				}
			})
		})
	}
}

// The status has decided: an answer whose rest is slow or lost counts. Before
// the note was sent it may be needed; then it is as good as none.
func TestSuiteAnswerBreaksOff(t *testing.T) {
	run(t, caseBreaksOff, func(t *testing.T, s subject) {
		carrier, all := s.survey(t)
		for at := range all {
			var answered atomic.Bool
			service := s.strike(t, at, plenty, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				answered.Store(true)
				w.Header().Set("Content-Length", "1000")
				_, _ = w.Write([]byte("we have"))
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			})
			ctx := httptrace.WithClientTrace(service.ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() {
				if answered.Load() { // the patience is with the rest, once the status has arrived
					service.timer.Reset(shortly)
				}
			}})
			_, err := s.open(t, service.address).Send(ctx, s.parcel(sampleNote()))
			var failed *delivery.SendError
			if before := at < carrier && errors.As(err, &failed) && failed.Outcome == delivery.Retry; err != nil && !before {
				t.Errorf("request %d, of which %d carries the note: %v", at, carrier, err)
			}
		}
	})
}

// Where a service says more than a status, a 200 without it comes from somebody
// else: a proxy's page, or a wrong address. It counts for nothing.
func TestSuiteNotTheService(t *testing.T) {
	run(t, caseNotIt, func(t *testing.T, s subject) {
		if s.success == nil {
			t.Skip("its status is all that it says")
		}
		carrier, _ := s.survey(t)
		for _, says := range []string{"<html>Welcome to the hotel's network</html>", "{}", ""} {
			service := s.strike(t, carrier, plenty, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, says)
			})
			p := s.parcel(sampleNote())
			receipt, err := s.open(t, service.address).Send(service.ctx, p)
			if failed := s.failure(t, p, receipt, err); failed.Outcome != delivery.Retry || !failed.Credentials {
				t.Errorf("after %q: %+v", says, failed)
			}
		}
	})
}

// A request that broke off half-way cannot have been taken for a note: it is
// sent again, unmarked.
func TestSuiteHalfWay(t *testing.T) {
	run(t, caseHalfWay, func(t *testing.T, s subject) {
		if s.most == 0 {
			t.Skip("a request without the file is too small to break off")
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		go func() { // takes the headers and hangs up
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 512))
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
			}
		}()
		big := bytes.Repeat([]byte("x"), int(min(s.most, maxAttach)))
		p := s.parcel(sampleNote())
		p.Note.Media.Bytes = int64(len(big))
		p.Open = func(context.Context) (io.ReadSeekCloser, error) { return file{bytes.NewReader(big)}, nil }
		p.Convert = func(context.Context, string) ([]byte, error) { return big, nil }
		if failed := s.fail(t, s.open(t, "http://"+listener.Addr().String()), p, plenty); failed.Outcome != delivery.Retry {
			t.Errorf("got %v, want retry", failed)
		}
	})
}

func TestSuiteNoConnection(t *testing.T) {
	// mute takes connections and says nothing.
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	stranger := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(stranger.Close)
	stranger.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)

	for name, server := range map[string]string{
		"refused":                  "http://" + peertest.Address(t).String(), // where nobody else listens meanwhile
		"no such host":             "http://nobody.invalid",
		"certificate not trusted":  stranger.URL,
		"time-out before the body": "https://" + mute.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			run(t, caseNobody, func(t *testing.T, s subject) {
				failed := s.fail(t, s.open(t, server), s.parcel(sampleNote()), shortly)
				if failed.Outcome != delivery.Retry || failed.Credentials || failed.Status != 0 {
					t.Errorf("got %+v", failed)
				}
			})
		})
	}
}

func TestSuiteGuardsTheInside(t *testing.T) {
	server := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the inside was reached") })
	t.Setenv("HTTP_PROXY", server.URL)
	t.Setenv("HTTPS_PROXY", server.URL)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	for _, address := range []string{server.URL, "http://localhost:" + port, "http://[::ffff:127.0.0.1]:" + port, "http://10.255.255.1"} {
		for _, s := range overHTTP() {
			if s.skip[caseInside] != "" {
				continue
			}
			o := s.options(address)
			reflect.ValueOf(o).Elem().FieldByName("AllowPrivate").SetBool(false)
			failed := s.fail(t, open(t, o), s.parcel(sampleNote()), plenty)
			if failed.Outcome != delivery.Retry || !failed.Credentials || !strings.Contains(failed.Error(), "allow_private") {
				t.Errorf("%s at %s: %v", s.name, address, failed)
			}
		}
	}
}

const (
	shortly = 300 * time.Millisecond // the patience with what gives no answer
	plenty  = 10 * time.Second
)

// struck is a service that is well, but for one request.
type struck struct {
	address string
	carried atomic.Int32    // how many of the others carried the note
	timer   *time.Timer     // of the patience with that request
	ctx     context.Context // ends as a deadline does, once that is over
}

// strike answers request number at, from 0, as told.
func (s subject) strike(t *testing.T, at int, patience time.Duration, fault http.HandlerFunc) *struck {
	t.Helper()
	over := make(chan struct{})
	timer := time.AfterFunc(plenty, sync.OnceFunc(func() { close(over) }))
	t.Cleanup(func() { timer.Stop() })
	service := &struck{timer: timer, ctx: deadline{t.Context(), over}}
	var count atomic.Int32
	service.address = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if int(count.Add(1))-1 == at {
			if patience == shortly { // no answer comes; all of the request does
				body, _ := io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			timer.Reset(patience) // only now: what came before may have taken its time
			fault(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		if s.carries(r, body) {
			service.carried.Add(1)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.well(w, r)
	}).URL
	return service
}

// deadline is a context whose time is over when its channel is closed.
type deadline struct {
	context.Context
	over chan struct{}
}

func (d deadline) Done() <-chan struct{} { return d.over }

func (d deadline) Err() error {
	select {
	case <-d.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// fault is what happens to a request.
type fault struct {
	handler  http.HandlerFunc
	means    func(s subject, carrier bool) meaning
	says     string        // a part of the error, beside what the meaning says
	patience time.Duration // of the attempt; 0 for plenty
	again    bool          // net/http may ask once more by itself for what only reads
}

// faults are all but a status that is no success.
func faults(t *testing.T) map[string]fault {
	t.Helper()
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	return map[string]fault{
		"busy before the body": {says: "503", handler: func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}, means: func(s subject, carrier bool) meaning {
			m := s.means(http.StatusServiceUnavailable, carrier)
			if m.outcome == delivery.Retry {
				m.after = 0
			}
			return m
		}},
		"redirect": {says: "redirects are not followed", handler: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, means: func(subject, bool) meaning { return meaning{outcome: delivery.Dead} }},
		"time-out after the body": {says: "time for an attempt", handler: func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, means: lost, patience: shortly},
		"reset after the body": {says: "got through", handler: func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}, means: lost, again: true},
	}
}

// lost is what an answer that did not come means.
func lost(s subject, carrier bool) meaning {
	if carrier {
		return meaning{outcome: delivery.Unknown, after: s.settles}
	}
	return meaning{outcome: delivery.Retry}
}

// Each fault strikes each request of a note: the one that carries it, those
// before it, those after it.
func TestSuiteFaults(t *testing.T) {
	for name, f := range faults(t) {
		t.Run(name, func(t *testing.T) {
			run(t, name, func(t *testing.T, s subject) {
				carrier, all := s.survey(t)
				for at := range all {
					s.suffers(t, f, at, carrier)
				}
			})
		})
	}
}

// So does each status.
func TestSuiteStatuses(t *testing.T) {
	run(t, caseStatuses, func(t *testing.T, s subject) {
		carrier, all := s.survey(t)
		for _, status := range s.known() {
			for at := range all {
				s.suffers(t, fault{handler: s.failed(status), means: func(s subject, carrier bool) meaning {
					return s.means(status, carrier)
				}}, at, carrier)
			}
		}
	})
}

// known are the statuses that the subject is asked for, in their order.
func (s subject) known() (all []int) {
	for _, of := range []map[int]meaning{common, s.statuses, s.earlier} {
		for status := range of {
			all = append(all, status)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// suffers sends a note whose request number at meets a fault.
func (s subject) suffers(t *testing.T, f fault, at, carrier int) {
	t.Helper()
	service := s.strike(t, at, cmp.Or(f.patience, plenty), f.handler)
	p := s.parcel(sampleNote())
	receipt, err := s.open(t, service.address).Send(service.ctx, p)
	switch sent := service.carried.Load(); {
	case sent == 1 && err == nil && (at > carrier || at < carrier && f.again):
		return // what comes after the note undoes nothing
	case at > carrier, sent != 0:
		t.Errorf("request %d, of which %d carries the note: it was sent %d times, and %v", at, carrier, sent, err)
		return
	}
	failed, want := s.failure(t, p, receipt, err), f.means(s, at == carrier)
	if failed.Outcome != want.outcome || failed.Credentials != want.credentials || failed.After != want.after {
		t.Errorf("request %d, of which %d carries the note: got %+v, want %+v", at, carrier, failed, want)
	}
	if !strings.Contains(failed.Error(), f.says) || !strings.Contains(failed.Error(), want.says) {
		t.Errorf("%v does not say %q %q", failed, f.says, want.says)
	}
}

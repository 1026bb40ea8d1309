package delivery

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// telling is a channel whose service tells how far a note has come.
type telling struct {
	channelFunc
	ack    What
	tells  []What
	within time.Duration
}

func (t telling) Ack() What             { return t.ack }
func (t telling) Tells(level What) bool { return slices.Contains(t.tells, level) }
func (t telling) Within() time.Duration { return t.within }

func acknowledging(ack What) telling {
	return telling{healthy, ack, []What{WasDelivered, WasRead}, 10 * time.Minute}
}

func inviting(context.Context, Parcel) (Receipt, error) {
	return Receipt{Detail: "200 OK", Invited: true}, nil
}

func TestWhatWaits(t *testing.T) {
	for name, tt := range map[string]struct {
		channel Channel
		chain   []string
		want    Result
	}{
		"no levels":           {channelFunc(healthy), []string{"x", "crm"}, Result{Outcome: Done, Arrived: true}},
		"accepted is enough":  {acknowledging(WasAccepted), []string{"x", "crm"}, Result{Outcome: Done}},
		"delivered":           {acknowledging(WasDelivered), []string{"x", "crm"}, Result{Outcome: Waiting, Wait: 10 * time.Minute}},
		"read":                {acknowledging(WasRead), []string{"x", "crm"}, Result{Outcome: Waiting, Wait: 10 * time.Minute}},
		"the last target":     {acknowledging(WasRead), []string{"x"}, Result{Outcome: Waiting, Wait: giveUpAfter}},
		"an invitation":       {channelFunc(inviting), []string{"x", "crm"}, Result{Outcome: Waiting, Wait: 10 * time.Minute}},
		"an invitation, last": {channelFunc(inviting), []string{"x"}, Result{Outcome: Waiting, Wait: giveUpAfter}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, map[string]Channel{"x": tt.channel, "crm": channelFunc(healthy)})
				r.Deliver(r.queue.render("101", tt.chain...)...)
				synctest.Wait()
				got := r.queue.look("job-1").results[0]
				if got.Outcome != tt.want.Outcome || got.Wait != tt.want.Wait || got.Arrived != tt.want.Arrived {
					t.Errorf("%+v, want %+v", got, tt.want)
				}
				if n := len(r.seen.arrivals()); (n == 1) != (tt.want.Outcome == Done) {
					t.Errorf("the observer heard of %d deliveries", n)
				}
				r.stop()
			})
		})
	}
}

// TestTakenLate: a service that took the note when the time was over gets a
// minute to report before the next target has its turn.
func TestTakenLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := acknowledging(WasDelivered)
		slow.channelFunc = func(ctx context.Context, p Parcel) (Receipt, error) {
			time.Sleep(20 * time.Second)
			return healthy(ctx, p)
		}
		slow.within = 10 * time.Second
		r := start(t, map[string]Channel{"x": slow, "crm": channelFunc(healthy)})
		r.Deliver(r.queue.render("101", "x", "crm")...)
		time.Sleep(21 * time.Second)
		if got := r.queue.look("job-1").results; got[0].Wait != slow.within {
			t.Errorf("%+v", got)
		}
		r.stop()
	})
}

// TestWaitedInVain: when the time of waiting is over the next target has its
// turn, though the channel's breaker is open and its rate is used up.
func TestWaitedInVain(t *testing.T) {
	for name, tt := range map[string]struct {
		channel telling
		want    string
	}{
		"delivered": {acknowledging(WasDelivered), "no word within 10m0s that it was delivered"},
		"read":      {acknowledging(WasRead), "no word within 10m0s that it was read"},
		"asked for": {telling{inviting, WasAccepted, nil, 10 * time.Minute}, "nobody asked for the note within 10m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent := 0
				channel := tt.channel
				channel.channelFunc = func(ctx context.Context, p Parcel) (Receipt, error) {
					if sent++; sent > 1 {
						return down(ctx, p)
					}
					return tt.channel.Send(ctx, p)
				}
				r := start(t, map[string]Channel{"x": channel, "crm": channelFunc(healthy)})
				r.Deliver(r.queue.render("101", "x", "crm")...)
				time.Sleep(9 * time.Minute)
				for range tripAfter {
					r.queue.put("102", "x")
				}
				time.Sleep(59 * time.Second)
				if j := r.queue.look("job-1"); j.state != JobQueued {
					t.Fatalf("before its time: %+v", j)
				}
				time.Sleep(2 * time.Second)
				j := r.queue.look("job-1")
				if j.state != JobDelivered || j.Step != 1 || len(j.results) != 3 || j.results[1].Detail != tt.want {
					t.Errorf("%+v", j)
				}
				r.stop()
			})
		})
	}
}

func TestNothingWaitsBehindAReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, map[string]Channel{"x": acknowledging(WasRead)})
		r.queue.put("101", "x")
		r.queue.put("101", "x")
		time.Sleep(time.Second)
		for _, j := range r.queue.all() {
			if len(j.results) != 1 || j.results[0].Outcome != Waiting {
				t.Errorf("%+v", j)
			}
		}
		r.stop()
	})
}

func TestReport(t *testing.T) {
	for name, tt := range map[string]struct {
		channel Channel
		what    What
		means   Meaning
	}{
		"no levels, accepted":        {channelFunc(healthy), WasAccepted, Meaning{Settles: true, Arrived: true}},
		"no levels, read":            {channelFunc(healthy), WasRead, Meaning{Settles: true, Arrived: true}},
		"accepted, and more is told": {acknowledging(WasAccepted), WasAccepted, Meaning{Settles: true}},
		"delivered":                  {acknowledging(WasAccepted), WasDelivered, Meaning{Settles: true, Arrived: true}},
		"delivered is not read":      {acknowledging(WasRead), WasDelivered, Meaning{Arrived: true}},
		"played is read":             {acknowledging(WasRead), WasPlayed, Meaning{Settles: true, Arrived: true}},
		"refused":                    {acknowledging(WasRead), WasRefused, Meaning{}},
		"asked":                      {acknowledging(WasAccepted), WasAsked, Meaning{}},
		"bounced":                    {acknowledging(WasDelivered), WasBounced, Meaning{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, map[string]Channel{"x": tt.channel})
				r.queue.put("101", "x")
				time.Sleep(time.Second)
				if err := r.Report(t.Context(), "x", Report{Job: "job-1", What: tt.what}); err != nil {
					t.Fatal(err)
				}
				if got := r.queue.look("job-1").reports; !slices.Equal(got, []Meaning{tt.means}) {
					t.Errorf("%+v", got)
				}
				if !slices.Equal(r.seen.reported, []What{tt.what}) {
					t.Errorf("the observer heard %v", r.seen.reported)
				}
				if err := r.Report(t.Context(), "x", Report{Job: "job-9", What: tt.what}); !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
				r.stop()
			})
		})
	}
}

// TestReportedAndObserved: what a report brings about counts as what an attempt
// does.
func TestReportedAndObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, map[string]Channel{"x": acknowledging(WasDelivered), "wa": channelFunc(inviting)})
		for _, to := range []string{"x", "x", "wa"} {
			r.queue.put(NewID(), to)
		}
		time.Sleep(time.Second)
		for job, what := range map[string]What{"job-1": WasDelivered, "job-2": WasRefused, "job-3": WasAsked} {
			if err := r.Report(t.Context(), r.queue.look(job).Target().Channel, Report{Job: job, What: what}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := len(r.seen.arrivals()); n != 1 || r.seen.dead != 1 {
			t.Errorf("the observer heard of %d deliveries and %d dead", n, r.seen.dead)
		}
		if got := r.queue.look("job-3").results; len(got) != 2 { // at once
			t.Errorf("asked for: %+v", got)
		}
		r.stop()
	})
}

// TestDeliveryIsCountedOnce: reports that come before the answer and the answer
// itself count one delivery, and a note that was delivered does not count as dead.
func TestDeliveryIsCountedOnce(t *testing.T) {
	for name, answer := range map[string]error{
		"accepted": nil,
		"failed":   &SendError{Outcome: Dead, Err: errors.New("400 Bad Request")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r *rig
				r = start(t, map[string]Channel{"x": channelFunc(func(ctx context.Context, p Parcel) (Receipt, error) {
					for _, what := range []What{WasAccepted, WasDelivered} {
						if err := r.Report(ctx, "x", Report{Job: p.Key, What: what}); err != nil {
							t.Error(err)
						}
					}
					return Receipt{}, answer
				})})
				r.queue.put("101", "x")
				pass(time.Second)
				if n := len(r.seen.arrivals()); n != 1 || r.seen.dead != 0 || strings.Contains(r.log.String(), "dead") {
					t.Errorf("%d deliveries, %d dead; %s", n, r.seen.dead, r.log)
				}
				left := 0
				r.leased.Range(func(any, any) bool { left++; return true })
				if left != 0 {
					t.Errorf("%d leases are left", left)
				}
				r.stop()
			})
		})
	}
}

// TestUnknownWaitsForTheStatus: where a service's own status may settle what
// is unknown, it has the time that the channel says before anything is
// repeated, and the next target waits as long.
func TestUnknownWaitsForTheStatus(t *testing.T) {
	for name, tt := range map[string]struct{ after, want time.Duration }{
		"in time":    {2 * time.Minute, 2 * time.Minute},
		"it is over": {time.Hour, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent moments
				r := start(t, map[string]Channel{"x": channelFunc(func(context.Context, Parcel) (Receipt, error) {
					sent.now()
					return Receipt{}, &SendError{Outcome: Unknown, After: tt.after, Err: errors.New("no answer")}
				}), "crm": channelFunc(healthy)})
				r.Deliver(r.queue.render("101", "x", "crm")...)
				time.Sleep(11 * time.Minute)
				if at := sent.take(); len(at) < 2 || (at[1].Sub(at[0])-tt.want).Abs() > time.Second {
					t.Errorf("sent at %v", at)
				}
				r.stop()
			})
		})
	}
}

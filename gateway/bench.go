package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/afterbeep/afterbeep/media"
	"github.com/afterbeep/afterbeep/sip"
)

// load is what `bench` sends: calls of a duration, begun at a rate.
type load struct {
	target   string // may hold a verb like %06d for the call's index
	calls    int
	rate     float64 // new calls a second
	duration time.Duration
	who      identity
	metrics  string // where the gateway tells its own figures; "" for none
}

func benchCommand() *cobra.Command {
	var l load
	var codecName string
	cmd := &cobra.Command{
		Use: "bench SIP-URI", Short: "Place many calls, and print what failed and how long it took", Args: arguments,
		Example: "  afterbeep bench sip:+4930123456@127.0.0.1:5060 --calls 200 --rate 20 \\\n" +
			"    --duration 20s --metrics http://127.0.0.1:8080/metrics",
	}
	l.who.flags(cmd)
	cmd.Flags().IntVar(&l.calls, "calls", 100, "how many calls")
	cmd.Flags().Float64Var(&l.rate, "rate", 10, "new calls a second")
	cmd.Flags().DurationVar(&l.duration, "duration", 10*time.Second, "how long each caller speaks")
	cmd.Flags().StringVar(&l.metrics, "metrics", "", "the gateway's /metrics, to print what it lost and what it took")
	cmd.Flags().StringVar(&codecName, "codec", "PCMA", "the codec: opus, G722, PCMU or PCMA")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		l.target = args[0]
		if l.calls < 1 || l.rate <= 0 || l.duration < 20*time.Millisecond {
			return errors.New("--calls, --rate and --duration must be more than nothing")
		}
		local, err := sip.LocalFor(cmd.Context(), l.target)
		if err != nil {
			return err
		}
		c, err := newCaller(local, []string{codecName}, l.who.tls, slog.New(slog.DiscardHandler), l.who.media)
		if err != nil {
			return err
		}
		defer func() { _ = c.close() }()
		return l.run(cmd.Context(), cmd.OutOrStdout(), c)
	}
	return cmd
}

// tally is what came of the calls.
type tally struct {
	mu            sync.Mutex
	done, talking int
	most          int // talking at once
	failed        map[string]int
	answer, bye   []time.Duration
	packets       int
}

func (l *load) run(ctx context.Context, out io.Writer, c *caller) error {
	said, err := loadSound("")
	if err != nil {
		return err
	}
	side, err := watchGateway(ctx, l.metrics)
	if err != nil {
		return err
	}
	t := &tally{failed: map[string]int{}}
	began := time.Now()
	var calls sync.WaitGroup
	over := make(chan struct{})
	go func() {
		defer close(over)
		every := time.Duration(float64(time.Second) / l.rate)
		for i := 0; i < l.calls && ctx.Err() == nil; i++ {
			calls.Go(func() { t.count(l.call(ctx, c, said, i, t)) })
			time.Sleep(time.Until(began.Add(time.Duration(i+1) * every)))
		}
		calls.Wait()
	}()
	show := newSteps(out)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.mu.Lock()
			show.progress("calls", "%s %d of %d done, %d talking, %d failed", bar(float64(t.done)/float64(l.calls)), t.done, l.calls, t.talking, sum(t.failed))
			t.mu.Unlock()
		case <-over:
			show.clear()
			return errors.Join(t.print(out, time.Since(began), c.pacer.Stats()), side.print(context.WithoutCancel(ctx), out))
		}
	}
}

// called is one call's figures.
type called struct {
	timing  sip.Timing
	packets int
	err     error
}

func (l *load) call(ctx context.Context, c *caller, said *sound, i int, t *tally) (r called) {
	target := l.target
	if strings.Contains(target, "%") {
		target = fmt.Sprintf(target, i)
	}
	talk, err := c.dial(ctx, target, l.who.request())
	if err != nil {
		return called{err: err}
	}
	t.talk(1)
	defer t.talk(-1)
	playing, err := talk.speak(said, int(l.duration/(20*time.Millisecond)))
	if err != nil {
		return called{err: errors.Join(err, talk.hangUp(ctx))}
	}
	select {
	case <-playing.Done():
	case <-talk.dialog.Done():
		playing.Stop()
		err = errors.New("the gateway hung up")
	case <-ctx.Done():
		playing.Stop()
		err = ctx.Err()
	}
	r.packets = playing.Result().Sent
	if err == nil {
		err = talk.hangUp(context.WithoutCancel(ctx))
	} else {
		_ = talk.hangUp(context.WithoutCancel(ctx))
	}
	r.timing, r.err = talk.dialog.Timing(), err
	return r
}

func (t *tally) talk(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.talking += n
	t.most = max(t.most, t.talking)
}

func (t *tally) count(r called) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done++
	t.packets += r.packets
	if r.err != nil {
		t.failed[strings.ReplaceAll(r.err.Error(), "\n", "; ")]++
		return
	}
	t.answer = append(t.answer, r.timing.Answer)
	t.bye = append(t.bye, r.timing.Bye)
}

func (t *tally) print(out io.Writer, took time.Duration, pace media.PacerStats) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("calls", "%d in %.1f s, %d at once, %d failed", t.done, took.Seconds(), t.most, sum(t.failed))
	for why, n := range t.failed {
		row("  failed", "%d: %s", n, why)
	}
	row("INVITE -> 200", "%s", quantiles(t.answer))
	row("BYE -> 200", "%s", quantiles(t.bye))
	row("RTP sent", "%d packets, %d late by more than 5 ms (here), worst %s", t.packets, pace.Late, millis(pace.Worst))
	if err := w.Flush(); err != nil || len(t.failed) == 0 {
		return err
	}
	return errSaid
}

func quantiles(d []time.Duration) string {
	if len(d) == 0 {
		return "-"
	}
	slices.Sort(d)
	at := func(q float64) string { return millis(d[int(q*float64(len(d)-1))]) }
	return fmt.Sprintf("p50 %s, p95 %s, p99 %s, max %s", at(0.5), at(0.95), at(0.99), at(1))
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

package media

import (
	"io"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Others that want the processors make no turn look costlier than it is:
// encoding lets them pass after each frame, and they take their time.
func TestRenderersCostAmongOthers(t *testing.T) {
	c := newCaller(t, pcmuOnly)
	c.say(24_000)
	in := c.tape()
	quiet, _ := renderFile(t, in, RenderOptions{})
	if quiet.Encoder == 0 {
		t.Skip("processor time is not measured on this system")
	}
	cost := quiet.Encoder.Seconds() / quiet.Duration.Seconds() / efforts[0].cost

	defer others(4 * runtime.GOMAXPROCS(0))()
	p := NewRenderers(RenderersOptions{})
	p.governor.cost = 4 * cost
	facts, err := p.Render(t.Context(), in.rewind(), io.Discard, RenderOptions{}, closed())
	if err != nil || facts.Duration != quiet.Duration {
		t.Fatalf("%+v, %v", facts, err)
	}
	if p.governor.cost >= 3*cost {
		t.Errorf("encoding a second costs %.2f ms, taken for %.2f", 1000*cost, 1000*p.governor.cost)
	}
}

// others run on the processors, half a millisecond at a time, until stop.
func others(n int) (stop func()) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range n {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				for began := time.Now(); time.Since(began) < time.Millisecond/2; {
				}
				runtime.Gosched()
			}
		})
	}
	return func() { close(done); wg.Wait() }
}

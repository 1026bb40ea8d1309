package media

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// liveTape is a tape that is being written: records come through a channel.
type liveTape chan []byte

func (l liveTape) Next(ctx context.Context) ([]byte, error) {
	select {
	case record, ok := <-l:
		if !ok {
			return nil, io.EOF
		}
		return record, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// diary notes who did what in which order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.lines, line) {
		d.lines = append(d.lines, line)
	}
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, " ")
}

// disk is a file that takes its time, and so does the turn in which it is
// written.
type disk struct {
	name  string
	diary *diary
	slow  time.Duration
}

func (d disk) Write(b []byte) (int, error) {
	d.diary.add(d.name)
	time.Sleep(d.slow)
	return len(b), nil
}

// closed is the end of a call that is over.
func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// shortCall is a tape of one record.
func shortCall(tb testing.TB) *tape {
	tb.Helper()
	c := newCaller(tb, pcmuOnly)
	c.say(500)
	return c.tape()
}

// start renders in the background, until the test ends.
func start(t *testing.T, wg *sync.WaitGroup, p *Renderers, in Records, d disk, ended <-chan struct{}) *Facts {
	t.Helper()
	facts := &Facts{}
	wg.Go(func() {
		f, err := p.Render(t.Context(), in, d, RenderOptions{}, ended)
		if err != nil {
			t.Errorf("%s: %v", d.name, err)
		}
		*facts = f
	})
	synctest.Wait()
	return facts
}

// What the pool renders is what Render does.
func TestRenderersRender(t *testing.T) {
	c := newCaller(t, allCodecs)
	c.say(2500)
	in := c.tape()
	want, whole := renderFile(t, in, RenderOptions{})
	var file bytes.Buffer
	p := NewRenderers(RenderersOptions{})
	got, err := p.Render(t.Context(), in.rewind(), &file, RenderOptions{}, closed())
	if err != nil || got.Duration != want.Duration || got.Packets != want.Packets || file.Len() != len(whole) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	s := p.Stats()
	if s.Frames[9] != uint64(want.Frames[9]) || s.Following != 0 || s.Backlog != 0 || s.Complexity != 9 {
		t.Errorf("%+v", s)
	}
}

// Calls that find no room are rendered when they end, room or no room.
func TestRenderersBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewRenderers(RenderersOptions{Followers: 2, Parallel: 1})
		var wg sync.WaitGroup
		d := &diary{}
		first, second, third := make(liveTape), make(liveTape), make(liveTape)
		start(t, &wg, p, first, disk{"first", d, 0}, nil)
		start(t, &wg, p, second, disk{"second", d, 0}, nil)
		end := make(chan struct{})
		start(t, &wg, p, shortCall(t), disk{"waits", d, 0}, end)
		start(t, &wg, p, third, disk{"third", d, 0}, nil)
		if s := p.Stats(); s.Following != 2 || s.Backlog != 2 || d.String() != "" {
			t.Fatalf("%+v, %s", s, d)
		}
		close(end)
		synctest.Wait()
		if s := p.Stats(); d.String() != "waits" || s.Backlog != 1 {
			t.Fatalf("%+v, %s: the call that ended was not rendered", s, d)
		}
		close(first)
		synctest.Wait()
		if s := p.Stats(); s.Following != 2 || s.Backlog != 0 {
			t.Fatalf("%+v: nobody took the room that was left", s)
		}
		close(second)
		close(third)
		wg.Wait()
	})
}

// Turns go to calls that have ended, also when they end while they wait.
func TestRenderersTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewRenderers(RenderersOptions{Followers: 10, Parallel: 1})
		var wg sync.WaitGroup
		d := &diary{}
		start(t, &wg, p, shortCall(t), disk{"holder", d, 5 * time.Second}, nil)
		start(t, &wg, p, shortCall(t), disk{"live", d, 0}, nil)
		end := make(chan struct{})
		start(t, &wg, p, shortCall(t), disk{"ends-later", d, 0}, end)
		ended := start(t, &wg, p, shortCall(t), disk{"ended", d, 0}, closed())
		close(end)
		time.Sleep(time.Second)
		if s := p.Stats(); s.Queue != 3 || s.Lag != time.Second || d.String() != "holder" {
			t.Errorf("%+v, %s", s, d)
		}
		wg.Wait()
		if d.String() != "holder ended ends-later live" {
			t.Errorf("turns went to %s", d)
		}
		if ended.Lag != 5*time.Second { // the file of the one before
			t.Errorf("lag %v", ended.Lag)
		}
	})
}

// Whoever gives up leaves the place to others.
func TestRenderersCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewRenderers(RenderersOptions{Followers: 1, Parallel: 1})
		gone := errors.New("gone")
		for _, ended := range []chan struct{}{nil, closed()} {
			ctx, cancel := context.WithCancelCause(t.Context())
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					if _, err := p.Render(ctx, make(liveTape), io.Discard, RenderOptions{}, ended); !errors.Is(err, gone) {
						t.Errorf("error %v", err)
					}
				})
			}
			synctest.Wait()
			cancel(gone)
			wg.Wait()
		}
		if s := p.Stats(); s.Following != 0 || s.Backlog != 0 || s.Queue != 0 {
			t.Errorf("%+v", s)
		}
		if _, err := p.Render(t.Context(), shortCall(t), io.Discard, RenderOptions{}, nil); err != nil {
			t.Error(err)
		}
		if p.live.free != 1 || p.finish.free != 2 || p.turns.free != 1 {
			t.Errorf("places are lost: %d, %d, %d", p.live.free, p.finish.free, p.turns.free)
		}
	})
}

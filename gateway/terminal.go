package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
)

// steps prints what happens, a line for each thing; on a terminal the line of
// a long thing moves.
type steps struct {
	out  io.Writer
	live bool
}

func newSteps(out io.Writer) *steps {
	file, ok := out.(*os.File)
	return &steps{out: out, live: ok && isatty.IsTerminal(file.Fd())}
}

// say prints a step: what, and the particulars.
func (s *steps) say(what, format string, args ...any) {
	s.clear()
	_, _ = fmt.Fprintf(s.out, "  %-10s %s\n", what, fmt.Sprintf(format, args...))
}

// progress shows how far a step has come, in place of what it showed before.
func (s *steps) progress(what, format string, args ...any) {
	if s.live {
		_, _ = fmt.Fprintf(s.out, "\r\x1b[K  %-10s %s", what, fmt.Sprintf(format, args...))
	}
}

func (s *steps) clear() {
	if s.live {
		_, _ = fmt.Fprint(s.out, "\r\x1b[K")
	}
}

// bar is a bar of 30 cells.
func bar(share float64) string {
	const cells = 30
	full := min(cells, max(0, int(share*cells)))
	return strings.Repeat("█", full) + strings.Repeat("░", cells-full)
}

// millis writes a short time.
func millis(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

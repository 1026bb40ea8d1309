package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Problem is one mistake in the file.
type Problem struct {
	File         string
	Line, Column int    // from 1; 0 when the mistake is something that is not there
	Key          string // like sip.trunks[0].from
	Text         string // what was expected
}

// String writes file:line:column: key: what was expected.
func (p Problem) String() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
	if p.Key == "" {
		return where + ": " + p.Text
	}
	return where + ": " + p.Key + ": " + p.Text
}

// FileErrors is every mistake in a file, in the order of its lines.
type FileErrors []Problem

// Error writes one mistake a line.
func (ps FileErrors) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// LogValue is what a log may say of the mistakes: where they are, and nothing of
// what stands there.
func (ps FileErrors) LogValue() slog.Value {
	first := ps[0]
	text := strings.TrimPrefix(fmt.Sprintf("line %d, column %d, %s", first.Line, first.Column, first.Key), "line 0, column 0, ")
	if more := len(ps) - 1; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return slog.StringValue(strings.TrimSuffix(text, ", ") + ": `afterbeep check` says what was expected")
}

// Logged is err as a log may have it: mistakes in a file by their place alone,
// whatever is said around them.
func Logged(err error) any {
	if mistakes := (FileErrors{}); errors.As(err, &mistakes) {
		return mistakes
	}
	return err
}

type position struct{ line, column int }

// problem notes a mistake at the key, unless one is known: a fault is told once.
func (d *decoder) problem(key, format string, args ...any) {
	if d.wrong[key] {
		return
	}
	d.wrong[key] = true
	at := d.position(key)
	d.found = append(d.found, Problem{File: d.file, Line: at.line, Column: at.column, Key: key, Text: fmt.Sprintf(format, args...)})
}

// position is where the key stands, or the nearest key above it that does.
func (d *decoder) position(key string) position {
	for {
		if at, ok := d.at[key]; ok || key == "" {
			return at
		}
		key = above(key)
	}
}

// above is the key of what holds this one, "" for the file itself.
func above(key string) string { return key[:max(0, strings.LastIndexAny(key, ".["))] }

// problems returns what was found, or nil.
func (d *decoder) problems() error {
	if len(d.found) == 0 {
		return nil
	}
	slices.SortStableFunc(d.found, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return d.found
}

// oneOf says what could have been meant: the nearest name, or all of them.
func oneOf(got string, known []string) string {
	best := nearest(got, known)
	switch {
	case best != "":
		return fmt.Sprintf("; did you mean %q?", best)
	case len(known) == 0:
		return ""
	default:
		slices.Sort(known)
		return "; known here: " + strings.Join(known, ", ")
	}
}

// nearest is the known name that got is likely to mean, or "".
func nearest(got string, known []string) string {
	best, distance := "", len(got)/2+1
	for _, k := range known {
		if n := edits(got, k); n < distance {
			best, distance = k, n
		}
	}
	return best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

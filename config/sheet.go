package config

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A sheet is a CSV file of mailboxes (RFC 4180). Its first line names the
// columns, see sheetColumns; lines that begin with # are left out. Commas,
// semicolons or tabs stand between the fields.

// sheetColumns are the columns there are, by the key that each would have in
// the configuration file. Only number must be there.
var sheetColumns = []struct {
	key  string
	fill func(e *entry, text string)
}{
	{"number", func(e *entry, text string) { e.Number = text }},
	{"name", func(e *entry, text string) { e.Name = text }},
	{"language", func(e *entry, text string) { e.Language = text }},
	{"timezone", func(e *entry, text string) { e.Timezone = text }},
	{"deliver", func(e *entry, text string) { e.Deliver = splitChain(text) }},
	{"also", func(e *entry, text string) { e.Also = splitChains(text) }},
	{"retention.audio", func(e *entry, text string) { e.Retention.Audio = text }},
	{"retention.metadata", func(e *entry, text string) { e.Retention.Metadata = text }},
}

// splitChain reads targets with blanks or commas between them.
func splitChain(text string) targets {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\n' || r == '\r' })
}

// splitChains reads chains with | between them.
func splitChains(text string) (chains []targets) {
	for chain := range strings.SplitSeq(text, "|") {
		chains = append(chains, splitChain(chain))
	}
	return chains
}

const (
	maxSheet         = 256 << 20 // bytes, of a million mailboxes and more
	maxSheetProblems = 100       // that are told at once
)

// readSheet reads the mailboxes of a CSV file. Its mistakes come back as
// [FileErrors].
func readSheet(c *Config, path string) (*index, error) {
	file, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read from
	text, err := io.ReadAll(io.LimitReader(file, maxSheet+1))
	switch {
	case err != nil:
		return nil, unnamed(err)
	case len(text) > maxSheet:
		return nil, fmt.Errorf("the file is larger than %d MB: is it a list of mailboxes?", maxSheet>>20)
	}
	return parseSheet(c, path, text)
}

// parseSheet reads a file's text.
func parseSheet(c *Config, path string, text []byte) (*index, error) {
	text = []byte(inUTF8(string(utf8Of(text))))
	s := &sheetReader{
		decoder: newDecoder(path),
		config:  c, csv: csv.NewReader(bytes.NewReader(text)),
	}
	s.csv.Comment, s.csv.ReuseRecord, s.csv.TrimLeadingSpace = '#', true, true
	s.csv.Comma = delimiter(text)
	if s.header() {
		for len(s.found) < maxSheetProblems && s.line() {
		}
	}
	x := newIndex(s.mailboxes, func(later, earlier int) {
		s.at["number"] = s.lines[later]
		clear(s.wrong)
		s.problem("number", "this number is taken by line %d; each mailbox needs its own", s.lines[earlier].line)
	})
	if err := s.problems(); err != nil {
		return nil, err
	}
	return x, nil
}

// delimiter is what stands between the fields: what the header has most of.
func delimiter(text []byte) rune {
	most, found := ',', 0
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		for _, r := range []rune{',', ';', '\t'} {
			if n := bytes.Count(line, []byte(string(r))); n > found {
				most, found = r, n
			}
		}
		break
	}
	return most
}

// sheetReader reads a sheet line by line.
type sheetReader struct {
	decoder

	config  *Config
	csv     *csv.Reader
	columns []int // the places in sheetColumns, in the order of the file

	mailboxes []Mailbox
	lines     []position // of their numbers
}

// record reads the fields of the next line. It returns false at the end, and
// where nothing can be made of the rest.
func (s *sheetReader) record() ([]string, bool) {
	fields, err := s.csv.Read()
	clear(s.wrong)
	clear(s.at)
	bad := (*csv.ParseError)(nil)
	switch {
	case err == nil:
		return fields, true
	case errors.As(err, &bad) && errors.Is(err, csv.ErrFieldCount):
		s.at[""] = position{bad.Line, 1}
		s.problem("", "expected %d fields, as the first line has, not %d", len(s.columns), len(fields))
		return nil, true
	case errors.As(err, &bad):
		s.at[""] = position{bad.Line, bad.Column}
		s.problem("", "this is not CSV: %v; put a field that holds quotes or line ends into quotes, and double those within", bad.Err)
	}
	return nil, false
}

// header reads the names of the columns.
func (s *sheetReader) header() bool {
	names, ok := s.record()
	if !ok || len(names) == 0 {
		s.problem("", "expected a first line that names the columns: %s", columnNames())
		return false
	}
	for i, name := range names {
		name = strings.ToLower(strings.TrimSpace(name))
		column := slices.Index(columnKeys(), name)
		line, at := s.csv.FieldPos(i)
		s.at[name] = position{line, at}
		switch {
		case column < 0:
			s.problem(name, "there is no such column%s", oneOf(name, columnKeys()))
		case slices.Contains(s.columns, column):
			s.problem(name, "this column is there twice")
		}
		s.columns = append(s.columns, column)
	}
	if !slices.Contains(s.columns, 0) {
		s.problem("number", "this column is missing; there are %s", columnNames())
	}
	return len(s.found) == 0
}

// line reads a mailbox. It returns false at the end.
func (s *sheetReader) line() bool {
	fields, ok := s.record()
	if !ok || fields == nil {
		return ok
	}
	var e entry
	for i, column := range s.columns {
		line, at := s.csv.FieldPos(i)
		s.at[sheetColumns[column].key] = position{line, at}
		sheetColumns[column].fill(&e, strings.TrimSpace(fields[i]))
	}
	s.mailboxes = append(s.mailboxes, s.mailbox(s.config, e))
	s.lines = append(s.lines, s.at["number"])
	return true
}

func columnKeys() []string {
	keys := make([]string, len(sheetColumns))
	for i, c := range sheetColumns {
		keys[i] = c.key
	}
	return keys
}

func columnNames() string { return strings.Join(columnKeys(), ", ") }

package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/quotedprintable"
	"os"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/afterbeep/afterbeep/sip"
)

// maxBook bounds a file of contacts: with their pictures, a hundred thousand.
const maxBook = 64 << 20 // bytes

// Book is what a file of contacts says: who has which number.
type Book struct {
	Cards   int // whole ones
	Broken  int // cards that were skipped
	Numbers int
	byTail  map[string][]contact
}

// contact is one number of one card.
type contact struct{ number, name string }

// tailLen is how many digits at the end of a number are the same however it is
// dialled. Numbers that share them are told apart when one is looked up: to
// normalise all while reading would take seconds.
const tailLen = 7

// Name is what the book calls a number in E.164, or a user part as it came; ""
// when it does not know it. country is where the book's numbers without a
// country code are dialled: ISO 3166 with two letters, "" when unknown.
func (b *Book) Name(number, country string) string {
	for _, c := range b.byTail[tail(dialable(number))] {
		if c.number == number || sip.Normalize(c.number, country) == number {
			return c.name
		}
	}
	return ""
}

func tail(number string) string { return number[max(0, len(number)-tailLen):] }

var (
	errNoFile  = errors.New("it is no file")
	errNoCards = errors.New("there is no card in it: expected a vCard file (.vcf), as phones and CardDAV servers export it")
	errTooBig  = fmt.Errorf("it has more than %d MB", maxBook>>20)
)

// ReadBook reads a vCard file, version 2.1 (as the versit consortium wrote it),
// 3.0 (RFC 2426) or 4.0 (RFC 6350). Only an error of reading it, or a file
// without a single card, is an error: what is broken is skipped and counted.
// Its errors do not name the file, whose name may be a person's.
func ReadBook(path string) (*Book, error) {
	file, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read from
	if is, err := file.Stat(); err == nil && is.Size() > maxBook {
		return nil, errTooBig
	}
	return readBook(file)
}

// openFile opens a file to be read. A pipe, which would never end, is none.
func openFile(path string) (*os.File, error) {
	switch is, err := os.Stat(path); {
	case err != nil:
		return nil, unnamed(err)
	case !is.Mode().IsRegular():
		return nil, errNoFile
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, unnamed(err)
	}
	return file, nil
}

// unnamed is an error without the path that it happened at.
func unnamed(err error) error {
	if wrapped := (*fs.PathError)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func readBook(r io.Reader) (*Book, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBook+1))
	switch {
	case err != nil:
		return nil, unnamed(err)
	case len(data) > maxBook:
		return nil, errTooBig
	}
	p := cards{book: &Book{byTail: map[string][]contact{}}}
	p.read(utf8Of(data))
	if p.book.Cards == 0 {
		return nil, errNoCards
	}
	return p.book, nil
}

// utf8Of is a file's text: some address books write UTF-16 with a mark.
func utf8Of(data []byte) []byte {
	mark := string(data[:min(2, len(data))])
	if mark != "\xff\xfe" && mark != "\xfe\xff" {
		return bytes.TrimPrefix(data, []byte("\ufeff"))
	}
	wide := make([]uint16, 0, len(data)/2)
	for i := 2; i+1 < len(data); i += 2 {
		low, high := data[i], data[i+1]
		if mark == "\xfe\xff" {
			low, high = high, low
		}
		wide = append(wide, uint16(high)<<8|uint16(low))
	}
	return []byte(string(utf16.Decode(wide)))
}

// cards reads cards line by line. Its own reader, as it must take 2.1 too, and
// must not copy pictures.
type cards struct {
	book *Book

	line   []byte // the one that is being put together; empty for one of no interest
	soft   bool   // it goes on, quoted-printable, in the next one
	inside bool   // a card has begun
	name   map[string]string
	tel    []string
}

// read puts folded lines together (RFC 6350 section 3.2).
func (p *cards) read(text []byte) {
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case p.soft:
			p.goesOn(line)
		case len(line) > 0 && (line[0] == ' ' || line[0] == '\t'):
			p.goesOn(line[1:])
		default:
			p.property()
			p.line = p.line[:0]
			if len(line) <= maxLine && wanted(line) {
				p.line = append(p.line, line...)
			}
		}
		p.soft = false
		if rest, ok := bytes.CutSuffix(p.line, []byte("=")); ok && quotedPrintable(p.line) {
			p.line, p.soft = rest, true
		}
	}
	p.property()
	p.end(false)
}

// maxLine is longer than any name or number.
const maxLine = 8 << 10 // bytes

// goesOn adds to the line that is being put together.
func (p *cards) goesOn(line []byte) {
	if len(p.line) > 0 && len(p.line)+len(line) <= maxLine {
		p.line = append(p.line, line...)
	}
}

// wanted says whether a line is of interest: pictures are most of a file.
func wanted(line []byte) bool {
	end := bytes.IndexAny(line, ":;")
	if end < 0 {
		return false
	}
	switch nameOf(line[:end]) {
	case "BEGIN", "END", "FN", "N", "NICKNAME", "ORG", "TEL":
		return true
	}
	return false
}

// nameOf is a property's name without its group: TEL of item1.tel.
func nameOf(header []byte) string {
	return strings.ToUpper(string(header[bytes.LastIndexByte(header, '.')+1:]))
}

// split cuts a line at the colon before its value, which may stand in a
// parameter's quotes too.
func split(line []byte) (header, value []byte, ok bool) {
	quoted := false
	for i, c := range line {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ':' && !quoted:
			return line[:i], line[i+1:], true
		}
	}
	return nil, nil, false
}

// quotedPrintable says so of a line; version 2.1 may leave the parameter's name out.
func quotedPrintable(line []byte) bool {
	header, _, ok := split(line)
	return ok && bytes.Contains(bytes.ToUpper(header), []byte("QUOTED-PRINTABLE"))
}

// property takes in a line that is whole.
func (p *cards) property() {
	header, value, ok := split(p.line)
	if !ok {
		return
	}
	text := string(value)
	if quotedPrintable(p.line) {
		if plain, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(value))); err == nil {
			text = string(plain)
		}
	}
	end := bytes.IndexByte(header, ';')
	if end < 0 {
		end = len(header)
	}
	switch name := nameOf(header[:end]); name {
	case "BEGIN":
		p.end(false)
		p.inside, p.name, p.tel = true, map[string]string{}, nil
	case "END":
		p.end(true)
	case "TEL":
		p.tel = append(p.tel, text)
	default:
		if p.inside && p.name[name] == "" {
			p.name[name] = text
		}
	}
}

// end takes in a card, whole or broken off.
func (p *cards) end(whole bool) {
	if !p.inside {
		return
	}
	p.inside = false
	if !whole {
		p.book.Broken++
		return
	}
	p.book.Cards++
	name := p.called()
	if !strings.ContainsFunc(name, unicode.IsLetter) { // the number once more
		return
	}
	for _, tel := range p.tel {
		number := dialable(tel)
		if len(number) < 2 {
			continue
		}
		p.book.Numbers++
		p.book.byTail[tail(number)] = append(p.book.byTail[tail(number)], contact{number, name})
	}
}

// called is the name that a card has for its owner.
func (p *cards) called() string {
	parts := components(p.name["N"]) // family, given, …
	for len(parts) < 2 {
		parts = append(parts, "")
	}
	return cmp.Or(
		oneLine(strings.Join(components(p.name["FN"]), ";")), oneLine(parts[1]+" "+parts[0]),
		oneLine(p.name["NICKNAME"]), oneLine(components(p.name["ORG"])[0]),
	)
}

// components are the parts of a value that semicolons separate, their escapes
// read (RFC 6350 section 3.4).
func components(value string) []string {
	var all []string
	var part strings.Builder
	escaped := false
	for i := range len(value) {
		c := value[i]
		switch {
		case escaped && (c == 'n' || c == 'N'):
			part.WriteByte(' ')
		case !escaped && c == ';':
			all = append(all, part.String())
			part.Reset()
		case escaped || c != '\\':
			part.WriteByte(c)
		}
		escaped = !escaped && c == '\\'
	}
	return append(all, part.String())
}

// oneLine is a name on one line, in UTF-8.
func oneLine(name string) string { return strings.Join(strings.Fields(inUTF8(name)), " ") }

// inUTF8 takes what is no UTF-8 for Latin 1.
func inUTF8(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	runes := make([]rune, len(text))
	for i := range len(text) {
		runes[i] = rune(text[i])
	}
	return string(runes)
}

// dialable is what would be dialled of a number as people and RFC 3966 write
// it: digits, with a "+" before them or not. An extension after it is left out.
func dialable(tel string) string {
	if scheme := "tel:"; len(tel) > len(scheme) && strings.EqualFold(tel[:len(scheme)], scheme) {
		tel = tel[len(scheme):]
	}
	var number strings.Builder
	for _, c := range tel {
		switch {
		case '0' <= c && c <= '9', c == '+' && number.Len() == 0:
			number.WriteRune(c)
		case strings.ContainsRune("-.()/\\", c), unicode.Is(unicode.Pd, c), unicode.IsSpace(c), unicode.Is(unicode.Cf, c):
		default:
			return number.String()
		}
	}
	return number.String()
}

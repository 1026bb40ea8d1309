package config

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

// document fills c from the file's text. It returns false when the text cannot
// be read at all.
func (d *decoder) document(text []byte, c *Config) bool {
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // the mark that some editors write before UTF-8
	if !utf8.Valid(text) {
		d.found = append(d.found, notUTF8(d.file, text))
		return false
	}
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey()) // which are found in their place
	if err != nil {
		d.found = append(d.found, notYAML(d.file, err))
		return false
	}
	d.at[""] = position{1, 1}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			d.value("", doc.Body, reflect.ValueOf(c).Elem(), field{})
		}
	}
	return true
}

// notUTF8 shows the first byte that is no UTF-8.
func notUTF8(file string, text []byte) Problem {
	good := 0
	for good < len(text) {
		r, size := utf8.DecodeRune(text[good:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		good += size
	}
	line := text[bytes.LastIndexByte(text[:good], '\n')+1 : good]
	return Problem{
		File: file, Line: 1 + bytes.Count(text[:good], []byte("\n")), Column: 1 + utf8.RuneCount(line),
		Text: "this is not UTF-8: save the file as UTF-8, without another character set",
	}
}

// hints say what the YAML parser's messages mean; the first that fits counts.
var hints = []struct{ message, hint string }{
	{"tab character", "a tab: indent with spaces"},
	{"found character '\t'", "a tab: indent with spaces"},
	{"non-map value is specified", `expected "key: value", with a space after the colon`},
	{"unexpected key name", `expected "key: value", with a space after the colon`},
	{"mapping value is not allowed", "the value seems to hold another key: put it in quotes, or mend the indent of the line below"},
	{"value is not allowed in this context", "this line's indent fits no line above"},
	{"sequence end token", "this [ has no ]"},
	{"',' or ']' must be specified", "the list above this has no ], or a comma is missing"},
	{"flow mapping end token", "this { has no }"},
	{"',' or '}' must be specified", "the settings above this have no }, or a comma is missing"},
	{"could not find end character", "this quote has no end"},
	{"reserved character", "put this value in quotes: YAML keeps its first character for itself"},
	{"unexpected directive value", "put this value in quotes: YAML keeps its first character for itself"},
}

func notYAML(file string, err error) Problem {
	p := Problem{File: file, Text: err.Error()}
	bad := (*yaml.SyntaxError)(nil)
	if !errors.As(err, &bad) {
		return p
	}
	p.Text = "this is not YAML: " + bad.Message
	for _, h := range hints {
		if strings.Contains(bad.Message, h.message) {
			p.Text = h.hint
			break
		}
	}
	if bad.Token != nil && bad.Token.Position != nil {
		p.Line, p.Column = bad.Token.Position.Line, bad.Token.Position.Column
	}
	return p
}

package config

import (
	"bytes"
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/afterbeep/afterbeep/delivery"
	"github.com/afterbeep/afterbeep/delivery/channel"
	"github.com/afterbeep/afterbeep/sip"
)

// Example is a commented configuration file, made from the types, that serves
// as it stands: calls from this machine, notes in the inbox.
func Example() []byte {
	c := Default()
	c.SIP.Trunks = []sip.Trunk{{
		Name: "pbx", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Country: "DE", Mailbox: "last",
	}}
	c.SIP.Limits = sip.Limits{} // its defaults depend on the machine
	c.Mailboxes = []Mailbox{{
		Number: "+4930123456", Name: "Reception", Language: "de", Timezone: "Europe/Berlin",
		Deliver: delivery.Chain{{Channel: Inbox}},
	}}
	w := writer{}
	w.line(0, "# Afterbeep. It serves as it stands: calls from this machine, notes in the inbox.")
	w.line(0, "# What is commented out may be left away; it shows the default, or an example.")
	w.line(0, "# Secrets are given inline, as ${ENV}, or in a file of their own by KEY_file.")
	w.line(0, "# Relative paths count from the folder of this file.")
	w.fields(0, reflect.ValueOf(&c).Elem())
	return w.Bytes()
}

// writer writes values as commented YAML.
type writer struct{ bytes.Buffer }

func (w *writer) line(depth int, format string, args ...any) {
	_, _ = fmt.Fprintf(w, "%s%s\n", strings.Repeat("  ", depth), fmt.Sprintf(format, args...))
}

func (w *writer) fields(depth int, v reflect.Value) {
	for _, f := range fieldsOf(v) {
		if depth == 0 {
			w.WriteByte('\n')
		}
		w.help(depth, f)
		w.field(depth, f)
	}
}

func (w *writer) help(depth int, f field) {
	if f.help == "" {
		return
	}
	w.line(depth, "# %s", f.help)
}

func (w *writer) field(depth int, f field) {
	v := f.value
	elem := v.Type()
	if elem.Kind() == reflect.Slice || elem.Kind() == reflect.Map {
		elem = elem.Elem()
	}
	switch {
	case elem == reflect.TypeFor[Channel]():
		w.line(depth, "%s:", f.name)
		w.channels(depth + 1)
	case isPart(v.Type()):
		w.line(depth, "%s:", f.name)
		w.fields(depth+1, v)
	case v.Kind() == reflect.Slice && isPart(elem) && v.Len() == 0:
		w.line(depth, "# %s:", f.name)
		w.absent(depth, elem)
	case v.Kind() == reflect.Slice && isPart(elem):
		w.line(depth, "%s:", f.name)
		for i := range v.Len() {
			w.item(depth+1, v.Index(i))
		}
	case v.IsZero() && v.Kind() != reflect.Bool:
		w.line(depth, "# %s: %s", f.name, sample(f))
	default:
		w.line(depth, "%s: %s", f.name, scalar(v))
	}
}

// item writes a struct as an element of a list.
func (w *writer) item(depth int, v reflect.Value) {
	inner := writer{}
	inner.fields(depth+1, v)
	text := inner.String()
	dash := strings.Repeat("  ", depth)
	w.line(depth, "-")
	w.Truncate(w.Len() - len("-\n") - len(dash))
	w.WriteString(dash + "- " + strings.TrimLeft(text, " "))
}

// absent writes an element that a list could have, commented out.
func (w *writer) absent(depth int, elem reflect.Type) {
	lead := "#   - "
	for _, f := range fieldsOf(reflect.New(elem).Elem()) {
		w.line(depth, "%s%s: %s  # %s", lead, f.name, sample(f), f.help)
		lead = "#     "
	}
}

// channels writes each type of the table, commented out: its settings have
// no value that would serve.
func (w *writer) channels(depth int) {
	table := channel.Table()
	types := channelTypes()
	slices.Sort(types)
	for _, name := range types {
		if name == Inbox {
			continue
		}
		options := table[name]()
		w.line(depth, "# my-%s:", name)
		w.line(depth, "#   type: %s", name)
		for _, f := range fieldsOf(reflect.ValueOf(options).Elem()) {
			if !f.hidden {
				w.line(depth, "#   %s: %s  # %s", f.name, sample(f), f.help)
			}
		}
	}
}

// isPart says that a type is a struct of settings, not a value written as text.
func isPart(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

// sample is what a setting without a value could be.
func sample(f field) string {
	switch {
	case f.example != "":
		return f.example
	case !f.value.IsZero():
		return scalar(f.value)
	case len(f.enum) > 0:
		return f.enum[0]
	case f.value.Kind() == reflect.Slice:
		return "[]"
	case f.value.Kind() == reflect.Pointer:
		return scalar(reflect.New(f.value.Type().Elem()).Elem())
	default:
		return scalar(f.value)
	}
}

func scalar(v reflect.Value) string {
	if span, ok := reflect.TypeAssert[time.Duration](v); ok {
		return shortDuration(span)
	}
	if t, ok := reflect.TypeAssert[encoding.TextMarshaler](v); ok {
		if text, err := t.MarshalText(); err == nil && len(text) > 0 {
			return string(text)
		}
		return `""`
	}
	switch v.Kind() {
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = scalar(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.String:
		if s := v.String(); plain(s) {
			return s
		}
		return fmt.Sprintf("%q", v.String())
	default:
		return fmt.Sprint(v.Interface())
	}
}

// plain says that a string needs no quotes in YAML; a number would.
func plain(s string) bool {
	return s != "" && strings.Trim(s[:1], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ./") == "" &&
		!strings.ContainsAny(s, "#:{}[],&*!|>'\"%@`")
}

// shortDuration writes 3m, not 3m0s, and 30d, not 720h0m0s.
func shortDuration(span time.Duration) string {
	if span > 0 && span%day == 0 {
		return strconv.Itoa(int(span/day)) + "d"
	}
	s := span.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

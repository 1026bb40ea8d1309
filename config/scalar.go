package config

import (
	"encoding"
	"errors"
	"io"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// one is the text of a single value.
func (d *decoder) one(key string, n ast.Node) (string, bool) {
	text, ok := scalarText(n)
	if !ok {
		d.problem(key, "expected one value, not %s", kindOf(n))
	}
	return text, ok
}

// text fills a type that reads itself. Its error says what was expected.
func (d *decoder) text(key string, n ast.Node, t encoding.TextUnmarshaler) {
	text, ok := d.one(key, n)
	if !ok {
		return
	}
	read := t.UnmarshalText
	switch t := t.(type) { // the standard library's own words do not say what was expected
	case *netip.Prefix:
		read = func(b []byte) error { return readNetwork(t, string(b)) }
	case *netip.Addr:
		read = expecting(t, "expected an IP address, like 192.0.2.1")
	case *netip.AddrPort:
		read = expecting(t, "expected an IP address and a port, like 127.0.0.1:8080")
	}
	if err := read([]byte(text)); err != nil {
		d.problem(key, "%v, not %q", err, text)
	}
}

func expecting(t encoding.TextUnmarshaler, expected string) func([]byte) error {
	return func(b []byte) error {
		if t.UnmarshalText(b) != nil {
			return errors.New(expected)
		}
		return nil
	}
}

// readNetwork reads CIDR, or one address, which is a network of one.
func readNetwork(p *netip.Prefix, text string) (err error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		*p = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		return nil
	}
	if *p, err = netip.ParsePrefix(text); err == nil {
		return nil
	}
	if strings.ContainsAny(strings.ToLower(text), "ghijklmnopqrstuvwxyz") { // no digits of IPv6
		return errors.New("host names are not resolved: expected an address or a network, like 192.0.2.7 or 192.0.2.0/24")
	}
	return errors.New("expected an address or a network, like 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")
}

// scalar fills strings, numbers, booleans and durations.
func (d *decoder) scalar(key string, n ast.Node, v reflect.Value, f field) {
	text, ok := d.one(key, n)
	if !ok {
		return
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		span, err := parseSpan(text)
		switch {
		case err != nil || span < 0:
			d.problem(key, "expected a time with its unit, like 10s, 3m, 1h30m or 30d, not %q", text)
		case span < f.least:
			d.problem(key, "expected %s or more, not %q", shortDuration(f.least), text)
		default:
			v.SetInt(int64(span))
		}
	case v.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			d.problem(key, "expected true or false, not %q", text)
		}
		v.SetBool(text == "true")
	case v.CanInt():
		number, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			d.problem(key, "expected a whole number, not %q", text)
		}
		v.SetInt(number)
	case v.Kind() == reflect.String:
		if f.path && text != "-" {
			text = absolute(d.dir, text)
		}
		if len(f.enum) > 0 && !slices.Contains(f.enum, text) {
			d.problem(key, "expected %s, not %q", strings.Join(f.enum, " or "), text)
		}
		v.SetString(text)
	default:
		d.problem(key, "a setting of type %s cannot be read from a file", v.Type())
	}
}

// secret fills a secret of the part at key: inline, as ${ENV}, or out of the
// file that NAME_file names. No mistake shows its text.
func (d *decoder) secret(key, name string, n ast.Node, f field) {
	n = d.resolve(n)
	given, own := join(key, name), join(key, f.name)
	if _, null := n.(*ast.NullNode); !null {
		d.at[given] = place(n)
	}
	d.at[own] = d.at[given]
	text, ok := scalarText(n)
	if !ok {
		d.problem(given, "expected one value")
		d.wrong[own] = true
		return
	}
	if d.getenv == nil {
		d.wrong[own] = true // nothing to be found out about
		return
	}
	read := d.fromFile
	if name == f.name {
		read = d.inline
	}
	text, problem := read(text, f.name)
	if problem != "" {
		d.problem(given, "%s", problem)
		d.wrong[own] = true
	}
	f.value.SetString(text)
}

// inline is a secret that stands in the file or in the environment.
func (d *decoder) inline(text, name string) (secret, problem string) {
	env, reference := strings.CutPrefix(text, "${")
	if !reference {
		return text, ""
	}
	env, closed := strings.CutSuffix(env, "}")
	if !closed {
		return "", "expected ${NAME}: the closing brace is missing; a value that does begin with ${ belongs in a file, see " + name + "_file"
	}
	switch secret, ok := d.getenv(env); {
	case !ok:
		return "", "the environment has no " + env + "; set it, or name a file with " + name + "_file"
	case secret == "":
		return "", env + " is empty in the environment"
	default:
		return secret, ""
	}
}

// fromFile is a secret that has a file of its own.
func (d *decoder) fromFile(path, _ string) (secret, problem string) {
	content, err := readSecret(absolute(d.dir, path))
	if err != nil {
		return "", "the file cannot be read: " + err.Error()
	}
	if secret = strings.TrimRight(string(content), "\r\n"); secret == "" {
		return "", "the file is empty"
	}
	return secret, ""
}

// readSecret reads a file that holds one secret; no more of it than any has.
func readSecret(path string) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, 64<<10))
}

const day = 24 * time.Hour

// parseSpan reads a time as time.ParseDuration does, and days: 30d, 1d12h.
func parseSpan(text string) (time.Duration, error) {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil || rest == "" {
		return time.Duration(n) * day, err
	}
	span, err := time.ParseDuration(rest)
	return time.Duration(n)*day + span, err
}

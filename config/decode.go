package config

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// decoder walks the file's syntax tree beside the types, so that one pass
// finds every mistake and knows where it stands.
type decoder struct {
	file, dir string
	getenv    func(string) (string, bool)
	anchors   map[string]ast.Node
	at        map[string]position // where each key's value stands
	found     FileErrors
}

// validator is a part that checks itself once it is filled.
type validator interface{ Validate() error }

// nodeDecoder is a type that reads its own part of the tree.
type nodeDecoder interface {
	decodeNode(d *decoder, key string, n ast.Node)
}

func (d *decoder) document(text []byte, c *Config) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		d.syntax(err)
		return
	}
	d.anchors = map[string]ast.Node{}
	d.at[""] = position{1, 1}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			d.value("", doc.Body, reflect.ValueOf(c).Elem(), field{})
		}
	}
}

func (d *decoder) syntax(err error) {
	p := Problem{File: d.file, Text: err.Error()}
	if bad := (*yaml.SyntaxError)(nil); errors.As(err, &bad) {
		p.Text = "this is not YAML: " + bad.Message
		if bad.Token != nil {
			p.Line, p.Column = bad.Token.Position.Line, bad.Token.Position.Column
		}
	}
	d.found = append(d.found, p)
}

// value fills v from the node.
func (d *decoder) value(key string, n ast.Node, v reflect.Value, f field) {
	n = d.resolve(n)
	d.at[key] = place(n)
	if _, null := n.(*ast.NullNode); null {
		if f.required {
			d.problem(key, "a value is missing here")
		}
		return
	}
	if v.CanAddr() {
		switch t := v.Addr().Interface().(type) {
		case nodeDecoder:
			t.decodeNode(d, key, n)
			return
		case encoding.TextUnmarshaler:
			d.text(key, n, t)
			return
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(key, n, v)
	case reflect.Slice:
		d.sequence(key, n, v)
	case reflect.Map:
		d.mapping(key, n, v)
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		d.value(key, n, p.Elem(), f)
		v.Set(p)
	default:
		d.scalar(key, n, v, f)
	}
}

// resolve follows anchors, aliases and tags to the value they stand for.
func (d *decoder) resolve(n ast.Node) ast.Node {
	for range 100 {
		switch t := n.(type) {
		case *ast.AnchorNode:
			d.anchors[t.Name.String()] = t.Value
			n = t.Value
		case *ast.AliasNode:
			value, ok := d.anchors[t.Value.String()]
			if !ok {
				return n
			}
			n = value
		case *ast.TagNode:
			n = t.Value
		default:
			return n
		}
	}
	return n
}

func (d *decoder) structure(key string, n ast.Node, v reflect.Value) {
	fields := fieldsOf(v)
	pairs, ok := pairsOf(n)
	if !ok {
		d.problem(key, "expected keys and values (%s), not %s", strings.Join(fields.names(), ", "), kindOf(n))
		return
	}
	seen := map[string]bool{}
	for _, pair := range pairs {
		name := pair.Key.GetToken().Value
		below := join(key, name)
		d.at[below] = place(pair.Key)
		f, ok := fields.find(name)
		switch {
		case ok && seen[f.name]:
			d.problem(below, "%s is given twice", f.name)
		case ok && f.secret:
			d.secret(below, name, pair.Value, f)
		case ok:
			d.value(below, pair.Value, f.value, f)
		default:
			d.problem(below, "unknown key%s", oneOf(name, fields.names()))
		}
		seen[f.name] = true
	}
	for _, f := range fields {
		if f.required && !seen[f.name] {
			d.problem(join(key, f.name), "%s is missing: %s", f.name, f.help)
		}
	}
	d.validate(key, v)
}

func (d *decoder) validate(key string, v reflect.Value) {
	if t, ok := reflect.TypeAssert[validator](v.Addr()); ok {
		if err := t.Validate(); err != nil {
			d.problem(key, "%v", err)
		}
	}
}

func (d *decoder) sequence(key string, n ast.Node, v reflect.Value) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		d.problem(key, "expected a list, like [a, b], not %s", kindOf(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values))
	for i, item := range list.Values {
		d.value(fmt.Sprintf("%s[%d]", key, i), item, out.Index(i), field{required: true})
	}
	v.Set(out)
}

func (d *decoder) mapping(key string, n ast.Node, v reflect.Value) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.problem(key, "expected names and their settings, not %s", kindOf(n))
		return
	}
	out := reflect.MakeMap(v.Type())
	for _, pair := range pairs {
		name := pair.Key.GetToken().Value
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(join(key, name), pair.Value, item, field{})
		out.SetMapIndex(reflect.ValueOf(name), item)
	}
	v.Set(out)
}

func (d *decoder) text(key string, n ast.Node, t encoding.TextUnmarshaler) {
	text, ok := d.one(key, n)
	if !ok {
		return
	}
	if p, ok := t.(*netip.Prefix); ok {
		if addr, err := netip.ParseAddr(text); err == nil { // one address is a network of one
			*p = netip.PrefixFrom(addr, addr.BitLen())
			return
		}
	}
	if err := t.UnmarshalText([]byte(text)); err != nil {
		d.problem(key, "%v", expectation(t, text, err))
	}
}

// scalar fills strings, numbers, booleans and durations.
func (d *decoder) scalar(key string, n ast.Node, v reflect.Value, f field) {
	text, ok := d.one(key, n)
	if !ok {
		return
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		span, err := time.ParseDuration(text)
		if err != nil || span < 0 {
			d.problem(key, "expected a time with its unit, like 10s, 3m or 1h30m, not %q", text)
			return
		}
		v.SetInt(int64(span))
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
			d.problem(key, "expected %s, not %q", strings.Join(f.enum, ", "), text)
		}
		v.SetString(text)
	default:
		d.problem(key, "a setting of type %s cannot be read from a file", v.Type())
	}
}

// secret fills a secret: inline, as ${ENV}, or out of the file that KEY_file names.
func (d *decoder) secret(key, name string, n ast.Node, f field) {
	n = d.resolve(n)
	d.at[key] = place(n)
	text, ok := d.one(key, n)
	if !ok {
		return
	}
	if name != f.name {
		content, err := readSecret(absolute(d.dir, text))
		if err != nil {
			d.problem(key, "the file cannot be read: %v", err)
		}
		f.value.SetString(strings.TrimRight(string(content), "\r\n"))
		return
	}
	if env, found := strings.CutPrefix(text, "${"); found && strings.HasSuffix(env, "}") {
		env = strings.TrimSuffix(env, "}")
		if text, ok = d.getenv(env); !ok {
			d.problem(key, "the environment has no %s; set it, or name a file with %s_file", env, f.name)
		}
	}
	f.value.SetString(text)
}

// readSecret reads a file that holds one secret; no more of it than any has.
func readSecret(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return io.ReadAll(io.LimitReader(file, 64<<10))
}

// one is the text of a single value.
func (d *decoder) one(key string, n ast.Node) (string, bool) {
	text, ok := scalarText(n)
	if !ok {
		d.problem(key, "expected one value, not %s", kindOf(n))
	}
	return text, ok
}

func place(n ast.Node) position {
	tk := n.GetToken()
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		tk = m.Values[0].Key.GetToken()
	}
	if tk == nil || tk.Position == nil {
		return position{}
	}
	return position{tk.Position.Line, tk.Position.Column}
}

func pairsOf(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch t := n.(type) {
	case *ast.MappingNode:
		return t.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{t}, true
	default:
		return nil, false
	}
}

// scalarText is a scalar as it is written: 0123 stays 0123, +49 stays +49.
func scalarText(n ast.Node) (string, bool) {
	switch t := n.(type) {
	case *ast.StringNode:
		return t.Value, true
	case *ast.LiteralNode:
		return t.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return t.GetToken().Value, true
	default:
		return "", false
	}
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys and values"
	case *ast.AliasNode:
		return "an alias that stands for nothing"
	default:
		if tk := n.GetToken(); tk != nil && tk.Type != token.UnknownType {
			return strconv.Quote(tk.Value)
		}
		return "this"
	}
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

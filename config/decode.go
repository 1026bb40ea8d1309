package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// decoder walks the file's syntax tree beside the types, so that one pass
// finds every mistake and knows where it stands.
type decoder struct {
	file, dir string
	getenv    func(string) (string, bool) // nil leaves secrets empty
	anchors   map[string]ast.Node
	at        map[string]position // where each key's value stands
	empty     map[string]bool     // keys without a value, which are as if they were left out
	wrong     map[string]bool     // keys whose mistake is known
	zones     map[string]bool     // names of time zones, and whether there is such a one
	found     FileErrors
}

// newDecoder reads what mistakes call file.
func newDecoder(file string) decoder {
	return decoder{file: file, anchors: map[string]ast.Node{}, at: map[string]position{}, empty: map[string]bool{}, wrong: map[string]bool{}}
}

// validator is a part that checks itself once it is filled: its error joins
// all mistakes, each a settingError.
type validator interface{ Validate() error }

// settingError is a mistake in one setting of a part.
type settingError interface {
	error
	Setting() (key, expected string)
}

// nodeDecoder is a type that reads its own part of the tree.
type nodeDecoder interface {
	decodeNode(d *decoder, key string, n ast.Node)
}

// value fills v from the node.
func (d *decoder) value(key string, n ast.Node, v reflect.Value, f field) {
	n = d.resolve(n)
	if _, named := d.at[key]; !named || !below(n) { // the key's own line says more than the one below it
		d.at[key] = place(n)
	}
	if _, null := n.(*ast.NullNode); null {
		d.empty[key] = true
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
		d.sequence(key, n, v, f)
	case reflect.Map:
		d.mapping(key, n, v, f)
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
		own := join(key, name)
		if _, twice := d.at[own]; !twice {
			d.at[own] = place(pair.Key)
		}
		f, ok := fields.find(name)
		switch {
		case ok && seen[f.name]:
			d.twice(own, f.name, pair)
		case ok && f.secret && f.value.Kind() == reflect.String:
			d.secret(key, name, pair.Value, f)
		case ok:
			d.value(own, pair.Value, f.value, f)
		default:
			d.problem(own, "unknown key%s", oneOf(name, fields.names()))
			if meant, ok := fields.find(nearest(name, fields.names())); ok {
				d.wrong[join(key, meant.name)] = true // that it is missing is no second mistake
			}
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

// twice is a key that stands a second time.
func (d *decoder) twice(key, name string, pair *ast.MappingValueNode) {
	d.at[key] = place(pair.Key)
	delete(d.wrong, key) // whatever else is wrong with it
	d.problem(key, "%s is given twice", name)
}

func (d *decoder) validate(key string, v reflect.Value) {
	t, ok := reflect.TypeAssert[validator](v.Addr())
	if !ok {
		return
	}
	err := t.Validate()
	each := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		each = joined.Unwrap()
	}
	for _, err := range each {
		var s settingError
		switch {
		case errors.As(err, &s):
			setting, expected := s.Setting()
			d.problem(join(key, setting), "%s", expected)
		case err != nil:
			d.problem(key, "%v", err)
		}
	}
}

// sequence fills a list; a single value is a list of one.
func (d *decoder) sequence(key string, n ast.Node, v reflect.Value, f field) {
	items := []ast.Node{n}
	if list, ok := n.(*ast.SequenceNode); ok {
		items = list.Values
	} else if _, single := scalarText(n); isPart(v.Type().Elem()) {
		d.problem(key, `expected a list, each entry beginning with "- ", not %s`, kindOf(n))
		return
	} else if !single {
		d.problem(key, "expected a list, like [a, b], not %s", kindOf(n))
		return
	}
	if f.required && len(items) == 0 {
		d.problem(key, "expected one entry or more")
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.value(fmt.Sprintf("%s[%d]", key, i), item, out.Index(i), field{required: true})
	}
	v.Set(out)
}

// mapping fills a map. Each value of a secret one is given as a secret is:
// inline, as ${ENV}, or out of the file that NAME_file names.
func (d *decoder) mapping(key string, n ast.Node, v reflect.Value, f field) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.problem(key, "expected names and their settings, not %s", kindOf(n))
		return
	}
	if f.secret && d.getenv == nil {
		d.wrong[key] = true // nothing to be found out about
	}
	out := reflect.MakeMap(v.Type())
	for _, pair := range pairs {
		name := pair.Key.GetToken().Value
		own := join(key, name)
		if _, twice := d.at[own]; twice {
			d.twice(own, name, pair)
			continue
		}
		d.at[own] = place(pair.Key)
		item := reflect.New(v.Type().Elem()).Elem()
		if f.secret {
			given := name
			name = strings.TrimSuffix(name, "_file")
			d.secret(key, given, pair.Value, field{name: name, value: item})
		} else {
			d.value(own, pair.Value, item, field{})
		}
		out.SetMapIndex(reflect.ValueOf(name), item)
	}
	v.Set(out)
}

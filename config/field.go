package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
)

// field is one setting of a part, as its tags describe it.
type field struct {
	name, help, example    string
	enum                   []string
	required, secret, path bool
	value                  reflect.Value
}

type fields []field

// fieldsOf lists the settings of a struct, those of embedded structs among them.
func fieldsOf(v reflect.Value) fields {
	var all fields
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		name := sf.Tag.Get("yaml")
		switch {
		case sf.Anonymous && sf.Type.Kind() == reflect.Struct:
			all = append(all, fieldsOf(v.Field(i))...)
		case name != "" && name != "-":
			f := field{
				name: name, help: sf.Tag.Get("help"), example: sf.Tag.Get("example"), value: v.Field(i),
				required: sf.Tag.Get("required") == "true",
				secret:   sf.Tag.Get("secret") == "true",
				path:     sf.Tag.Get("path") == "true",
			}
			if enum := sf.Tag.Get("enum"); enum != "" {
				f.enum = strings.Split(enum, "|")
			}
			all = append(all, f)
		}
	}
	return all
}

// find looks a key up; a secret also answers to KEY_file.
func (fs fields) find(name string) (field, bool) {
	for _, f := range fs {
		if f.name == name || (f.secret && f.name+"_file" == name) {
			return f, true
		}
	}
	return field{}, false
}

func (fs fields) names() []string {
	var names []string
	for _, f := range fs {
		names = append(names, f.name)
		if f.secret {
			names = append(names, f.name+"_file")
		}
	}
	return names
}

// expectation says what a text should have been; the standard library's own
// words do not.
func expectation(t encoding.TextUnmarshaler, text string, err error) error {
	switch t.(type) {
	case *netip.Addr:
		return fmt.Errorf("expected an IP address, like 192.0.2.1, not %q", text)
	case *netip.AddrPort:
		return fmt.Errorf("expected an IP address and a port, like 127.0.0.1:8080, not %q", text)
	case *netip.Prefix:
		return fmt.Errorf("expected a network, like 192.0.2.0/24 or 2001:db8::/32, or one address with /32, not %q", text)
	default:
		return err
	}
}

package config

import (
	"reflect"
	"slices"
	"strings"
	"time"
)

// field is one setting of a part, as its tags describe it.
type field struct {
	name, help, example    string
	enum                   []string
	required, secret, path bool
	hidden                 bool
	least                  time.Duration
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
			inner := fieldsOf(v.Field(i))
			for j := range inner {
				inner[j].hidden = slices.Contains(strings.Split(sf.Tag.Get("hidden"), "|"), inner[j].name)
			}
			all = append(all, inner...)
		case name != "" && name != "-":
			f := field{
				name: name, help: sf.Tag.Get("help"), example: sf.Tag.Get("example"), value: v.Field(i),
				required: sf.Tag.Get("required") == "true",
				secret:   sf.Tag.Get("secret") == "true",
				path:     sf.Tag.Get("path") == "true",
			}
			f.least, _ = time.ParseDuration(sf.Tag.Get("least"))
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

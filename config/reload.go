package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// NeedsRestart names the keys of the file that differ in next, and that only a
// restart brings into effect.
func (c *Config) NeedsRestart(next *Config) (keys []string) {
	reloadable := []string{"retention", "contacts", "mailboxes", "directory", "log.level", "sip.trunks", "sip.limits"}
	now, then := *c, *next
	now.Store.Wait, then.Store.Wait = 0, 0 // no setting of the file
	for _, key := range differing(reflect.ValueOf(&now).Elem(), reflect.ValueOf(&then).Elem(), "") {
		part, _, _ := strings.Cut(key, ".")
		if !slices.Contains(reloadable, part) && !slices.Contains(reloadable, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// differing names the keys, down to those of a part, of which a and b have other
// values.
func differing(a, b reflect.Value, part string) (keys []string) {
	ours, theirs := fieldsOf(a), fieldsOf(b)
	for i, f := range ours {
		switch {
		case reflect.DeepEqual(f.value.Interface(), theirs[i].value.Interface()):
		case part == "" && f.value.Kind() == reflect.Struct:
			keys = append(keys, differing(f.value, theirs[i].value, f.name+".")...)
		default:
			keys = append(keys, part+f.name)
		}
	}
	return keys
}

// CheckTargets says which mailboxes of the file deliver to no channel of it:
// it was put together out of two.
func (c *Config) CheckTargets() error {
	d := newDecoder("the running gateway")
	for i := range c.Mailboxes {
		d.checkTargets(c, fmt.Sprintf("mailboxes[%d]", i), &c.Mailboxes[i])
	}
	return d.problems()
}

package config

import (
	"fmt"
	"reflect"
	"slices"
)

// NeedsRestart names the keys of the file that differ in next, and that only a
// restart brings into effect.
func (c *Config) NeedsRestart(next *Config) (keys []string) {
	reloadable := []string{"retention", "contacts", "mailboxes", "directory"}
	now, then := *c, *next
	now.Log.Level, then.Log.Level = "", "" // counts at once
	now.Store.Wait, then.Store.Wait = 0, 0 // no setting of the file
	a, b := fieldsOf(reflect.ValueOf(&now).Elem()), fieldsOf(reflect.ValueOf(&then).Elem())
	for i := range a {
		if !slices.Contains(reloadable, a[i].name) && !reflect.DeepEqual(a[i].value.Interface(), b[i].value.Interface()) {
			keys = append(keys, a[i].name)
		}
	}
	return keys
}

// CheckTargets says which mailboxes of the file deliver to no channel of it:
// it was put together out of two.
func (c *Config) CheckTargets() error {
	d := decoder{file: "the running gateway", at: map[string]position{}, wrong: map[string]bool{}}
	for i := range c.Mailboxes {
		d.checkTargets(c, fmt.Sprintf("mailboxes[%d]", i), &c.Mailboxes[i])
	}
	return d.problems()
}

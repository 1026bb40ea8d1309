package config

import (
	"reflect"

	"github.com/goccy/go-yaml/ast"

	"github.com/afterbeep/afterbeep/delivery/channel"
)

// Channel is one chat service: its type, and the options that the type asks for.
type Channel struct {
	Type    string
	Options channel.Options
}

// decodeNode reads `type`, and the rest into the options of that type.
func (c *Channel) decodeNode(d *decoder, key string, n ast.Node) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.problem(key, "expected settings, like {type: webhook, url: …}")
		return
	}
	rest := make([]*ast.MappingValueNode, 0, len(pairs))
	for _, pair := range pairs {
		if pair.Key.GetToken().Value == "type" {
			if c.Type != "" {
				d.twice(join(key, "type"), "type", pair)
				continue
			}
			d.value(join(key, "type"), pair.Value, reflect.ValueOf(&c.Type).Elem(), field{required: true})
			continue
		}
		rest = append(rest, pair)
	}
	types := channelTypes()
	create, known := channel.Table()[c.Type]
	switch {
	case c.Type == "":
		d.problem(key, "type is missing%s", oneOf("", types))
		return
	case !known:
		d.problem(join(key, "type"), "there is no channel type %q%s", c.Type, oneOf(c.Type, types))
		return
	}
	c.Options = create()
	d.structure(key, &ast.MappingNode{Start: n.GetToken(), Values: rest}, reflect.ValueOf(c.Options).Elem())
}

func channelTypes() []string {
	var types []string
	for name := range channel.Table() {
		types = append(types, name)
	}
	return types
}

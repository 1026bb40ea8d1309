package config

import (
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// place is where a value stands.
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

// below says that a value stands in the lines below its key.
func below(n ast.Node) bool {
	switch t := n.(type) {
	case *ast.MappingNode:
		return !t.IsFlowStyle
	case *ast.SequenceNode:
		return !t.IsFlowStyle
	case *ast.MappingValueNode, *ast.NullNode:
		return true
	default:
		return false
	}
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

package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// short are the variables that have a name of their own. WAYBILL_CONFIG is a flag's.
var short = map[string]string{
	"WAYBILL_LISTEN": "listen",
	"WAYBILL_SOURCE": "sources.default.url",
	"WAYBILL_SINK":   "sinks.default.url",
}

// overlayEnv sets what the environment says: the short variables, and WAYBILL_ with a path in which __ stands for the dot.
// Other WAYBILL_ variables are not ours: Kubernetes makes some for a service of that name.
func (d *decoder) overlayEnv(env map[string]string) {
	hadRelays := child(d.root, "relays") != nil
	for _, variable := range sorted(env) {
		path := short[variable]
		if rest, ok := strings.CutPrefix(variable, "WAYBILL_"); path == "" && ok && strings.Contains(rest, "__") {
			path = strings.ToLower(strings.ReplaceAll(rest, "__", "."))
		} else if path == "" && ok && rest != "CONFIG" {
			if c := closest(variable, sorted(short)); c != "" && distance(variable, c) <= 2 {
				d.warn = append(d.warn, fmt.Sprintf("the environment variable %s means nothing (did you mean %s?)", variable, c))
			}
		}
		if path != "" && env[variable] != "" {
			d.overlay(strings.Split(path, "."), env[variable], variable)
		}
	}
	if env["WAYBILL_SOURCE"] == "" || env["WAYBILL_SINK"] == "" {
		return
	}
	if hadRelays {
		d.warn = append(d.warn, "WAYBILL_SOURCE and WAYBILL_SINK make no relay, because "+d.file+" has relays; they are source and sink \"default\"")
		return
	}
	d.overlay([]string{"relays", "default", "source"}, "default", "WAYBILL_SOURCE")
	d.overlay([]string{"relays", "default", "sink"}, "default", "WAYBILL_SINK")
}

// overlay sets the value at path, as if the file said so.
func (d *decoder) overlay(path []string, value, from string) {
	n := d.root
	for i, segment := range path {
		for n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if n.Kind != yaml.MappingNode {
			return // the decoder reports it
		}
		next := child(n, segment)
		if next == nil {
			k := &yaml.Node{Kind: yaml.ScalarNode, Value: segment}
			next = &yaml.Node{Kind: yaml.MappingNode}
			d.where[k], d.where[next] = from, from
			n.Content = append(n.Content, k, next)
		}
		if next.Kind == yaml.ScalarNode && next.Tag == "!!null" {
			*next = yaml.Node{Kind: yaml.MappingNode, Line: next.Line}
		}
		if i == len(path)-1 {
			*next = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
			d.where[next] = from
		}
		n = next
	}
}

// child finds a key in a mapping; a variable's name cannot say more than letters, digits and _.
func child(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if plain.Replace(strings.ToLower(n.Content[i].Value)) == plain.Replace(strings.ToLower(key)) {
			return n.Content[i+1]
		}
	}
	return nil
}

var plain = strings.NewReplacer("-", "_", ".", "_")

package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
	"github.com/waybillhq/waybill/cmd/waybill/internal/redact"
)

// decoder fills a Config from a YAML tree and collects every fault with its line.
type decoder struct {
	root   *yaml.Node
	file   string
	getenv func(string) (string, bool)
	where  map[*yaml.Node]string // for nodes that no file line made: "flag --listen", "WAYBILL_SINK"
	origin map[string]string
	faults fault.List
	warn   []string
}

func (d *decoder) at(n *yaml.Node) string {
	if w, ok := d.where[n]; ok {
		return w
	}
	return fmt.Sprintf("%s:%d", d.file, n.Line)
}

func (d *decoder) fault(code string, n *yaml.Node, format string, args ...any) {
	d.faults = append(d.faults, &fault.Error{Code: code, Where: d.at(n), What: fmt.Sprintf(format, args...), Exit: fault.Usage})
}

// decode fills v from n. path is the dotted name of v.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch v.Interface().(type) {
	case redact.Secret, Bytes, time.Duration:
		d.scalar(n, v, path, tag)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Map:
		d.names(n, v, path, tag)
	case reflect.Slice:
		d.list(n, v, path)
	default:
		d.scalar(n, v, path, tag)
	}
}

// pairs returns the keys and values of a mapping; keys given twice are faults.
func (d *decoder) pairs(n *yaml.Node, path string) (keys []*yaml.Node, values map[string]*yaml.Node) {
	values = map[string]*yaml.Node{}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil, values
	}
	if n.Kind != yaml.MappingNode {
		d.fault("WB4503", n, "%s: want keys with values, got %s", name(path), kind(n))
		return nil, values
	}
	lines := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if first, twice := lines[k.Value]; twice {
			d.fault("WB4504", k, "%q stands twice in %s (first at %s)", k.Value, name(path), first)
			continue
		}
		lines[k.Value] = d.at(k)
		values[k.Value] = n.Content[i+1]
		keys = append(keys, k)
	}
	return keys, values
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	keys, values := d.pairs(n, path)
	if s, ok := v.Addr().Interface().(*Sink); ok {
		s.choose(d.peek(values["url"]))
	}
	var known []string
	for f := range fields(v) {
		known = append(known, key(f))
	}
	for _, k := range keys {
		if others := otherKinds(v, k.Value); !slices.Contains(known, k.Value) && (len(others) == 0 || chosen(v) != "") {
			d.fault("WB4502", k, "unknown key %q in %s%s%s", k.Value, name(path), ofOthers(v, others), didYouMean(k.Value, known))
		}
	}
	for f := range fields(v) {
		child := join(path, key(f))
		if value, ok := values[key(f)]; ok && value.Tag != "!!null" {
			d.decode(value, v.FieldByIndex(f.Index), child, f.Tag)
		} else if f.Tag.Get("required") != "" {
			d.fault("WB4505", n, "%s is required", child)
		}
	}
}

func (d *decoder) names(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	keys, values := d.pairs(n, path)
	v.Set(reflect.MakeMap(v.Type()))
	for _, k := range keys {
		if v.Type().Elem().Kind() == reflect.Struct && !isName(k.Value) {
			d.fault("WB4503", k, "%s: the name %q may have only letters, digits and . _ -, and at most 63 of them", name(path), k.Value)
			continue
		}
		element := reflect.New(v.Type().Elem()).Elem()
		d.decode(values[k.Value], element, join(path, k.Value), tag)
		v.SetMapIndex(reflect.ValueOf(k.Value), element)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	d.origin[path] = d.at(n)
	if n.Kind != yaml.SequenceNode {
		if _, outside := d.where[n]; !outside || n.Kind != yaml.ScalarNode {
			d.fault("WB4503", n, "%s: want a list, got %s", path, kind(n))
			return
		}
		// A flag or a variable has no lists: commas make one.
		parts := &yaml.Node{Kind: yaml.SequenceNode}
		for text := range strings.SplitSeq(n.Value, ",") {
			part := &yaml.Node{Kind: yaml.ScalarNode, Value: strings.TrimSpace(text)}
			d.where[part] = d.where[n]
			parts.Content = append(parts.Content, part)
		}
		n = parts
	}
	for i, item := range n.Content {
		element := reflect.New(v.Type().Elem()).Elem()
		d.decode(item, element, fmt.Sprintf("%s[%d]", path, i), "")
		v.Set(reflect.Append(v, element))
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	if n.Kind != yaml.ScalarNode {
		d.fault("WB4503", n, "%s: want one value, got %s", path, kind(n))
		return
	}
	text, err := expand(n.Value, d.getenv)
	if err != nil {
		d.fault("WB4506", n, "%s: %v", path, err)
		return
	}
	d.origin[path] = d.at(n)
	shown := fmt.Sprintf("%q", n.Value) // never the value of a reference
	if err := set(v, text, tag); err != nil {
		d.fault("WB4503", n, "%s: %v, got %s", path, err, shown)
	}
	isPlain := redact.Plain(n.Value) || tag.Get("secret") != "" && !strings.Contains(n.Value, "${")
	if _, outside := d.where[n]; !outside && isPlain {
		d.warn = append(d.warn, fmt.Sprintf("%s: %s has a password in plain text; write ${env:NAME} or ${file:/path} instead", d.at(n), path))
	}
}

// set parses text into v.
func set(v reflect.Value, text string, tag reflect.StructTag) (err error) {
	switch v.Interface().(type) {
	case redact.Secret:
		if text == "" && tag.Get("required") != "" {
			return fmt.Errorf("must not be empty")
		}
		secret := redact.NewSecret(text)
		if tag.Get("secret") != "" {
			secret = redact.NewPassword(text)
		}
		v.Set(reflect.ValueOf(secret))
		return nil
	case Bytes:
		var b Bytes
		if b, err = parseBytes(text); err != nil {
			return err
		}
		v.SetInt(int64(b))
	case time.Duration:
		var t time.Duration
		if t, err = parseDuration(text); err != nil {
			return err
		}
		v.SetInt(int64(t))
	case bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("want true or false")
		}
		v.SetBool(text == "true")
	case int:
		i, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("want a whole number")
		}
		v.SetInt(int64(i))
	default:
		v.SetString(text)
	}
	if later := tag.Get("later"); later != "" && slices.Contains(strings.Split(later, ","), text) {
		return fmt.Errorf("%s is not part of this version, want one of %s", text, strings.ReplaceAll(tag.Get("enum"), ",", ", "))
	}
	if enum := tag.Get("enum"); enum != "" && !slices.Contains(strings.Split(enum, ","), text) {
		return fmt.Errorf("want one of %s", strings.ReplaceAll(enum, ",", ", "))
	}
	if tag.Get("min") == "1" && v.Int() < 1 {
		return fmt.Errorf("must be above 0")
	}
	return nil
}

// kind says what a node is without saying what is in it.
func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	}
	return "one value"
}

func key(f reflect.StructField) string { return f.Tag.Get("yaml") }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func name(path string) string {
	if path == "" {
		return "the configuration"
	}
	return path
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/waybillhq/waybill/cmd/waybill/internal/redact"
)

// Entry is one effective value and where it comes from.
type Entry struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

// Entries lists every value in force, by name, without secrets.
func (c *Config) Entries() []Entry {
	var out []Entry
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		switch {
		case v.Kind() == reflect.Map:
			for _, k := range sortedKeys(v) {
				walk(v.MapIndex(reflect.ValueOf(k)), join(path, k))
			}
		case v.Kind() == reflect.Struct && v.NumField() > 0 && v.Type().Field(0).IsExported():
			for f := range fields(v) {
				value, child := v.FieldByIndex(f.Index), join(path, key(f))
				if value.IsZero() && f.Tag.Get("default") == "" && c.Origin(child) == "default" {
					continue // not set, and means nothing
				}
				walk(value, child)
			}
		case v.Kind() == reflect.Slice:
			var items []string
			for i := range v.Len() {
				items = append(items, fmt.Sprint(v.Index(i)))
			}
			out = append(out, Entry{path, strings.Join(items, ","), c.Origin(path)})
		default:
			out = append(out, Entry{path, fmt.Sprint(v), c.Origin(path)})
		}
	}
	walk(reflect.ValueOf(*c), "")
	return out
}

// Secrets are the values that may hold one.
func (c *Config) Secrets() (all []redact.Secret) {
	collect := func(v reflect.Value) {
		for f := range fields(v) {
			if s, ok := v.FieldByIndex(f.Index).Interface().(redact.Secret); ok {
				all = append(all, s)
			}
		}
	}
	for _, s := range c.Sources {
		collect(reflect.ValueOf(s))
	}
	for _, s := range c.Sinks {
		collect(reflect.ValueOf(s))
	}
	return all
}

func sortedKeys(v reflect.Value) []string {
	names := map[string]bool{}
	for _, k := range v.MapKeys() {
		names[k.String()] = true
	}
	return sorted(names)
}

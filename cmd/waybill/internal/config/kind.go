package config

import (
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fields are the keys of a struct. Those of a struct with schemes stand beside the others, if the URL chose it.
func fields(v reflect.Value) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for f := range v.Type().Fields() {
			if !f.IsExported() || key(f) == "-" {
				continue
			}
			if f.Tag.Get("schemes") == "" {
				if !yield(f) {
					return
				}
			} else if f.Name == chosen(v) {
				for inner := range f.Type.Fields() {
					inner.Index = slices.Concat(f.Index, inner.Index)
					if !yield(inner) {
						return
					}
				}
			}
		}
	}
}

func chosen(v reflect.Value) string {
	if s, ok := v.Interface().(Sink); ok {
		return s.kind
	}
	return ""
}

// choose finds the kind of sink that a URL means.
func (s *Sink) choose(url string) {
	scheme, _, _ := strings.Cut(strings.ToLower(url), ":")
	for f := range reflect.TypeFor[Sink]().Fields() {
		if slices.Contains(strings.Split(f.Tag.Get("schemes"), ","), scheme) && scheme != "" {
			s.kind = f.Name
		}
	}
}

// SinkSchemes are the beginnings of URLs that a sink may have.
func SinkSchemes() (all []string) {
	for f := range reflect.TypeFor[Sink]().Fields() {
		if schemes := f.Tag.Get("schemes"); schemes != "" {
			all = append(all, urls(schemes)...)
		}
	}
	return all
}

func urls(schemes string) (all []string) {
	for scheme := range strings.SplitSeq(schemes, ",") {
		all = append(all, scheme+"://")
	}
	return all
}

// peek is the value of n, if it has one; whether it may is seen elsewhere.
func (d *decoder) peek(n *yaml.Node) string {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	text, _ := expand(n.Value, d.getenv)
	return text
}

// otherKinds are the fields of the kinds that v is not and that have such a key.
func otherKinds(v reflect.Value, name string) (others []reflect.StructField) {
	for f := range v.Type().Fields() {
		if f.Tag.Get("schemes") == "" || f.Name == chosen(v) {
			continue
		}
		for inner := range f.Type.Fields() {
			if key(inner) == name {
				others = append(others, f)
			}
		}
	}
	return others
}

// ofOthers explains a key that only other kinds have.
func ofOthers(v reflect.Value, others []reflect.StructField) string {
	if len(others) == 0 {
		return ""
	}
	var have []string
	for _, f := range others {
		have = append(have, urls(f.Tag.Get("schemes"))...)
	}
	return fmt.Sprintf(", which is a %s sink: only %s have it", chosen(v), strings.Join(have, " and "))
}

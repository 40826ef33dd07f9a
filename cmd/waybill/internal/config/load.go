package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/waybillhq/waybill/cmd/waybill/internal/fault"
)

// DefaultFile is read when it exists and no other is named.
const DefaultFile = "waybill.yaml"

// Input is where a configuration comes from.
type Input struct {
	File  string            // Defaults to DefaultFile if that exists
	Env   []string          // as os.Environ returns it
	Flags map[string]string // path → value, for the flags that were given; each is named --<path>
	// Check looks at one source or sink for faults that only the opener can see, such as an unknown scheme.
	Check func(kind, name string, c *Config) error
}

// Load returns the configuration, or every fault in it.
func Load(in Input) (*Config, error) {
	env := map[string]string{}
	for _, pair := range in.Env {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	getenv := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	d := &decoder{getenv: getenv, where: map[*yaml.Node]string{}, origin: map[string]string{}}
	if err := d.read(in.File); err != nil {
		return nil, err
	}
	d.overlayEnv(env)
	for _, path := range sorted(in.Flags) {
		d.overlay(strings.Split(path, "."), in.Flags[path], "flag --"+path)
	}
	cfg := &Config{File: d.file}
	v := reflect.ValueOf(cfg).Elem()
	d.decode(d.root, v, "", "")
	d.defaults(v, "")
	cfg.origin = d.origin
	d.check(cfg, in.Check)
	cfg.Warnings = d.warn
	return cfg, d.faults.Err()
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))$`)

// read parses the file into d.root, an empty mapping when there is none.
func (d *decoder) read(file string) error {
	named := file != ""
	if !named {
		file = DefaultFile
	}
	d.root = &yaml.Node{Kind: yaml.MappingNode, Line: 1}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && !named {
		d.where[d.root] = "the environment"
		return nil
	}
	d.file = file
	if err != nil {
		return &fault.Error{Code: "WB4501", What: "cannot read the configuration", Why: err, Try: "waybill init, or --config with the right path", Exit: fault.Usage}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, more yaml.Node
	err = decoder.Decode(&document)
	if err == nil {
		if err = decoder.Decode(&more); err == nil {
			err = fmt.Errorf("yaml: line %d: a second document begins, and a configuration is one", more.Line)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		e := &fault.Error{Code: "WB4501", Where: file, What: err.Error(), Exit: fault.Usage}
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			e.What = "not YAML: " + m[2]
			if m[1] != "" {
				e.Where += ":" + m[1]
			}
		}
		return e
	}
	if len(document.Content) > 0 && document.Content[0].Tag != "!!null" {
		d.root = document.Content[0]
	}
	return nil
}

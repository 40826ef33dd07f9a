package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// reference is ${env:NAME} or ${file:/path}; ${ followed by a word is one with a fault. Any other $ is a $.
var reference = regexp.MustCompile(`\$\{(\w+)(?::([^}]*))?\}`)

// expand replaces the references in text. It never shows a value in an error.
func expand(text string, getenv func(string) (string, bool)) (string, error) {
	var fault error
	out := reference.ReplaceAllStringFunc(text, func(ref string) string {
		m := reference.FindStringSubmatch(ref)
		switch kind, name := m[1], m[2]; {
		case kind == "env" && name != "":
			value, ok := getenv(name)
			if !ok {
				fault = fmt.Errorf("%s: the environment variable %s is not set", ref, name)
			}
			return value
		case kind == "file" && name != "":
			value, err := os.ReadFile(name)
			if err != nil {
				fault = fmt.Errorf("%s: %w", ref, err)
			}
			return strings.TrimRight(string(value), "\r\n")
		}
		fault = fmt.Errorf("%s is not a reference: write ${env:NAME} or ${file:/path}", ref)
		return ""
	})
	return out, fault
}

package config

import (
	"fmt"
	"slices"
	"strings"
)

// topics checks the patterns of a relay: printable ASCII as in a topic, and * for any run of characters.
func (d *decoder) topics(c *Config, path string, r Relay, add func(code, path, format string, args ...any)) {
	if c.origin[path] == "" {
		return
	}
	if c.Sources[r.Source].Mode == "flagged" {
		add("WB4508", path, "in mode flagged one relay owns the table: rows of other topics would never be marked, and be read again at every look; leave topics out, or use mode: cursor")
	}
	if len(r.Topics) == 0 {
		add("WB4503", path, "want at least one pattern; leave the key out for every topic")
	}
	for i, pattern := range r.Topics {
		at := fmt.Sprintf("%s[%d]", path, i)
		bad := strings.IndexFunc(pattern, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(">#+?", c) })
		switch {
		case pattern == "":
			add("WB4503", at, "must not be empty")
		case bad >= 0:
			add("WB4503", at, "%q: no topic has a %q; * stands for any run of characters, such as orders.*", pattern, []rune(pattern[bad:])[0])
		case slices.Index(r.Topics, pattern) < i:
			add("WB4504", at, "%q stands twice", pattern)
		}
	}
}

// takesAll tells whether the relay publishes every topic.
func (r Relay) takesAll() bool {
	return len(r.Topics) == 0 || slices.ContainsFunc(r.Topics, func(p string) bool { return strings.Trim(p, "*") == "" })
}

// warnOfGaps names the sources of which each relay takes some topics only.
func (d *decoder) warnOfGaps(c *Config) {
	for _, source := range sorted(c.Sources) {
		var some []string
		all := false
		for _, name := range sorted(c.Relays) {
			if r := c.Relays[name]; r.Source == source {
				some = append(some, name)
				all = all || r.takesAll()
			}
		}
		if all || len(some) == 0 {
			continue
		}
		text := fmt.Sprintf("no relay of source %q takes every topic: a message whose topic fits none of the patterns of %s is never published", source, strings.Join(some, ", "))
		if c.Sources[source].Retention.Age > 0 {
			text += ", and retention deletes it"
		}
		d.warn = append(d.warn, text+". waybill doctor compares them with the outbox")
	}
}

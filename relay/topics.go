package relay

import (
	"regexp"
	"strings"
)

// matcher returns a func that tells whether a topic fits one of the patterns. In a pattern * stands for any run of characters;
// no patterns fit every topic.
func matcher(patterns []string) func(topic string) bool {
	if len(patterns) == 0 {
		return func(string) bool { return true }
	}
	alternatives := make([]string, len(patterns))
	for i, p := range patterns {
		alternatives[i] = strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, `.*`)
	}
	return regexp.MustCompile(`^(?s:` + strings.Join(alternatives, "|") + `)$`).MatchString
}

package relay

import (
	"regexp"
	"strings"
)

// TopicMatcher returns a func that tells which topics a relay with such [Config.Topics] publishes: those that fit one of the
// patterns, where * stands for any run of characters. No patterns fit every topic.
func TopicMatcher(patterns []string) func(topic string) bool {
	if len(patterns) == 0 {
		return func(string) bool { return true }
	}
	alternatives := make([]string, len(patterns))
	for i, p := range patterns {
		alternatives[i] = strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, `.*`)
	}
	return regexp.MustCompile(`^(?s:` + strings.Join(alternatives, "|") + `)$`).MatchString
}

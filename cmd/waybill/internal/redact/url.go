// Package redact keeps secrets out of everything the command prints.
package redact

import (
	"regexp"
	"strings"
)

const mask = "***"

var (
	scheme = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://`)
	// pair finds name=value where the name says that the value is secret: in a query, or in a driver's text.
	pair = regexp.MustCompile(`(?i)\b([a-z_]*(?:password|passwd|passphrase|pwd|secret|token))=([^\s&'",;]+)`)
)

// Text returns text with the password of every URL in it masked.
func Text(text string) string { return redact(text, " \t\r\n\"`") }

// redact masks by eye and not by url.Parse, because what is too wrong to parse must not leak either. A URL in text ends
// at one of the characters in ends.
func redact(text, ends string) string {
	var b strings.Builder
	last := 0
	for _, s := range find(text, ends) {
		b.WriteString(text[last:s.from] + mask)
		last = s.to
	}
	b.WriteString(text[last:])
	return pair.ReplaceAllString(b.String(), "$1="+mask)
}

type span struct{ from, to int }

// find returns where the URLs in text keep their secrets: behind the first colon of the user information, or in a NATS URL
// without one the whole of it, a token. The last @ ends it, so that a password with a raw @ or / is covered too.
func find(text, ends string) (secrets []span) {
	starts := scheme.FindAllStringIndex(text, -1)
	for i, at := range starts {
		rest := text[at[1]:]
		if i+1 < len(starts) {
			rest = text[at[1]:starts[i+1][0]]
		}
		if j := strings.IndexAny(rest, ends); j >= 0 {
			rest = rest[:j]
		}
		to := strings.LastIndexByte(rest, '@')
		from := strings.IndexByte(rest[:max(to, 0)], ':') + 1
		if from == 0 && !isNATS(text[at[0]:at[1]-3]) {
			continue
		}
		if from < to {
			secrets = append(secrets, span{at[1] + from, at[1] + to})
		}
	}
	return secrets
}

func isNATS(scheme string) bool {
	switch strings.ToLower(scheme) {
	case "nats", "tls", "ws", "wss":
		return true
	}
	return false
}

// Plain tells whether a URL of the configuration has a secret in it that is no reference.
func Plain(raw string) bool {
	for _, secret := range secretsIn(raw) {
		if !strings.HasPrefix(secret, "${") {
			return true
		}
	}
	return false
}

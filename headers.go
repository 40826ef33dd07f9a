package waybill

import (
	"encoding/json"
	"fmt"
	"strings"
)

// EncodeHeaders returns the form in which the outbox stores headers: a JSON array of pairs, [["name","value"],...],
// because a JSON object may lose their order. No headers are the empty string. Names and values must be valid UTF-8.
func EncodeHeaders(headers []Header) string {
	if len(headers) == 0 {
		return ""
	}
	buf := []byte{'['}
	for i, h := range headers {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(appendJSON(append(buf, '['), h.Name), ',')
		buf = append(appendJSON(buf, h.Value), ']')
	}
	return string(append(buf, ']'))
}

func appendJSON(buf []byte, s string) []byte {
	buf = append(buf, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			buf = append(buf, '\\', c)
		case c < ' ':
			buf = fmt.Appendf(buf, `\u%04x`, c)
		default:
			buf = append(buf, c)
		}
	}
	return append(buf, '"')
}

// DecodeHeaders reads what [EncodeHeaders] or a producer in another language wrote. Empty means none.
func DecodeHeaders(stored string) ([]Header, error) {
	if stored == "" {
		return nil, nil
	}
	if headers, ok := decodePlain(stored); ok {
		return headers, nil
	}
	var pairs [][]*string
	if err := json.Unmarshal([]byte(stored), &pairs); err != nil {
		return nil, badHeaders(stored, err.Error())
	}
	headers := make([]Header, 0, len(pairs))
	for _, p := range pairs {
		if len(p) != 2 || p[0] == nil || p[1] == nil {
			return nil, badHeaders(stored, "not a pair of texts")
		}
		headers = append(headers, Header{*p[0], *p[1]})
	}
	return headers, nil
}

// decodePlain reads the common case without escapes and white space: a relay does this for every message.
func decodePlain(s string) (headers []Header, ok bool) {
	if !strings.HasPrefix(s, "[[") || !strings.HasSuffix(s, "]]") || strings.ContainsAny(s, "\\\n\r\t") {
		return nil, false
	}
	for s = s[1 : len(s)-1]; ; {
		var h Header
		for _, step := range []struct {
			before string
			into   *string
		}{{`["`, &h.Name}, {`,"`, &h.Value}} {
			rest, found := strings.CutPrefix(s, step.before)
			if !found {
				return nil, false
			}
			if *step.into, s, found = strings.Cut(rest, `"`); !found {
				return nil, false
			}
		}
		headers = append(headers, h)
		if s == "]" {
			return headers, true
		}
		rest, found := strings.CutPrefix(s, "],")
		if !found {
			return nil, false
		}
		s = rest
	}
}

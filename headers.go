package waybill

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
)

// EncodeHeaders returns the form in which the outbox stores headers: a JSON array of pairs, [["name","value"],...],
// because a JSON object may lose their order. No headers are the empty string. Names and values must be valid UTF-8.
func EncodeHeaders(headers []Header) string {
	if len(headers) == 0 {
		return ""
	}
	room := 2
	for _, h := range headers {
		room += len(h.Name) + len(h.Value) + 12
	}
	buf := append(make([]byte, 0, room), '[')
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
	from := 0
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			buf = fmt.Appendf(append(buf, s[from:i]...), `\u%04x`, c)
			from = i + 1
		}
	}
	return append(append(buf, s[from:]...), '"')
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

// decodePlain reads what EncodeHeaders writes when nothing needed an escape: a relay does this for every message.
func decodePlain(s string) (headers []Header, ok bool) {
	if strings.IndexByte(s, '\\') >= 0 {
		return nil, false
	}
	s, ok = strings.CutPrefix(s, "[")
	for ok {
		var h Header
		if h.Name, s, ok = cutText(s, `["`); !ok {
			break
		}
		if h.Value, s, ok = cutText(s, `,"`); !ok {
			break
		}
		if headers = append(headers, h); s == "]]" {
			return headers, true
		}
		s, ok = strings.CutPrefix(s, "],")
	}
	return nil, false
}

// cutText takes a text that follows the given characters.
func cutText(s, before string) (text, rest string, ok bool) {
	if rest, ok = strings.CutPrefix(s, before); !ok {
		return "", "", false
	}
	text, rest, ok = strings.Cut(rest, `"`)
	return text, rest, ok && strings.IndexFunc(text, unicode.IsControl) < 0
}

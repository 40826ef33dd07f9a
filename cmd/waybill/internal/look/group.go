package look

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

var (
	quoted = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`|(^|[^\\pL\\pN])'[^']*'")
	uuid   = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`)
	number = regexp.MustCompile(`WB[0-9]{4}\b|[\pL\pN_]*[0-9][\pL\pN_]*`)
)

// Waiting is the group of the messages that have no error of their own: they wait behind another of their key.
const Waiting = "waiting"

// Group returns what the errors of one cause have in common, and a short name of it: the text without what is quoted, numbers
// and ids, id being the message's own. The code of the error stays.
func Group(text, id string) (name, shape string) {
	if text == "" {
		return Waiting, ""
	}
	if len(id) > 3 {
		text = strings.ReplaceAll(text, id, "#")
	}
	text = quoted.ReplaceAllString(text, `$1"…"`)
	text = uuid.ReplaceAllString(text, "#")
	shape = number.ReplaceAllStringFunc(text, func(s string) string {
		if strings.HasPrefix(s, "WB") && len(s) == 6 {
			return s
		}
		return "#"
	})
	sum := sha256.Sum256([]byte(shape))
	return hex.EncodeToString(sum[:4]), shape
}

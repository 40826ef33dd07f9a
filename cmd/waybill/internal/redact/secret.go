package redact

import (
	"encoding/json"
	"log/slog"
	"regexp"
	"strings"
)

// Secret is a text that shows itself only redacted, however it is printed. A URL shows all but its password.
type Secret struct {
	value  *string // a pointer, because fmt prints the unexported fields of other structs without asking String
	hidden bool    // all of it is secret
}

// NewSecret wraps value.
func NewSecret(value string) Secret { return Secret{value: &value} }

// NewPassword wraps a value of which nothing is ever shown.
func NewPassword(value string) Secret { return Secret{&value, true} }

// Reveal returns the text itself. Only what opens a connection calls it.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

func (s Secret) String() string {
	value := s.Reveal()
	switch {
	case value == "":
		return ""
	case s.hidden:
		return mask
	case scheme.MatchString(value), strings.HasPrefix(value, "sqlite:"), strings.HasPrefix(value, "nats:"), isFile.MatchString(value):
		return redact(value, "")
	}
	return mask
}

// isFile matches the only kind of value that is neither a URL nor secret: the file of an SQLite database.
var isFile = regexp.MustCompile(`^[^:@?\s]+\.(db|sqlite|sqlite3)$`)

// GoString, MarshalJSON, MarshalText and LogValue cover %#v, encoders and slog.
func (s Secret) GoString() string             { return s.String() }
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(s.String()) }

// Package dialect holds the SQL of each database: one file, one value.
package dialect

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Dialect is what publishing needs to know about a database. Use [Postgres] or [SQLite].
type Dialect interface {
	// Name is "postgres" or "sqlite".
	Name() string
	// Quote checks a name, or a schema and a name with a dot between, and returns it quoted. The empty name stands for
	// Waybill's own outbox.
	Quote(name string) (string, error)
	// Insert returns how rows are written, in their order, into a table that Quote returned: for some rows, at least one,
	// the statement and its arguments. The statement's text depends on nothing but whether there is one row or more,
	// so that a driver prepares two at most. With keyLock it first locks the rows' keys until the transaction ends.
	Insert(table string, keyLock bool) func(rows []Row) (query string, args []any)
	// Hint says what to do about an error of the statement, or is empty.
	Hint(err error) string
}

// Row is a message as the outbox stores it. Texts are valid UTF-8 without NUL.
type Row struct {
	ID, Topic, Key, Type, ContentType string
	// Headers is a JSON array of pairs; empty is stored as NULL.
	Headers string
	// Payload nil is stored as NULL.
	Payload []byte
	// Time is stored in microseconds; zero as NULL.
	Time time.Time
}

var namePart = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$]{0,62}$`)

// quote makes each part of a dotted name safe to stand in a statement. PostgreSQL would cut a longer name silently.
func quote(name, own string) (string, error) {
	if name == "" {
		name = own
	}
	parts := strings.Split(name, ".")
	for i, part := range parts {
		if len(parts) > 2 || !namePart.MatchString(part) {
			return "", fmt.Errorf("waybill: WB4201 the name %.200q is not a table or schema.table of letters, digits, _ and $, "+
				"at most 63 characters each, not starting with a digit. Try: rename the table", name)
		}
		parts[i] = `"` + part + `"`
	}
	return strings.Join(parts, "."), nil
}

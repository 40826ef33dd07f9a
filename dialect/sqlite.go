package dialect

import (
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
)

// SQLite is SQLite 3.42 or newer.
var SQLite = sqlite{}

var _ Dialect = SQLite

type sqlite struct{}

func (sqlite) Name() string { return "sqlite" }

func (sqlite) Quote(name string) (string, error) { return quote(name, "waybill_outbox") }

// Insert takes all rows as one JSON text, and all payloads as one blob. It ignores keyLock: SQLite has one writer at a
// time, so no two publishers of a key ever overlap.
func (sqlite) Insert(table string, _ bool) func([]Row) (string, []any) {
	query := `INSERT INTO ` + table + ` (id, topic, "key", type, content_type, headers, time, payload) ` +
		`SELECT m.value->>0, m.value->>1, m.value->>2, m.value->>3, m.value->>4, m.value->>5, m.value->>6, ` +
		`CASE WHEN m.value->>8 > 0 THEN substr(?2, m.value->>7, m.value->>8) WHEN m.value->>8 = 0 THEN x'' END ` +
		`FROM json_each(?1) AS m ORDER BY m.id`
	return func(rows []Row) (string, []any) { return query, document(rows) }
}

func document(rows []Row) []any {
	list := make([][]any, len(rows))
	var payload []byte
	for i, r := range rows {
		var headers, time any
		if r.Headers != "" {
			headers = r.Headers
		}
		if !r.Time.IsZero() {
			time = r.Time.UnixMicro()
		}
		size := -1
		if r.Payload != nil {
			size = len(r.Payload)
		}
		list[i] = []any{r.ID, r.Topic, r.Key, r.Type, r.ContentType, headers, time, len(payload) + 1, size}
		payload = append(payload, r.Payload...)
	}
	text, _ := json.Marshal(list) // texts and integers always encode
	return []any{string(text), payload}
}

func (sqlite) Hint(err error) string {
	switch text := err.Error(); {
	case errors.Is(err, sql.ErrTxDone):
		return "publish before Commit or Rollback"
	case strings.Contains(text, "no such table"), strings.Contains(text, "no column named"):
		return "waybill migrate up"
	case strings.Contains(text, "database is locked"):
		return "begin with BEGIN IMMEDIATE (_txlock=immediate) and set a busy_timeout"
	case strings.Contains(text, "readonly"):
		return "open the database for writing"
	}
	return ""
}

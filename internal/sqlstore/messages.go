package sqlstore

import (
	"database/sql"
	"fmt"

	"github.com/waybillhq/waybill/relay"
)

// Messages reads a page of an outbox and closes rows. Their columns are pos, id, topic, key, type, payload, content_type,
// headers, time, created_at. It stops after the message that reaches so many bytes; cut tells whether it did.
func Messages(rows *sql.Rows, bytes int, incarnation int64) (page []relay.Message, cut bool, err error) {
	defer rows.Close()
	m := relay.Message{Incarnation: incarnation}
	columns := []any{&m.Pos, &m.ID, &m.Topic, &m.Key, &m.Type, columnPayload{&m.Payload}, &m.ContentType, columnHeaders{&m.Headers}, columnTime{&m.Time}, columnTime{&m.CreatedAt}}
	for bytes > 0 && rows.Next() {
		if err := rows.Scan(columns...); err != nil {
			return nil, false, fmt.Errorf("waybill: WB1304 the row at pos %d cannot be read as a message: %w. Try: correct that row", m.Pos, err)
		}
		page = append(page, m)
		bytes -= len(m.ID) + len(m.Topic) + len(m.Key) + len(m.Type) + len(m.Payload) + len(m.ContentType)
		for _, h := range m.Headers {
			bytes -= len(h.Name) + len(h.Value)
		}
	}
	return page, bytes <= 0, rows.Err()
}

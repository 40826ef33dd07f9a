package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/waybillhq/waybill/relay"
)

// scan reads rows of the columns in queries.go, up to and with the row that reaches the byte budget. It decodes the binary
// form itself: it knows every column, and this is the path of every message.
func (s *session) scan(ctx context.Context, conn *pgx.Conn, rows pgx.Rows, bytes int) (list []relay.Message, cut bool, err error) {
	list = make([]relay.Message, 0, s.page+16) // as many as last time, or soon copied to twice the room
	defer func() { s.page = len(list) }()
	var topic, typ, contentType, headers string // most often the same as in the row before
	for rows.Next() {
		raw := rows.RawValues()
		m := relay.Message{Pos: int64(binary.BigEndian.Uint64(raw[0])), Incarnation: s.incarnation}
		m.ID = string(raw[1])
		m.Topic = same(&topic, raw[2])
		m.Key = string(raw[3])
		m.Type = same(&typ, raw[4])
		if raw[5] != nil {
			m.Payload = append(make([]byte, 0, len(raw[5])), raw[5]...)
		}
		m.ContentType = same(&contentType, raw[6])
		if raw[7] != nil {
			m.Headers = relay.StoredHeaders(same(&headers, raw[7]))
		}
		if raw[9] != nil {
			m.CreatedAt = timestamp(int64(binary.BigEndian.Uint64(raw[9])))
			m.Time = m.CreatedAt
		}
		if raw[8] != nil {
			m.Time = timestamp(int64(binary.BigEndian.Uint64(raw[8])))
		}
		list = append(list, m)
		for _, column := range raw {
			bytes -= len(column)
		}
		if bytes <= 0 {
			return list, true, quit(ctx, conn, rows)
		}
	}
	return list, false, rows.Err()
}

// quit stops a statement whose further rows are not wanted. They may be far more than memory should hold or the wire carry,
// so the server is told to stop; it has forgotten that before the next statement.
func quit(ctx context.Context, conn *pgx.Conn, rows pgx.Rows) error {
	if err := conn.PgConn().CancelRequest(ctx); err != nil {
		return err
	}
	rows.Close()
	var canceled *pgconn.PgError
	if err := rows.Err(); err != nil && !(errors.As(err, &canceled) && canceled.Code == "57014") {
		return err
	}
	return nil
}

func same(last *string, raw []byte) string {
	if string(raw) != *last {
		*last = string(raw)
	}
	return *last
}

// epoch2000 is the zero of PostgreSQL's timestamps, in microseconds since the Unix epoch.
const epoch2000 = 946_684_800_000_000

// timestamp turns the binary form into a time. Infinity and years beyond 9999, which only a hand-written row has, are left out.
func timestamp(micros int64) time.Time {
	if micros < -62_135_596_800_000_000-epoch2000 || micros > 253_402_300_799_999_999-epoch2000 {
		return time.Time{}
	}
	return time.UnixMicro(micros + epoch2000).UTC()
}

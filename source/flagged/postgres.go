package flagged

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/waybillhq/waybill/internal/poll"
	"github.com/waybillhq/waybill/internal/sqlstore"
)

var postgres = &database{
	table:    "waybill.outbox_flagged",
	parked:   "waybill.parked",
	arg:      func(n int) string { return "$" + strconv.Itoa(n) },
	text:     func(column string) string { return column + "::text" },
	size:     func(column string) string { return "pg_column_size(" + column + ")" },
	among:    func(column string) string { return column + " = ANY($1::bigint[])" },
	list:     arrayLiteral,
	nullable: `SELECT count(*) FROM pg_attribute WHERE attrelid = $1::text::regclass AND quote_ident(attname) = quote_ident($2) AND NOT attnotnull`,
	store:    sqlstore.Postgres,
	open: func(ctx context.Context, db *sql.DB) (conn, error) {
		s := &session{db: db}
		_, err := s.Changed(ctx)
		var standby bool
		if err == nil {
			err = s.QueryRowContext(ctx, `SELECT pg_is_in_recovery()`).Scan(&standby)
		}
		if err == nil && standby {
			err = errors.New("waybill: WB1404 this server is a standby, where nothing can be marked. Try: connect to the primary")
		}
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		return s, nil
	},
}

func arrayLiteral(positions []int64) string {
	texts := make([]string, len(positions))
	for i, pos := range positions {
		texts[i] = strconv.FormatInt(pos, 10)
	}
	return "{" + strings.Join(texts, ",") + "}"
}

// session is a connection with settings that keep the planner on the index of what is not published: a wrong guess reads and
// sorts the whole backlog at every look. A context that ends inside a statement costs the connection, and a new one is as
// good: what is published stands in the table.
type session struct {
	db *sql.DB
	*sql.Conn
}

const settings = `SELECT set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false), set_config('jit', 'off', false), ` +
	`set_config('statement_timeout', '0', false), set_config('idle_session_timeout', '0', false)`

// Changed cannot know.
func (s *session) Changed(ctx context.Context) (bool, error) {
	if s.Conn != nil {
		return true, nil
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return true, err
	}
	s.Conn = conn
	_, err = conn.ExecContext(ctx, settings)
	return true, err
}

func (s *session) Interrupted() { _ = s.Close() } // it is broken already

// Close ends the server's session too, so that its settings reach nobody else.
func (s *session) Close() error {
	if s.Conn == nil {
		return nil
	}
	err := s.Raw(func(any) error { return driver.ErrBadConn })
	s.Conn = nil
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}

// Flush waits for the log up to the place that it had reached after the read. A commit with synchronous_commit=off is visible
// before it is durable, and the log writer may take 200 ms; so after 2 ms an empty logical message is committed, which no
// table and no reader sees and which takes the log with it (https://www.postgresql.org/docs/current/wal-async-commit.html).
func (s *session) Flush(ctx context.Context) error {
	var end string
	var flushed bool
	err := s.QueryRowContext(ctx, `SELECT l::text, pg_current_wal_flush_lsn() >= l FROM pg_current_wal_insert_lsn() AS l`).Scan(&end, &flushed)
	for started := time.Now(); err == nil && !flushed; {
		if time.Since(started) > 2*time.Millisecond {
			_, err = s.ExecContext(ctx, `SELECT set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, 'waybill', '')`)
		} else {
			err = poll.Sleep(ctx, 500*time.Microsecond)
		}
		if err == nil {
			err = s.QueryRowContext(ctx, `SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn`, end).Scan(&flushed)
		}
	}
	return err
}

package sqlstore

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"time"
)

// Postgres returns the store in the schema waybill of a PostgreSQL database.
func Postgres(db *sql.DB) *Store { return newStore(db, postgres) }

var postgres = &database{
	mark: "$",
	words: []string{
		"{t}", "waybill.",
		"{now}", "clock_timestamp()",
		"{ms}", "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
		"{past}", "'-infinity'",
		"{us}", "::bigint * interval '1 microsecond'",
		"{left}", "(extract(epoch FROM expires_at - clock_timestamp()) * 1000000)::bigint",
		"{among}", "pos = ANY($2::bigint[])",
		"{sync}", "set_config('synchronous_commit', ", "{/sync}", ", true) IS NOT NULL",
		"{cursors}", "WITH s AS MATERIALIZED (SELECT relay, nullif(split_part(position, ' ', 1), '')::pg_snapshot AS s0 " +
			"FROM waybill.cursor WHERE position NOT LIKE 'flagged%') ",
		"{behind}", "pg_visible_in_snapshot(t.xid, s.s0) IS TRUE",
		"{every}", "bool_and",
		"{taken}", "EXISTS (SELECT FROM waybill.cursor AS c WHERE c.branch = '' AND (c.topics IS NULL OR EXISTS (SELECT FROM json_array_elements_text(c.topics::json) AS p " +
			`WHERE t.topic LIKE replace(replace(replace(replace(p, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%'))))`,
	},
	chunk: 1000,
	// The planner keeps to the index on pos, and a column without a time zone is read as the reader reads it.
	retaining: "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true), " +
		"set_config('lock_timeout', '1000', true), set_config('TimeZone', 'UTC', true)",
	list: func(positions []int64) string {
		var b strings.Builder
		for _, pos := range positions {
			b.WriteString("," + strconv.FormatInt(pos, 10))
		}
		return "{" + strings.TrimPrefix(b.String(), ",") + "}"
	},
	timestamp: func(unixMicro int64) any { return time.UnixMicro(unixMicro).UTC() },
	statement: func(_ context.Context, conn *sql.Conn, _ bool, f func(Querier) error) error { return f(conn) },
	transaction: func(ctx context.Context, conn *sql.Conn, durable bool, f func(Querier) error) error {
		tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if err != nil {
			return err
		}
		// A process that is paused here must not keep its locks: the next owner waits for them.
		_, err = tx.ExecContext(ctx, `SELECT set_config('synchronous_commit', $1, true), set_config('idle_in_transaction_session_timeout', '5000', true)`, sync(durable))
		if err == nil {
			err = f(tx)
		}
		if err != nil {
			_ = tx.Rollback() // it can only say that the connection is gone, and the transaction with it
			return err
		}
		return tx.Commit()
	},
}

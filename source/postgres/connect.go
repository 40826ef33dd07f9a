package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// connect undoes what a database or role sets by default and the relay could not work with: a read-only or serializable
// default (whose predicate locks would make the application's transactions fail), time-outs meant for requests, another
// encoding, disabled indexes. Not in the start-up message, where a pooler refuses what it does not know; from pg_settings,
// because a version may not have them all.
func connect(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `SELECT set_config(name, value, false) FROM (VALUES `+
		`('client_encoding', 'UTF8'), ('default_transaction_isolation', 'read committed'), ('default_transaction_read_only', 'off'), `+
		`('enable_indexonlyscan', 'on'), ('enable_indexscan', 'on'), ('idle_in_transaction_session_timeout', '0'), `+
		`('idle_session_timeout', '0'), ('lock_timeout', '0'), ('statement_timeout', '0'), ('synchronous_commit', 'on'), `+
		`('transaction_timeout', '0')) AS wanted (name, value) JOIN pg_settings USING (name)`)
	return err
}

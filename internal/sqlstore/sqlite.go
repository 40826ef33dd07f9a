package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/waybillhq/waybill/internal/sqliteconn"
)

// SQLite returns the store in the tables waybill_* of an SQLite database. Times are microseconds since the Unix epoch.
func SQLite(db *sql.DB) *Store { return newStore(db, sqlite) }

var sqlite = &database{
	mark: "?", // ?1 has the same index with every driver, $1 is a name
	words: []string{
		"{t}", "waybill_",
		"{now}", "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
		"{ms}", "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
		"{past}", "0",
		"{us}", "",
		"{left}", "expires_at - CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
		"{among}", "pos IN (SELECT value FROM json_each(?2))",
		"{sync}", "", "{/sync}", " IS NOT NULL",
		"{cursors}", "WITH s AS (SELECT relay, CAST(position AS INTEGER) AS s0 FROM waybill_cursor WHERE position NOT LIKE 'flagged%') ",
		"{behind}", "t.pos <= s.s0",
		"{every}", "min",
		"{taken}", "EXISTS (SELECT 1 FROM waybill_cursor AS c WHERE c.branch = '' AND (c.topics IS NULL OR EXISTS (SELECT 1 FROM json_each(c.topics) " +
			"WHERE t.topic GLOB replace(replace(value, '[', '[[]'), '?', '[?]'))))",
	},
	chunk: 100, // the application's writers wait for it
	list: func(positions []int64) string {
		text, _ := json.Marshal(positions) // integers always encode
		return string(text)
	},
	timestamp: func(unixMicro int64) any { return unixMicro },
	statement: func(ctx context.Context, conn *sql.Conn, durable bool, f func(Querier) error) error {
		return withPragmas(ctx, conn, durable, func() error {
			return sqliteconn.Retry(ctx, func() error { return f(conn) })
		})
	},
	transaction: func(ctx context.Context, conn *sql.Conn, durable bool, f func(Querier) error) error {
		return withPragmas(ctx, conn, durable, func() error {
			// IMMEDIATE, because a transaction that starts by reading cannot always become a writer; not BeginTx, which cannot say so.
			err := sqliteconn.Retry(ctx, func() error {
				_, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE")
				return err
			})
			if err != nil {
				return err
			}
			err = f(conn)
			if err == nil {
				_, err = conn.ExecContext(ctx, "COMMIT")
			}
			if err != nil {
				if _, undo := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK"); undo != nil {
					discard(conn) // perhaps it is still inside the transaction
				}
			}
			return err
		})
	},
}

// withPragmas runs f on a connection of the caller's pool with the wanted durability and gives
// the connection back as it was. PRAGMA synchronous has no effect inside a transaction.
func withPragmas(ctx context.Context, conn *sql.Conn, durable bool, f func() error) error {
	want := map[string]int{"synchronous": synchronousNormal, "busy_timeout": sqliteconn.BusyTimeout}
	if durable {
		want["synchronous"] = synchronousFull
	}
	for name, value := range want {
		var old int
		if err := conn.QueryRowContext(ctx, "PRAGMA "+name).Scan(&old); err != nil {
			return err
		}
		if old == value {
			continue
		}
		if err := setPragma(ctx, conn, name, value); err != nil {
			return err
		}
		defer func() {
			if setPragma(context.WithoutCancel(ctx), conn, name, old) != nil {
				discard(conn)
			}
		}()
	}
	return f()
}

// https://www.sqlite.org/pragma.html#pragma_synchronous
const (
	synchronousNormal = 1
	synchronousFull   = 2
)

func setPragma(ctx context.Context, conn *sql.Conn, name string, value int) error {
	_, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA %s = %d", name, value))
	return err
}

// discard takes a connection out of its pool for good.
func discard(conn *sql.Conn) {
	if err := conn.Raw(func(any) error { return driver.ErrBadConn }); !errors.Is(err, driver.ErrBadConn) {
		_ = conn.Close() // it was closed before
	}
}

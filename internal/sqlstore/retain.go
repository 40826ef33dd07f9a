package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/waybillhq/waybill/internal/poll"
	"github.com/waybillhq/waybill/relay"
)

// Log is a table of messages. The names are quoted.
type Log struct {
	Table     string
	Pos       string // the column that gives the order
	CreatedAt string // the column with the database's time of the row
	Published string // the column that says that the message is published; empty: the cursors say it
}

// chunkPause is the least time between two chunks. A chunk that took longer is followed by a pause as long as itself.
const chunkPause = 10 * time.Millisecond

// Retain is [relay.Retainer] for a log. The walk goes by pos and starts behind the chunk before, so that rows which must stay
// do not stop it, and deleted rows that are not vacuumed yet are not read again. It ends at a chunk in which no row is both
// old and done: behind that, rows are young, or a cursor has not passed them.
func (s *Store) Retain(ctx context.Context, log Log, age time.Duration) (done relay.Retention, err error) {
	q, micros := s.d.retention(log), age.Microseconds()
	for floor, more := int64(0), true; more && err == nil; {
		began := time.Now()
		var to, ready, overdue, gone int64
		err = s.withConn(ctx, func(conn *sql.Conn) error {
			return s.d.transaction(ctx, conn, false, func(tx Querier) error {
				if s.d.retaining != "" {
					if _, err := tx.ExecContext(ctx, s.d.retaining); err != nil {
						return err
					}
				}
				if err := tx.QueryRowContext(ctx, q.survey, floor, micros, s.d.chunk).Scan(&to, &ready, &overdue); err != nil {
					return err
				}
				if overdue > 0 && len(done.HeldBy) == 0 && log.Published == "" {
					if err := heldBy(ctx, tx, &done, q.holders, floor, micros, to); err != nil {
						return err
					}
				}
				if ready == 0 {
					return nil
				}
				gone, err = affected(tx.ExecContext(ctx, q.remove, floor, micros, to))
				return err
			})
		})
		if err == nil {
			done.Deleted += gone
			if floor, more = to, ready > 0; more {
				err = poll.Sleep(ctx, max(chunkPause, time.Since(began)))
			}
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err() // plainer than what a driver makes of it
		}
		err = fmt.Errorf("waybill: WB1305 delete old rows of %s: %w", log.Table, err)
	}
	return done, err
}

func heldBy(ctx context.Context, tx Querier, done *relay.Retention, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		done.HeldBy = append(done.HeldBy, name)
	}
	return rows.Err()
}

type retention struct{ survey, remove, holders string }

// retention returns the statements for one log. $1 is the pos before the chunk, $2 the age, $3 the chunk's size or last pos.
func (d *database) retention(log Log) retention {
	cursors, done := "{cursors}", "((SELECT {every}({behind}) FROM s) AND {taken})"
	passed := done
	if log.Published != "" {
		cursors, done = "", "t."+log.Published
		passed = "(" + done + " OR t.{pos} IN (SELECT p.pos FROM {t}parked AS p WHERE p.pos > CAST($1 AS bigint)))"
	}
	const old, overdue = "t.{created} < {now} - $2{us}", "t.{created} < {now} - 2 * $2{us}"
	const within = "t.{pos} > CAST($1 AS bigint) AND t.{pos} <= CAST($3 AS bigint)"
	fill := func(template string) string {
		return strings.NewReplacer("{table}", log.Table, "{pos}", log.Pos, "{created}", log.CreatedAt).Replace(d.sql(template))
	}
	return retention{
		survey: fill(cursors + `SELECT coalesce(max(pos), 0), count(*) FILTER (WHERE old AND passed), count(*) FILTER (WHERE overdue AND NOT passed) FROM (` +
			`SELECT t.{pos} AS pos, ` + old + ` AS old, ` + overdue + ` AS overdue, coalesce(` + passed + `, false) AS passed ` +
			`FROM {table} AS t WHERE t.{pos} > CAST($1 AS bigint) ORDER BY t.{pos} LIMIT CAST($3 AS bigint)) AS chunk`),
		// The conditions stand in the statement that deletes: what changed since the survey counts.
		remove: fill(cursors + `DELETE FROM {table} AS t WHERE ` + within + ` AND ` + old + ` AND ` + done +
			` AND t.{pos} NOT IN (SELECT p.pos FROM {t}parked AS p WHERE p.pos > CAST($1 AS bigint) AND p.pos <= CAST($3 AS bigint))`),
		holders: fill(cursors + `SELECT DISTINCT relay FROM s WHERE EXISTS (SELECT 1 FROM {table} AS t WHERE ` + within + ` AND ` + overdue +
			` AND NOT ({behind})) ORDER BY relay`),
	}
}

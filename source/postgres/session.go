package postgres

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/waybillhq/waybill/internal/poll"
	"github.com/waybillhq/waybill/internal/snapshot"
	"github.com/waybillhq/waybill/relay"
)

// session is one unbroken connection to the primary. The token is a setting of the server's session: a pooler that puts
// another server session behind the same connection is noticed by its absence.
type session struct {
	turn        sync.Mutex // held for one statement of the reader, or one save
	conn        *sql.Conn
	token       string
	q           queries
	incarnation int64
	page        int // rows of the last statement
}

var _ snapshot.Session = (*session)(nil)

// settings keep the planner on the two indexes. Without them a wrong guess reads the whole table at every poll.
const settings = `SELECT set_config('waybill.session', $1, false), set_config('enable_seqscan', 'off', false), ` +
	`set_config('enable_bitmapscan', 'off', false), set_config('jit', 'off', false), set_config('max_parallel_workers_per_gather', '0', false), ` +
	`set_config('plan_cache_mode', 'force_generic_plan', false)`

func openSession(ctx context.Context, db *sql.DB, q queries) (*session, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, token: rand.Text(), q: q}
	// Asked in a statement of its own, before any snapshot: on a standby running transactions look finished.
	var standby bool
	if err = conn.QueryRowContext(ctx, `SELECT pg_is_in_recovery()`).Scan(&standby); err == nil && standby {
		err = errStandby
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, settings, s.token)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// close ends the server's session too, so that its settings reach nobody else.
func (s *session) close() error {
	err := s.conn.Raw(func(any) error { return driver.ErrBadConn })
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		err = nil
	}
	return errors.Join(err, ignoreDone(s.conn.Close()))
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrConnDone) {
		return nil
	}
	return err
}

// pgx runs f on the driver's own connection, never inside the transaction of a save: its number would count as visible, and
// a cancelled statement would undo the save.
func (s *session) pgx(f func(*pgx.Conn) error) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	return s.conn.Raw(func(c any) error { return f(c.(*stdlib.Conn).Conn()) })
}

// Look implements snapshot.Session. The statement's own snapshot is S1, so its rows need no further filter.
func (s *session) Look(ctx context.Context, s0 snapshot.Snapshot, limit, bytes int) (look snapshot.Look, err error) {
	err = s.pgx(func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, s.q.look, strconv.FormatUint(s0.Xmax, 10), xids(s0.Xip), limit+1)
		if err != nil {
			return err
		}
		defer rows.Close()
		if !rows.Next() { // the first row always comes, unless the statement failed
			return rows.Err()
		}
		head := rows.RawValues() // the first row is S1, its LSN and the session's token
		token := string(head[3])
		look.S1, err = snapshot.Parse(string(head[1]))
		if err == nil {
			look.LSN, err = parseLSN(string(head[2]))
		}
		if err != nil {
			return err
		}
		if token != s.token {
			return errAnotherSession
		}
		look.Rows, look.Cut, err = s.scan(ctx, conn, rows, bytes)
		if n := len(look.Rows) - 1; err == nil && !look.Cut {
			var flushed uint64
			flushed, err = parseLSN(look.Rows[n].Topic)
			look.Flushed = flushed >= look.LSN
			look.Rows = look.Rows[:n]
		}
		return err
	})
	return look, wrap("read", err)
}

// Bounds implements snapshot.Session. Rows of transactions that ran long may lie far below the others, and far from each
// other: a page must not walk over everything that the table retains between them.
func (s *session) Bounds(ctx context.Context, s0, s1 snapshot.Snapshot) (ranges []snapshot.Range, err error) {
	err = s.pgx(func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, s.q.bounds, strconv.FormatUint(s0.Xmax, 10), xids(s0.Xip), s1.String(), strconv.FormatUint(s1.Xmax, 10))
		if err != nil {
			return err
		}
		ranges, err = pgx.CollectRows(rows, pgx.RowToStructByPos[snapshot.Range])
		return err
	})
	return join(ranges), wrap("measure the backlog", err)
}

// join makes ranges that overlap one, and those with so few rows between that another statement would cost more. They come
// in the order of their beginnings.
func join(ranges []snapshot.Range) (joined []snapshot.Range) {
	const few = 1000
	for _, r := range ranges {
		if n := len(joined) - 1; n >= 0 && r.After <= joined[n].To+few {
			joined[n].To = max(joined[n].To, r.To)
		} else {
			joined = append(joined, r)
		}
	}
	return joined
}

// Page implements snapshot.Session.
func (s *session) Page(ctx context.Context, s0, s1 snapshot.Snapshot, r snapshot.Range, topic string, limit, bytes int) (page []relay.Message, cut bool, err error) {
	query, args := s.q.page, []any{r.After, r.To, s1.String(), s0.String(), limit}
	if topic != "" {
		query, args = s.q.topic, append(args, topic)
	}
	err = s.pgx(func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		page, cut, err = s.scan(ctx, conn, rows, bytes)
		return err
	})
	return page, cut, wrap("read", err)
}

// check tells whether the server's session is still the one that was opened.
func (s *session) check(ctx context.Context) error {
	return wrap("read", s.pgx(func(conn *pgx.Conn) error {
		var token string
		err := conn.QueryRow(ctx, `SELECT coalesce(current_setting('waybill.session', true), '')`).Scan(&token)
		if err == nil && token != s.token {
			err = errAnotherSession
		}
		return err
	}))
}

// Flush implements snapshot.Session: most often another commit has flushed the log already or does so at once; if not,
// an empty logical message is committed, which no table and no reader sees.
func (s *session) Flush(ctx context.Context, lsn uint64) error {
	for try := 0; ; try++ {
		var flushed uint64
		err := s.pgx(func(conn *pgx.Conn) error {
			var text string
			if try == flushTries {
				if _, err := conn.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, 'waybill', '')`); err != nil {
					return err
				}
			}
			err := conn.QueryRow(ctx, `SELECT pg_current_wal_flush_lsn()::text`).Scan(&text)
			if err == nil {
				flushed, err = parseLSN(text)
			}
			return err
		})
		if err != nil || flushed >= lsn {
			return wrap("wait for the log to be flushed", err)
		}
		if try > flushTries {
			return fmt.Errorf("waybill: WB1013 the server's log is not durable up to %X after a synchronous commit (it is up to %X)", lsn, flushed)
		}
		if try < flushTries {
			if err := poll.Sleep(ctx, 200*time.Microsecond); err != nil {
				return err
			}
		}
	}
}

// flushTries polls come before the log is flushed on purpose: about 2 ms.
const flushTries = 7

func parseLSN(text string) (uint64, error) {
	hi, lo, ok := strings.Cut(text, "/")
	h, err1 := strconv.ParseUint(hi, 16, 32)
	l, err2 := strconv.ParseUint(lo, 16, 32)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("not a log position: %q", text)
	}
	return h<<32 | l, nil
}

// xids writes an array of transaction ids as text, which any server takes as xid8[].
func xids(list []uint64) string {
	b := []byte{'{'}
	for i, x := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, x, 10)
	}
	return string(append(b, '}'))
}

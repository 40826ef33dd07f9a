// Package sqlstore is the relay.Store of every source that lives in an SQL database.
//
// What differs between the databases stands in one file each; the rest is written once. Times are compared by the
// database's clock only, and the epoch that allows a save stands in the row that the save changes.
package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/waybillhq/waybill/relay"
)

// Store implements relay.Store over database/sql. Make it with Postgres or SQLite.
type Store struct {
	// Mark, when set, runs inside the transaction of every save that has published messages.
	Mark func(ctx context.Context, tx Querier, published []*relay.Message) error
	// Outbox is the quoted name of the table that the cursors are about. Defaults to Waybill's own.
	Outbox string

	db *sql.DB
	d  *database
	q  statements
}

var _ relay.Store = (*Store)(nil)

// Querier is the part of *sql.Conn and *sql.Tx that the store and its hooks use.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func newStore(db *sql.DB, d *database) *Store { return &Store{db: db, d: d, q: d.statements()} }

// Acquire implements relay.Store.
func (s *Store) Acquire(ctx context.Context, claim relay.Claim) (relay.Tenure, error) {
	tenure := relay.Tenure{Lease: relay.Lease{Relay: claim.Relay, Owner: claim.Owner}}
	err := s.withConn(ctx, func(conn *sql.Conn) error {
		return s.d.transaction(ctx, conn, true, func(tx Querier) error { return s.takeOver(ctx, tx, &tenure, claim) })
	})
	if err != nil {
		return relay.Tenure{}, wrap("acquire", claim.Relay, err)
	}
	return tenure, nil
}

// takeOver runs several statements on purpose: each sees what a save that it waited for has committed. The held lanes read
// with the snapshot of the update that waited would lack those that this save set aside.
func (s *Store) takeOver(ctx context.Context, tx Querier, t *relay.Tenure, claim relay.Claim) error {
	name, owner := claim.Relay, claim.Owner
	for _, query := range []string{s.q.firstLease, s.q.firstCursor} {
		if _, err := tx.ExecContext(ctx, query, name); err != nil {
			return err
		}
	}
	err := tx.QueryRowContext(ctx, s.q.takeLease, name, owner, claim.TTL.Microseconds()).Scan(&t.Lease.Epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return s.heldBy(ctx, tx, name)
	}
	if err != nil {
		return err
	}
	// The relay's row comes first, as in a save: behind its lock all branches are seen, and nobody waits for the other in turn.
	raised, err := affected(tx.ExecContext(ctx, s.q.raiseCursor, name, t.Lease.Epoch, patterns(claim.Topics)))
	if err == nil && raised == 0 {
		err = errors.New("the cursor row has a newer epoch than the lease row")
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, s.q.raiseBranches, name, t.Lease.Epoch)
	}
	if err != nil {
		return err
	}
	if err := s.doRequests(ctx, tx, name, claim.TTL/4); err != nil {
		return err
	}
	if err := s.cursors(ctx, tx, t); err != nil {
		return err
	}
	lanes, err := tx.QueryContext(ctx, s.q.heldLanes, name)
	if err != nil {
		return err
	}
	defer lanes.Close()
	for lanes.Next() {
		var lane string
		if err := lanes.Scan(&lane); err != nil {
			return err
		}
		t.Held = append(t.Held, lane)
	}
	return lanes.Err()
}

// cursors reads the relay's cursor and its branches.
func (s *Store) cursors(ctx context.Context, tx Querier, t *relay.Tenure) error {
	rows, err := tx.QueryContext(ctx, s.q.cursors, t.Lease.Relay)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var b relay.Branch
		if err := rows.Scan(&b.Topic, &b.Position, &b.Error); err != nil {
			return err
		}
		if b.Topic == "" {
			t.Position = b.Position
		} else {
			t.Branches = append(t.Branches, b)
		}
	}
	return rows.Err()
}

// patterns is NULL for every topic.
func patterns(topics []string) any {
	if len(topics) == 0 {
		return nil
	}
	text, _ := json.Marshal(topics) // text always encodes
	return string(text)
}

func (s *Store) heldBy(ctx context.Context, tx Querier, name string) error {
	held := &relay.HeldError{}
	var left int64
	if err := tx.QueryRowContext(ctx, s.q.holder, name).Scan(&held.Owner, &left); err != nil {
		return err
	}
	held.For = max(0, time.Duration(left)*time.Microsecond)
	return held
}

// Renew implements relay.Store. It is durable: a lease that a crash shortens would end before its owner believes so.
func (s *Store) Renew(ctx context.Context, lease relay.Lease, ttl time.Duration) (asked bool, err error) {
	err = s.withConn(ctx, func(conn *sql.Conn) error {
		return s.d.statement(ctx, conn, true, func(q Querier) error {
			return q.QueryRowContext(ctx, s.q.renew, lease.Relay, lease.Epoch, lease.Owner, sync(true), ttl.Microseconds()).Scan(&asked)
		})
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = relay.ErrLost
	}
	return asked, wrap("renew", lease.Relay, err)
}

// Release implements relay.Store.
func (s *Store) Release(ctx context.Context, lease relay.Lease) error {
	_, err := s.change(ctx, s.q.release, lease.Relay, lease.Epoch, lease.Owner, sync(true))
	return wrap("release", lease.Relay, err)
}

func (s *Store) change(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = s.withConn(ctx, func(conn *sql.Conn) error {
		return s.d.statement(ctx, conn, true, func(q Querier) error {
			n, err = affected(q.ExecContext(ctx, query, args...))
			return err
		})
	})
	return n, err
}

// Incarnation returns the number of the log's life, and writes the first one (unix milliseconds) when there is none.
func (s *Store) Incarnation(ctx context.Context) (n int64, err error) {
	if err = s.db.QueryRowContext(ctx, s.q.incarnation).Scan(&n); errors.Is(err, sql.ErrNoRows) {
		if _, err = s.change(ctx, s.q.firstIncarnation); err == nil {
			err = s.db.QueryRowContext(ctx, s.q.incarnation).Scan(&n)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("waybill: WB1301 read the incarnation of the log: %w", err)
	}
	return n, nil
}

func (s *Store) withConn(ctx context.Context, f func(*sql.Conn) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return f(conn)
}

func affected(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// wrap adds what and where to a failure of the database; answers of the contract go through as they are.
func wrap(verb, name string, err error) error {
	var held *relay.HeldError
	if err == nil || errors.Is(err, relay.ErrLost) || errors.Is(err, ErrGuard) || errors.As(err, &held) {
		return err
	}
	return fmt.Errorf("waybill: WB1302 %s relay %q: %w", verb, name, err)
}

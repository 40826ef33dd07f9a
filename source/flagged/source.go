// Package flagged reads the literal outbox pattern: a table with a boolean column is_published, false at first, that the relay
// sets after the broker's confirmation. It works with Waybill's own table outbox_flagged and with any table that has such a
// column, a growing number and an id:
//
//	src, err := flagged.New(db, dialect.Postgres, flagged.Config{
//		Table:   "shop.events",
//		Columns: flagged.Columns{Pos: "seq", Key: "order_id", Type: "kind", Headers: flagged.None},
//		Topic:   "orders",
//	})
//	r, err := relay.New(relay.Config{Name: "orders", Source: src, Store: src, Sink: sink})
//
// One relay owns such a table. Give it a partial index: CREATE INDEX ON shop.events (seq) WHERE NOT is_published.
//
// It is the simplest mode and costs five times the database work per message of cursor mode. While a transaction stays open
// anywhere in a PostgreSQL cluster, marked rows cannot be cleaned up and each look walks over them: looks then become rarer.
//
// It is no [relay.Ranger]: a message that waits for its topic is set aside by copy, its row keeps the flag it has.
package flagged

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/poll"
	"github.com/waybillhq/waybill/internal/sqlstore"
	"github.com/waybillhq/waybill/relay"
)

// Source is a relay.Source and relay.Store for one relay.
type Source struct {
	relay.Store
	store   *sqlstore.Store
	db      *sql.DB
	dialect dialect.Dialect
	d       *database
	cfg     Config
	q       statements

	mu     sync.Mutex
	relay  string // whose messages set aside are left out
	reader *reader
}

var (
	_ relay.Source = (*Source)(nil)
	_ relay.Store  = (*Source)(nil)
)

// New checks cfg. It does not touch the database, and never closes db.
func New(db *sql.DB, d dialect.Dialect, cfg Config) (*Source, error) {
	of, err := databaseOf(d)
	if err != nil {
		return nil, err
	}
	if cfg, err = cfg.withDefaults(d, of.table); err != nil {
		return nil, err
	}
	store := of.store(db)
	s := &Source{Store: store, store: store, db: db, dialect: d, d: of, cfg: cfg, q: of.statements(cfg)}
	store.Mark = s.publish
	return s, nil
}

// Acquire implements relay.Store.
func (s *Source) Acquire(ctx context.Context, claim relay.Claim) (relay.Tenure, error) {
	tenure, err := s.Store.Acquire(ctx, claim)
	if err == nil {
		s.mu.Lock()
		s.relay = claim.Relay
		s.mu.Unlock()
	}
	return tenure, err
}

// Save implements relay.Store: published messages are marked in the transaction that compares the epoch.
func (s *Source) Save(ctx context.Context, lease relay.Lease, save relay.Save) error {
	err := s.Store.Save(ctx, lease, save)
	s.mu.Lock()
	r := s.reader
	s.mu.Unlock()
	if err == nil && r != nil {
		r.settle(save)
	}
	return err
}

func (s *Source) publish(ctx context.Context, tx sqlstore.Querier, published []*relay.Message) error {
	positions := make([]int64, len(published))
	for i, m := range published {
		positions[i] = m.Pos
	}
	slices.Sort(positions)
	_, err := tx.ExecContext(ctx, s.q.publish, s.d.list(positions))
	return err
}

// Open implements relay.Source. What is to be read stands in the table, so the position says nothing.
func (s *Source) Open(ctx context.Context, _ relay.Position) (relay.Reader, error) {
	incarnation, err := s.store.Incarnation(ctx)
	if err != nil {
		return nil, s.failed("open", err)
	}
	conn, err := s.d.open(ctx, s.db)
	if err != nil {
		return nil, s.failed("open", err)
	}
	r := &reader{source: s, conn: conn, incarnation: incarnation, pace: poll.New(s.cfg.PollMin, s.cfg.PollMax), inFlight: map[int64]bool{}}
	r.life, r.end = context.WithCancel(context.Background())
	if err := s.check(ctx, conn); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.relay, s.reader = s.relay, r
	return r, nil
}

// check finds at once what would fail, or be skipped in silence, later.
func (s *Source) check(ctx context.Context, conn conn) error {
	for _, query := range []struct {
		sql  string
		args []any
	}{{s.q.unpublished, []any{"", 0}}, {s.q.rows, []any{s.d.list(nil)}}} {
		rows, err := conn.QueryContext(ctx, query.sql, query.args...)
		if err == nil {
			rows.Next() // some drivers tell an error no earlier
			err = errors.Join(rows.Err(), rows.Close())
		}
		if err != nil {
			return s.failed("open", err)
		}
	}
	column, nullable := strings.Trim(s.cfg.Columns.IsPublished, `"`), 0
	if err := conn.QueryRowContext(ctx, s.d.nullable, s.cfg.Table, column).Scan(&nullable); err != nil {
		return s.failed("open", err)
	}
	if nullable > 0 {
		return fmt.Errorf("waybill: WB1402 the column %s of %s may be null, and such a row would never be published. "+
			"Try: UPDATE the rows that are null, then ALTER TABLE %[2]s ALTER COLUMN %[1]s SET DEFAULT false, ALTER COLUMN %[1]s SET NOT NULL",
			s.cfg.Columns.IsPublished, s.cfg.Table)
	}
	return nil
}

func (s *Source) failed(what string, err error) error {
	if hint := s.dialect.Hint(err); hint != "" {
		return fmt.Errorf("waybill: WB1401 %s %s: %w. Try: %s", what, s.cfg.Table, err, hint)
	}
	return fmt.Errorf("waybill: WB1401 %s %s: %w", what, s.cfg.Table, err)
}

// Package sqlite reads the outbox of an SQLite database. SQLite has one writer at a time, so the order of pos is the order of
// commits, and a position is one number.
//
//	db, err := sql.Open("sqlite", "file:app.db?_pragma=journal_mode(wal)")
//	src, err := sqlite.New(db, sqlite.Config{})
//	r, err := relay.New(relay.Config{Name: "orders", Source: src, Store: src, Sink: sink})
//
// Any driver for database/sql will do. The database must be in WAL mode and db must allow more than one connection: the
// source keeps one for itself while it reads. Before messages are returned, a commit with synchronous=FULL makes them
// durable, also when their writers use synchronous=NORMAL; with synchronous=OFF nothing can.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/poll"
	"github.com/waybillhq/waybill/internal/sqliteconn"
	"github.com/waybillhq/waybill/internal/sqlstore"
	"github.com/waybillhq/waybill/relay"
)

// Config says how to read. The zero value works.
type Config struct {
	// From is where a relay without a cursor starts. Defaults to Beginning.
	From relay.From
	// PollMax is the pause between looks at an idle database. Defaults to 1 s.
	PollMax time.Duration
	// PollMin is the pause while messages come. Defaults to 2 ms.
	PollMin time.Duration
	// Table is the outbox. Defaults to waybill_outbox.
	Table string
}

// Source reads the outbox and keeps the relay's cursor, lease and parked messages in the same database.
type Source struct {
	relay.Store
	store *sqlstore.Store
	db    *sql.DB
	cfg   Config
	table string // quoted
	page  string
	topic string
}

var (
	_ relay.Source = (*Source)(nil)
	_ relay.Store  = (*Source)(nil)
)

// New checks cfg. It does not touch the database, and never closes db.
func New(db *sql.DB, cfg Config) (*Source, error) {
	var faults []error
	if cfg.From == "" {
		cfg.From = relay.Beginning
	}
	if cfg.From != relay.Beginning && cfg.From != relay.Now {
		faults = append(faults, fmt.Errorf("waybill: WB4211 From is %q, must be %q or %q", cfg.From, relay.Beginning, relay.Now))
	}
	if cfg.PollMin == 0 {
		cfg.PollMin = 2 * time.Millisecond
	}
	if cfg.PollMax == 0 {
		cfg.PollMax = max(time.Second, cfg.PollMin)
	}
	if cfg.PollMin < 0 || cfg.PollMax < cfg.PollMin {
		faults = append(faults, fmt.Errorf("waybill: WB4212 PollMin is %v and PollMax %v: must be positive, and PollMax the greater", cfg.PollMin, cfg.PollMax))
	}
	if cfg.Table == "" {
		cfg.Table = "waybill_outbox"
	}
	table, err := dialect.SQLite.Quote(cfg.Table)
	if err == nil && strings.Contains(cfg.Table, ".") {
		err = fmt.Errorf("waybill: WB4213 Table is %q: an attached database cannot be read. Try: open that file itself", cfg.Table)
	}
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	store := sqlstore.SQLite(db)
	store.Outbox = table
	rows := `SELECT pos, id, topic, "key", type, payload, content_type, headers, coalesce(time, created_at), created_at FROM ` + table + ` WHERE pos > ?1 `
	return &Source{Store: store, store: store, db: db, cfg: cfg, table: table,
		page:  rows + `ORDER BY pos LIMIT ?2`,
		topic: rows + `AND pos <= ?3 AND +topic = ?4 ORDER BY pos LIMIT ?2`}, nil
}

// Open implements relay.Source.
func (s *Source) Open(ctx context.Context, from relay.Position) (relay.Reader, error) {
	conn, err := sqliteconn.Open(ctx, s.db)
	if err != nil {
		return nil, err
	}
	r := &reader{source: s, conn: conn, pace: poll.New(s.cfg.PollMin, s.cfg.PollMax)}
	r.life, r.end = context.WithCancel(context.Background())
	if err := r.start(ctx, from); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *reader) start(ctx context.Context, from relay.Position) error {
	table := r.source.cfg.Table
	if err := r.checkTable(ctx); err != nil {
		return err
	}
	last, err := r.lastPos(ctx)
	if err == nil {
		r.incarnation, err = r.source.store.Incarnation(ctx)
	}
	if err == nil {
		r.page, err = r.conn.PrepareContext(ctx, r.source.page)
	}
	if err != nil {
		return failed("open "+table, err)
	}
	if from == "" {
		if r.source.cfg.From == relay.Now {
			r.after, r.moved = last, true
		}
		return nil
	}
	if r.after, err = parse(from); err != nil {
		return err
	}
	if r.after > last {
		return relay.Fatal(fmt.Errorf("waybill: WB1207 the cursor stands at pos %d, but the last pos that %s ever gave is %d: the file was restored to "+
			"the past or the table was made anew, and what is published from now on would be skipped. Try: decide what to publish again, then "+
			"UPDATE waybill_cursor SET position = '%d' WHERE position = '%d'", r.after, table, last, last, r.after))
	}
	return nil
}

func parse(p relay.Position) (pos int64, err error) {
	if pos, err = strconv.ParseInt(string(p), 10, 64); err != nil || pos < 0 {
		err = relay.Fatal(fmt.Errorf("waybill: WB1206 the cursor %.100q is not one of an SQLite outbox. Try: give the relay a name of its own", p))
	}
	return pos, err
}

func (r *reader) checkTable(ctx context.Context) error {
	table, made := r.source.cfg.Table, ""
	err := r.conn.QueryRowContext(ctx, `SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?1 COLLATE NOCASE`, table).Scan(&made)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("waybill: WB1209 there is no table %s. Try: waybill migrate up", table)
	}
	if err == nil && !strings.Contains(strings.ToUpper(made), "AUTOINCREMENT") {
		return fmt.Errorf("waybill: WB1210 pos of %s is not AUTOINCREMENT: SQLite would give the pos of a deleted row again, behind the cursor. "+
			"Try: make the table as waybill migrate print shows", table)
	}
	if err != nil {
		return failed("open "+table, err)
	}
	return nil
}

// lastPos returns the greatest pos ever given, also when its row is gone.
func (r *reader) lastPos(ctx context.Context) (last int64, err error) {
	err = r.conn.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?1 COLLATE NOCASE`, r.source.cfg.Table).Scan(&last)
	return last, err
}

func failed(what string, err error) error {
	if hint := dialect.SQLite.Hint(err); hint != "" {
		return fmt.Errorf("waybill: WB1205 %s: %w. Try: %s", what, err, hint)
	}
	return fmt.Errorf("waybill: WB1205 %s: %w", what, err)
}

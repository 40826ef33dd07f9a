// Package postgres reads the outbox of a PostgreSQL database, 13 or newer, in commit order per key, by the difference of
// snapshots: no message is lost, none overtakes another of its key, and an open transaction stalls nobody but itself.
//
//	src, err := postgres.New("postgres://relay@db/orders", postgres.Config{})
//	r, err := relay.New(relay.Config{Name: "orders", Source: src, Store: src, Sink: sink})
//
// The connection must reach the primary directly or through a pooler in session mode.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/poll"
	"github.com/waybillhq/waybill/internal/snapshot"
	"github.com/waybillhq/waybill/internal/sqlstore"
	"github.com/waybillhq/waybill/relay"
)

// Config is optional; the zero value works.
type Config struct {
	// From is where a relay without a cursor starts. Defaults to Beginning.
	From relay.From
	// Logger gets warnings. Defaults to silence.
	Logger *slog.Logger
	// PollMax is the pause between looks at an idle table. Defaults to 1 s.
	PollMax time.Duration
	// PollMin is the pause while messages come. Defaults to 2 ms.
	PollMin time.Duration
	// Table is the outbox. Defaults to waybill.outbox.
	Table string
}

// Source is a [relay.Source] and [relay.Store] for one relay.
type Source struct {
	cfg   Config
	db    *sql.DB
	q     queries
	table string
	*sqlstore.Store

	mu       sync.Mutex
	reader   *reader
	durable  snapshot.Cursor // the newest cursor known to survive any crash
	timeline int64           // of the server that has it
}

var (
	_ relay.Source = (*Source)(nil)
	_ relay.Store  = (*Source)(nil)
)

// New returns a source for a connection string, a URL or key=value words as libpq takes them. It does no I/O.
func New(url string, cfg Config) (*Source, error) {
	conn, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("waybill: WB1001 the connection string of the PostgreSQL source: %w", err)
	}
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "waybill"
	}
	conn.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement // rows are decoded from the binary form
	if cfg.From == "" {
		cfg.From = relay.Beginning
	}
	if cfg.From != relay.Beginning && cfg.From != relay.Now {
		return nil, fmt.Errorf("waybill: WB1002 From is %q. Try: beginning or now", cfg.From)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.PollMin <= 0 {
		cfg.PollMin = 2 * time.Millisecond
	}
	if cfg.PollMax <= 0 {
		cfg.PollMax = time.Second
	}
	table, err := dialect.Postgres.Quote(cfg.Table)
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*conn, stdlib.OptionAfterConnect(connect))
	db.SetMaxIdleConns(2) // besides the reader's session: leases, and messages set aside
	store := sqlstore.Postgres(db)
	store.Outbox = table
	return &Source{cfg: cfg, db: db, q: newQueries(table), table: table, Store: store}, nil
}

// Close frees the connections. The relay must have ended.
func (s *Source) Close() error { return s.db.Close() }

// Acquire implements relay.Store. Its transaction is durable, and so is the cursor that it returns.
func (s *Source) Acquire(ctx context.Context, claim relay.Claim) (relay.Tenure, error) {
	tenure, err := s.Store.Acquire(ctx, claim)
	return tenure, explain(err)
}

// Open implements relay.Source.
func (s *Source) Open(ctx context.Context, from relay.Position) (relay.Reader, error) {
	session, err := openSession(ctx, s.db, s.q)
	if err != nil {
		return nil, wrap("open a session", err)
	}
	r, err := s.read(ctx, session, from)
	if err != nil {
		return nil, errors.Join(err, session.close())
	}
	s.mu.Lock()
	s.reader = r
	s.mu.Unlock()
	return r, nil
}

func (s *Source) read(ctx context.Context, session *session, from relay.Position) (*reader, error) {
	if err := s.checkTable(ctx, session.conn); err != nil {
		return nil, err
	}
	cur, err := parse(from)
	if err != nil {
		return nil, err
	}
	log, err := s.identify(ctx, session.conn)
	if err != nil {
		return nil, err
	}
	if err := s.goesOn(cur, log.timeline); err != nil {
		return nil, err
	}
	session.incarnation = log.incarnation
	fresh := from == "" && s.cfg.From == relay.Now
	if fresh {
		look, err := session.Look(ctx, cur.S0, 0, 1)
		if err != nil {
			return nil, err
		}
		cur.S0 = look.S1
	}
	life, end := context.WithCancel(context.Background())
	return &reader{
		source: s, session: session, spans: snapshot.NewReader(session, cur), fresh: fresh,
		pace: poll.New(s.cfg.PollMin, s.cfg.PollMax), life: life, end: end,
	}, nil
}

// parse reads a saved position; the empty one is the beginning.
func parse(p relay.Position) (snapshot.Cursor, error) {
	if p == "" {
		return snapshot.Cursor{S0: snapshot.Beginning}, nil
	}
	cur, err := snapshot.ParseCursor(string(p))
	if err != nil {
		err = relay.Fatal(fmt.Errorf("waybill: WB1020 the saved cursor: %w", err))
	}
	return cur, err
}

func (s *Source) forget(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reader == r {
		s.reader = nil
	}
}

// saveTimeout bounds one save on a session that may have died silently.
const saveTimeout = 10 * time.Second

// Save implements relay.Store, on the reader's session: the snapshots in the position were taken there. The transaction's own
// number lies above all that the snapshots know, and once it has survived, no number below can be given out again.
func (s *Source) Save(ctx context.Context, lease relay.Lease, save relay.Save) error {
	s.mu.Lock()
	r := s.reader
	s.mu.Unlock()
	if r == nil {
		return errors.New("waybill: WB1014 a save without an open reader")
	}
	guard := sqlstore.Guard{SQL: `current_setting('waybill.session', true) = $5`, Args: []any{r.token}}
	cur, newest, err := newest(save)
	if err != nil {
		return err
	}
	if newest.Xmax > 0 {
		guard.SQL += ` AND pg_current_xact_id() >= pg_snapshot_xmax($6::text::pg_snapshot)`
		guard.Args = append(guard.Args, newest.String())
	}
	r.turn.Lock()
	// The wait for the reader, who may be measuring a huge backlog, takes nothing from the time that the save itself has.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	err = explain(s.Store.SaveOn(ctx, r.conn, lease, save, guard))
	r.turn.Unlock()
	if err == nil && save.Durable && save.Position != "" {
		s.mu.Lock()
		s.durable = cur
		s.mu.Unlock()
	}
	return err
}

// newest returns the cursor of a save, and the latest snapshot in it or in one of its branches.
func newest(save relay.Save) (cur snapshot.Cursor, latest snapshot.Snapshot, err error) {
	if save.Position != "" {
		if cur, err = snapshot.ParseCursor(string(save.Position)); err != nil {
			return cur, latest, err
		}
		latest = cur.Newest()
	}
	for _, b := range save.Branches {
		at, err := parse(b.Position)
		if err != nil {
			return cur, latest, err
		}
		if s := at.Newest(); s.Xmax > latest.Xmax {
			latest = s
		}
	}
	return cur, latest, nil
}

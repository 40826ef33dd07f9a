package stress

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/sqliteconn"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/schema"
	"github.com/waybillhq/waybill/source/flagged"
	"github.com/waybillhq/waybill/source/postgres"
	"github.com/waybillhq/waybill/source/sqlite"
)

// kind is one way to keep an outbox.
type kind struct {
	dialect dialect.Dialect
	flagged bool
}

// kinds has a name for each, which also tells a relay process what to read.
var kinds = map[string]kind{
	"postgres cursor":  {dialect.Postgres, false},
	"postgres flagged": {dialect.Postgres, true},
	"sqlite cursor":    {dialect.SQLite, false},
	"sqlite flagged":   {dialect.SQLite, true},
}

func (k kind) isSQLite() bool { return k.dialect.Name() == dialect.SQLite.Name() }

// table is the outbox; empty is the default one.
func (k kind) table() string {
	switch {
	case !k.flagged:
		return ""
	case k.isSQLite():
		return "waybill_outbox_flagged"
	}
	return "waybill.outbox_flagged"
}

// database makes an empty database and returns its URL.
func (k kind) database(t *testing.T) string {
	t.Helper()
	if k.isSQLite() {
		return filepath.Join(t.TempDir(), "app.db")
	}
	return testenv.Database(t)
}

// connect opens a handle as a service does. On SQLite who writes must be ready to try again.
func (k kind) connect(url string) (*sql.DB, error) {
	if k.isSQLite() {
		return sql.Open("sqlite", "file:"+url+"?_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_pragma=busy_timeout(10)&_txlock=immediate")
	}
	return sql.Open("pgx", url)
}

func (k kind) open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := k.connect(url)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxIdleConns(16)
	t.Cleanup(func() { db.Close() })
	return db
}

type source interface {
	relay.Source
	relay.Store
	relay.Retainer
}

// read opens the outbox as a relay does. Call the func once the relay has ended.
func (k kind) read(url string, log *slog.Logger) (source, func() error, error) {
	if k.dialect == dialect.Postgres && !k.flagged {
		src, err := postgres.New(url, postgres.Config{Logger: log})
		if err != nil {
			return nil, nil, err
		}
		return src, src.Close, nil
	}
	db, err := k.connect(url)
	if err != nil {
		return nil, nil, err
	}
	var src source
	if k.flagged {
		src, err = flagged.New(db, k.dialect, flagged.Config{})
	} else {
		src, err = sqlite.New(db, sqlite.Config{})
	}
	return src, db.Close, err
}

// prepare makes Waybill's tables and the load's, and returns the load.
func (k kind) prepare(t *testing.T, db *sql.DB) Load {
	t.Helper()
	if _, err := schema.Apply(t.Context(), db, k.dialect); err != nil {
		t.Fatal(err)
	}
	if k.flagged {
		if err := schema.ApplyFlagged(t.Context(), db, k.dialect); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range Schema {
		exec(t, db, table)
	}
	outbox, err := waybill.New(waybill.Config{Dialect: k.dialect, Table: k.table()})
	if err != nil {
		t.Fatal(err)
	}
	load := Load{DB: db, Outbox: outbox, Topic: "orders-" + strings.ToLower(rand.Text()[:12]), Writers: 12, Keys: 40, Per: per(60, 600), Think: 4 * time.Millisecond, Early: `SELECT pg_current_xact_id()`,
		Begin: func(ctx context.Context, db *sql.DB) (*sql.Tx, error) { return db.BeginTx(ctx, nil) }}
	for n := range load.Keys {
		exec(t, db, fmt.Sprintf(`INSERT INTO counter VALUES ('k%d', 0)`, n))
	}
	if !k.isSQLite() {
		return load
	}
	load.Early, load.Think = "", 0            // one writer at a time: a pause is everybody's
	load.Writers, load.Per = 6, per(20, 1200) // the race detector makes SQLite 25 times as slow
	load.Begin = func(ctx context.Context, db *sql.DB) (tx *sql.Tx, err error) {
		err = sqliteconn.Retry(ctx, func() error {
			tx, err = db.BeginTx(ctx, nil)
			return err
		})
		return tx, err
	}
	return load
}

// disturb opens what must stall nobody and stays open while the load runs: a neighbour's write transaction in another
// database of the cluster, an orphaned prepared transaction, and a transaction that publishes at once and commits last,
// which is returned. SQLite has one writer at a time, so there it is a reader, which pins the write-ahead log.
func (s *stage) disturb(t *testing.T) (last *sql.Tx) {
	t.Helper()
	if s.isSQLite() {
		conn, err := s.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		for _, query := range []string{"BEGIN DEFERRED", "SELECT count(*) FROM counter"} {
			if _, err := conn.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
		return nil
	}
	other := s.open(t, s.database(t))
	exec(t, other, `CREATE TABLE busy (n int)`)
	run(t, begin(t, other), `INSERT INTO busy VALUES (1)`)
	orphan := fmt.Sprintf("'orphan of %s'", t.Name())
	run(t, begin(t, s.db), `CREATE TABLE orphan (n int)`, `PREPARE TRANSACTION `+orphan)
	t.Cleanup(func() { exec(t, s.db, `ROLLBACK PREPARED `+orphan) })
	exec(t, s.db, `INSERT INTO counter VALUES ('last', 0)`)
	last = begin(t, s.db)
	if err := s.load.publish(t.Context(), last, "last"); err != nil {
		t.Fatal(err)
	}
	return last
}

package store

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/sqlstore"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/schema"
	"github.com/waybillhq/waybill/source/sqlite"
	"github.com/waybillhq/waybill/waybilltest"
)

// sqliteFile is a new database in WAL mode, whose writers leave the log unsynced.
func sqliteFile(t *testing.T) (open func(t *testing.T) *sql.DB) {
	t.Helper()
	dsn := fmt.Sprintf("file:%s?_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_pragma=busy_timeout(10000)&_txlock=immediate",
		filepath.Join(t.TempDir(), "app.db"))
	open = func(t *testing.T) *sql.DB { return openDB(t, "sqlite", dsn) }
	migrate(t, open(t), dialect.SQLite)
	return open
}

func openDB(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func migrate(t *testing.T, db *sql.DB, d dialect.Dialect) {
	t.Helper()
	if _, err := schema.Apply(t.Context(), db, d); err != nil {
		t.Fatal(err)
	}
	if err := schema.ApplyFlagged(t.Context(), db, d); err != nil {
		t.Fatal(err)
	}
}

// transaction publishes through the library.
type transaction struct {
	t      *testing.T
	tx     *sql.Tx
	outbox *waybill.Outbox
}

func begin(t *testing.T, db *sql.DB, d dialect.Dialect, table string) *transaction {
	t.Helper()
	outbox, err := waybill.New(waybill.Config{Dialect: d, Table: table})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &transaction{t, tx, outbox}
}

func (x *transaction) Publish(messages ...waybill.Message) {
	x.t.Helper()
	x.must(x.outbox.Publish(context.Background(), waybill.SQL(x.tx), messages...))
}

func (x *transaction) Commit() { x.t.Helper(); x.must(x.tx.Commit()) }

func (x *transaction) Rollback() { x.t.Helper(); x.must(x.tx.Rollback()) }

func (x *transaction) Savepoint() { x.exec("SAVEPOINT suite") }

func (x *transaction) RollbackTo() { x.exec("ROLLBACK TO suite") }

func (x *transaction) exec(query string) {
	x.t.Helper()
	_, err := x.tx.Exec(query)
	x.must(err)
}

func (x *transaction) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

var sqliteLacks = map[waybilltest.SourceAbility]string{
	waybilltest.Overlap: "SQLite has one writer at a time",
	waybilltest.Crash:   "an in-process database crashes with the test; TestSQLiteReturnsOnlyWhatIsSynced shows what a crash would keep",
}

func TestSQLiteSource(t *testing.T) {
	t.Parallel()
	waybilltest.TestSource(t, func(t *testing.T) waybilltest.SourceHarness {
		open := sqliteFile(t)
		app := open(t)
		return waybilltest.SourceHarness{
			Open: func(t *testing.T) (relay.Source, relay.Store) {
				src, err := sqlite.New(open(t), sqlite.Config{})
				if err != nil {
					t.Fatal(err)
				}
				return src, src
			},
			Begin: func(t *testing.T) waybilltest.Transaction { return begin(t, app, dialect.SQLite, "") },
			Lacks: sqliteLacks,
		}
	})
}

func TestSQLiteFlaggedSource(t *testing.T) {
	t.Parallel()
	waybilltest.TestSource(t, func(t *testing.T) waybilltest.SourceHarness {
		return flaggedHarness(t, dialect.SQLite, sqliteFile(t), "waybill_outbox_flagged", sqliteLacks)
	})
}

func TestSQLiteStore(t *testing.T) {
	t.Parallel()
	waybilltest.TestStore(t, func(t *testing.T) waybilltest.StoreHarness {
		open := sqliteFile(t)
		return waybilltest.StoreHarness{Open: func(t *testing.T) relay.Store { return sqlstore.SQLite(open(t)) }}
	})
}

package store

import (
	"database/sql"
	"net/url"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/sqlstore"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/source/postgres"
	"github.com/waybillhq/waybill/waybilltest"
)

// postgresDatabase is a new database, used from another time zone.
func postgresDatabase(t *testing.T) (dsn string, open func(t *testing.T) *sql.DB) {
	t.Helper()
	return postgresAt(t, testenv.Database(t))
}

func postgresAt(t *testing.T, address string) (dsn string, open func(t *testing.T) *sql.DB) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("timezone", "Asia/Tokyo")
	u.RawQuery = q.Encode()
	dsn = u.String()
	open = func(t *testing.T) *sql.DB { return openDB(t, "pgx", dsn) }
	migrate(t, open(t), dialect.Postgres)
	return dsn, open
}

func TestPostgresStore(t *testing.T) {
	t.Parallel()
	testenv.NeedPostgres(t)
	waybilltest.TestStore(t, func(t *testing.T) waybilltest.StoreHarness {
		_, open := postgresDatabase(t)
		return waybilltest.StoreHarness{Open: func(t *testing.T) relay.Store { return sqlstore.Postgres(open(t)) }}
	})
}

// postgresHarness completes h with a cluster that can be crashed, for the one case that needs it.
func postgresHarness(t *testing.T, make func(dsn string, open func(*testing.T) *sql.DB) waybilltest.SourceHarness) waybilltest.SourceHarness {
	t.Helper()
	if !strings.Contains(t.Name(), "crash") {
		h := make(postgresDatabase(t))
		h.Crash = func(t *testing.T) { t.Fatal("the shared cluster must not crash") }
		return h
	}
	cluster := testenv.StartPostgres(t, testenv.PostgresConfig{Settings: []string{"wal_writer_delay=10s"}}) // what nobody flushes is lost
	h := make(postgresAt(t, cluster.URL()))
	h.Crash = func(*testing.T) { cluster.Crash(); cluster.Restart() }
	return h
}

func lazy(app *sql.DB, table string) func(t *testing.T) waybilltest.Transaction {
	return func(t *testing.T) waybilltest.Transaction {
		tx := begin(t, app, dialect.Postgres, table)
		tx.exec("SET LOCAL synchronous_commit = off")
		return tx
	}
}

func TestPostgresFlaggedSource(t *testing.T) {
	t.Parallel()
	testenv.NeedPostgres(t)
	waybilltest.TestSource(t, func(t *testing.T) waybilltest.SourceHarness {
		return postgresHarness(t, func(_ string, open func(*testing.T) *sql.DB) waybilltest.SourceHarness {
			h := flaggedHarness(t, dialect.Postgres, open, "waybill.outbox_flagged", nil)
			h.BeginLazy = lazy(open(t), "waybill.outbox_flagged")
			return h
		})
	})
}

func TestPostgresCursorSource(t *testing.T) {
	t.Parallel()
	testenv.NeedPostgres(t)
	waybilltest.TestSource(t, func(t *testing.T) waybilltest.SourceHarness {
		return postgresHarness(t, func(dsn string, open func(*testing.T) *sql.DB) waybilltest.SourceHarness {
			app := open(t)
			return waybilltest.SourceHarness{
				BeginLazy: lazy(app, ""),
				Open: func(t *testing.T) (relay.Source, relay.Store) {
					src, err := postgres.New(dsn, postgres.Config{})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { src.Close() })
					return src, src
				},
				Begin: func(t *testing.T) waybilltest.Transaction { return begin(t, app, dialect.Postgres, "") },
			}
		})
	})
}

package store

import (
	"database/sql"
	"net/url"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/sqlstore"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/relay"
	"github.com/waybillhq/waybill/waybilltest"
)

// postgresDatabase is a new database, used from another time zone.
func postgresDatabase(t *testing.T) (open func(t *testing.T) *sql.DB) {
	t.Helper()
	u, err := url.Parse(testenv.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("timezone", "Asia/Tokyo")
	u.RawQuery = q.Encode()
	open = func(t *testing.T) *sql.DB { return openDB(t, "pgx", u.String()) }
	migrate(t, open(t), dialect.Postgres)
	return open
}

func TestPostgresStore(t *testing.T) {
	t.Parallel()
	testenv.NeedPostgres(t)
	waybilltest.TestStore(t, func(t *testing.T) waybilltest.StoreHarness {
		open := postgresDatabase(t)
		return waybilltest.StoreHarness{Open: func(t *testing.T) relay.Store { return sqlstore.Postgres(open(t)) }}
	})
}

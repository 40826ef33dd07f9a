// Package publish tests the publishing side of the root module on real databases.
package publish

import (
	"context"
	"database/sql"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/schema"
)

// database is one kind of database through database/sql, so that one test speaks of all.
type database struct {
	db      *sql.DB
	dialect dialect.Dialect
	url     string
	outbox  string
}

// onEach runs a test on every database, with the schema applied.
func onEach(t *testing.T, test func(t *testing.T, d database)) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) database{"postgres": postgres, "sqlite": sqlite} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			if _, err := schema.Apply(t.Context(), d.db, d.dialect); err != nil {
				t.Fatal(err)
			}
			test(t, d)
		})
	}
}

func migratedPostgres(t *testing.T) database {
	t.Helper()
	d := postgres(t)
	if _, err := schema.Apply(t.Context(), d.db, d.dialect); err != nil {
		t.Fatal(err)
	}
	return d
}

func postgres(t *testing.T) database {
	t.Helper()
	link := testenv.Database(t)
	return database{open(t, "pgx", link), dialect.Postgres, link, "waybill.outbox"}
}

func sqlite(t *testing.T) database {
	t.Helper()
	path := "file:" + filepath.Join(t.TempDir(), "test.db") + "?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)"
	return database{open(t, "sqlite", path), dialect.SQLite, path, "waybill_outbox"}
}

func open(t testing.TB, driver, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, url)
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

func (d database) driver() string {
	if d.dialect == dialect.SQLite {
		return "sqlite"
	}
	return "pgx"
}

// in returns the URL of another database of the same server.
func (d database) in(t *testing.T, name string) string {
	t.Helper()
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func (d database) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := d.db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func (d database) newOutbox(t *testing.T, cfg waybill.Config) *waybill.Outbox {
	t.Helper()
	cfg.Dialect = d.dialect
	o, err := waybill.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// publish publishes in a transaction of its own.
func (d database) publish(t *testing.T, o *waybill.Outbox, msgs ...waybill.Message) {
	t.Helper()
	tx := d.begin(t)
	defer tx.Rollback()
	if err := o.Publish(t.Context(), waybill.SQL(tx), msgs...); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func (d database) begin(t *testing.T) *sql.Tx {
	t.Helper()
	tx, err := d.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// stored returns what the outbox holds, in the order of pos, in the form that Publish was given.
func (d database) stored(t *testing.T) []waybill.Message {
	t.Helper()
	return d.storedIn(t, d.db)
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (d database) storedIn(t *testing.T, q querier) (msgs []waybill.Message) {
	t.Helper()
	rows, err := q.QueryContext(context.Background(), `SELECT id, topic, "key", type, payload, content_type, headers, time, payload IS NULL FROM `+d.outbox+` ORDER BY pos`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var m waybill.Message
		var headers sql.NullString
		var when any
		var tombstone bool // some drivers return an empty blob as nil
		if err := rows.Scan(&m.ID, &m.Topic, &m.Key, &m.Type, &m.Payload, &m.ContentType, &headers, &when, &tombstone); err != nil {
			t.Fatal(err)
		}
		if m.Headers, err = waybill.DecodeHeaders(headers.String); err != nil {
			t.Fatal(err)
		}
		if !tombstone && m.Payload == nil {
			m.Payload = []byte{}
		}
		switch v := when.(type) {
		case time.Time:
			m.Time = v.UTC()
		case int64:
			m.Time = time.UnixMicro(v).UTC()
		}
		msgs = append(msgs, m)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return msgs
}

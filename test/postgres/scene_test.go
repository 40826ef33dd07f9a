package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/waybillhq/waybill"
	"github.com/waybillhq/waybill/dialect"
	"github.com/waybillhq/waybill/internal/testenv"
	"github.com/waybillhq/waybill/schema"
	"github.com/waybillhq/waybill/source/postgres"
)

// patience bounds every wait: longer than anything healthy takes on a loaded machine.
const patience = 60 * time.Second

// long tells whether the long forms of the proofs are wanted.
var long = os.Getenv("WAYBILL_LONG") != ""

// scene is a database with Waybill's tables, and the application that publishes there.
type scene struct {
	t      *testing.T
	url    string
	db     *sql.DB
	outbox *waybill.Outbox
	logged func() string // what a talking server has logged so far
}

// newScene makes a database on the cluster that all tests share.
func newScene(t *testing.T) *scene {
	t.Helper()
	return newSceneAt(t, testenv.Database(t))
}

func newSceneAt(t *testing.T, url string) *scene {
	t.Helper()
	s := &scene{t: t, url: url, db: openDB(t, url)}
	_, err := schema.Apply(t.Context(), s.db, dialect.Postgres)
	s.must(err)
	s.outbox, err = waybill.New(waybill.Config{Dialect: dialect.Postgres, Limits: waybill.Limits{Payload: 4 << 20}})
	s.must(err)
	return s
}

// in is s for a subtest.
func (s scene) in(t *testing.T) *scene { s.t = t; return &s }

func openDB(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// reconnect drops the application's connections, after the server was started again.
func (s *scene) reconnect() {
	s.t.Helper()
	s.db.SetMaxIdleConns(0)
	s.db.SetMaxIdleConns(2)
	within(s.t, "the server to answer", func() bool { return s.db.Ping() == nil })
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) exec(query string, args ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(query, args...); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
}

// text is the one value of a query, NULL is empty.
func (s *scene) text(query string, args ...any) string {
	s.t.Helper()
	var v sql.NullString
	if err := s.db.QueryRow(query, args...).Scan(&v); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return v.String
}

func (s *scene) number(query string, args ...any) (n int64) {
	s.t.Helper()
	if err := s.db.QueryRow(query, args...).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// source is a new source, as another process would make it.
func (s *scene) source(cfg postgres.Config) *postgres.Source {
	s.t.Helper()
	return s.sourceAt(s.url, cfg)
}

func (s *scene) sourceAt(url string, cfg postgres.Config) *postgres.Source {
	s.t.Helper()
	src, err := postgres.New(url, cfg)
	s.must(err)
	s.t.Cleanup(func() { src.Close() })
	return src
}

// publish commits one transaction with a message for each id.
func (s *scene) publish(key string, ids ...string) {
	s.t.Helper()
	tx := s.begin()
	tx.publish(key, ids...)
	tx.commit()
}

// transaction is one of the application's.
type transaction struct {
	*sql.Tx
	s *scene
}

func (s *scene) begin() *transaction {
	s.t.Helper()
	tx, err := s.db.Begin()
	s.must(err)
	s.t.Cleanup(func() { tx.Rollback() })
	return &transaction{tx, s}
}

func (x *transaction) publish(key string, ids ...string) {
	x.s.t.Helper()
	for _, id := range ids {
		x.s.must(x.s.outbox.Publish(context.Background(), waybill.SQL(x.Tx), waybill.Message{ID: id, Topic: "orders", Key: key, Type: "order.changed", Payload: []byte(id)}))
	}
}

func (x *transaction) run(query string) {
	x.s.t.Helper()
	if _, err := x.Exec(query); err != nil {
		x.s.t.Fatalf("%s: %v", query, err)
	}
}

// xid is the transaction's number, which it takes if it has none.
func (x *transaction) xid() (n int64) {
	x.s.t.Helper()
	x.s.must(x.QueryRow(`SELECT pg_current_xact_id()::text::bigint`).Scan(&n))
	return n
}

func (x *transaction) commit() { x.s.t.Helper(); x.s.must(x.Commit()) }

// within polls a condition and fails the test when it does not come true.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func names(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s%d", prefix, i+1)
	}
	return list
}
